"""What the core asks its shell to do. Plain data; the shell performs them in order.

`Reserve` and `Release` go to the registry, `Control` to a media worker's inbox; the outcome comes back as a call of
`Front.reserved`, `Front.refused` or `Front.media_answer`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from shared.contracts import Message

Peer: TypeAlias = tuple[str, int]
"""Address and port of the other side of a datagram."""


class Send(NamedTuple):
    """One datagram."""

    data: bytes
    to: Peer


class Place(NamedTuple):
    """What a reservation gave; `host` is the address of the media worker for SDP."""

    worker: str
    port: int
    host: str
    stt: str = ""
    llm: str = ""
    tts: str = ""


class Reserve(NamedTuple):
    """Reserve room owner, slot, ports and AI workers. `again`: give back the call's last reservation first."""

    call_id: str
    fields: Mapping[str, str]
    """Fields of the call record."""
    needs: tuple[str, ...]
    again: bool = False


class Release(NamedTuple):
    """Give back a reservation. `untouched` names the place whose port was never offered to its worker: it returns
    to the worker's list at once, for nobody ever bound it.
    """

    call_id: str
    untouched: Place | None = None


class Control(NamedTuple):
    """A message to a media worker."""

    worker: str
    message: Message


class MarkAnswered(NamedTuple):
    """The call's record says answered."""

    call_id: str


class LogEvent(NamedTuple):
    """An entry of the call's event log."""

    call_id: str
    kind: str
    data: Mapping[str, Any]


class Count(NamedTuple):
    """One more of a counter of shared.metrics."""

    name: str
    label: str


class Observe(NamedTuple):
    """A value for a histogram of shared.metrics."""

    name: str
    value: float


class Note(NamedTuple):
    """A line for the log."""

    event: str
    fields: Mapping[str, Any]


Effect: TypeAlias = Send | Reserve | Release | Control | MarkAnswered | LogEvent | Count | Observe | Note
