"""What goes into a dialogue besides messages, and what comes out of it."""

from typing import Any, Literal, NamedTuple

from aiworker.core.history import ChatMessage
from shared.contracts import Message


class Act(NamedTuple):
    """Something an engine wants done besides speaking."""

    kind: Literal["hangup"]


class Token(NamedTuple):
    """Text of a stream."""

    generation: int
    text: str


class Acted(NamedTuple):
    generation: int
    act: Act


class StreamEnded(NamedTuple):
    generation: int


class StreamFailed(NamedTuple):
    generation: int
    reason: str


class TimePassed(NamedTuple):
    """The deadline the dialogue asked for has come, or may have."""


Event = Message | Token | Acted | StreamEnded | StreamFailed | TimePassed


class Send(NamedTuple):
    worker: str
    message: Message


class Log(NamedTuple):
    """An entry of the call's event log."""

    kind: str
    data: dict[str, Any]


class Generate(NamedTuple):
    """Start a stream of engine number `engine`; its tokens carry `generation`."""

    generation: int
    engine: int
    messages: list[ChatMessage]


class Stop(NamedTuple):
    """Stop that stream; nothing of it is wanted any more."""

    generation: int


class Count(NamedTuple):
    """A reply ended so."""

    result: Literal["played", "interrupted", "failed", "speculated"]


Effect = Send | Log | Generate | Stop | Count
