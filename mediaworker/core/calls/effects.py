"""What the calls of a media worker ask of the outside, as data; the shell carries it out.

Also the commands that reach the exchange besides the contracts: what the shell found out about the farm. Plain data.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.contracts import EndReason, Message, PcmToStt, UtteranceFrame
from shared.units import NARROWBAND_HZ

# --- effects


class Send(NamedTuple):
    """A message to a worker's control inbox."""

    worker_id: str
    message: Message


class SendAudio(NamedTuple):
    """Audio to a worker's PCM inbox; may be dropped."""

    worker_id: str
    message: PcmToStt


class Note(NamedTuple):
    """An entry of a call's event log."""

    call_id: str
    kind: str
    data: dict[str, Any]


class Observe(NamedTuple):
    """A value for a histogram, in the metric's unit."""

    metric: str
    labels: tuple[str, ...]
    value: float
    call_id: str


class Count(NamedTuple):
    metric: str
    labels: tuple[str, ...]
    amount: int = 1


class Assign(NamedTuple):
    """Find another worker of `role` for a call; answered by `Assigned`."""

    call_id: str
    role: str
    leaving: str


class Failed(NamedTuple):
    """Something unforeseen went wrong in a call, which ends for it; the shell writes it down."""

    call_id: str
    error: Exception


class Holding(NamedTuple):
    """What the registry should know of a live call; sent whenever it changes."""

    row: int
    call_id: str
    sip_call_id: str
    tenant: str
    room_id: str
    session_id: str
    app: str
    agent: str
    codec: str
    front: str
    caller: str
    callee: str
    state: str
    port: int
    stt: str
    llm: str
    tts: str


class Released(NamedTuple):
    """A call is over and its leg gone: its leases go, its port is quarantined."""

    row: int
    call_id: str
    port: int
    recorded: bool


class PortFreed(NamedTuple):
    """A port of a refused leg; `busy` when a stranger has it."""

    call_id: str
    port: int
    busy: bool


Effect = Send | SendAudio | Note | Observe | Count | Assign | Failed | Holding | Released | PortFreed

# --- commands


class LiveWorkers(NamedTuple):
    """The AI workers whose leases hold, by role."""

    live: Mapping[str, frozenset[str]]


class Assigned(NamedTuple):
    """Answer to `Assign`; `worker` is "" when none is free."""

    call_id: str
    role: str
    leaving: str
    worker: str


class Forgotten(NamedTuple):
    """The registry lost its memory, and with it what was on the way."""


class Drain(NamedTuple):
    """No new calls, except into rooms that live here."""


class EndAll(NamedTuple):
    reason: EndReason


Command = Message | LiveWorkers | Assigned | Forgotten | Drain | EndAll


class Effects:
    """Gathers effects until the shell takes them; utterance frames of one tick become one message per worker and rate."""

    def __init__(self) -> None:
        self._items: list[Effect] = []
        self._frames: dict[tuple[str, int], list[UtteranceFrame]] = {}

    def add(self, effect: Effect) -> None:
        self._items.append(effect)

    def utterance(self, worker_id: str, frame: UtteranceFrame, rate_hz: int = NARROWBAND_HZ) -> None:
        key = (worker_id, rate_hz)
        frames = self._frames.get(key)
        if frames is None:
            frames = self._frames[key] = []
        frames.append(frame)

    def take(self) -> list[Effect]:
        """Everything gathered since the last time, in order, audio last."""
        for (worker_id, rate_hz), frames in self._frames.items():
            self._items.append(SendAudio(worker_id, PcmToStt(rate_hz=rate_hz, frames=frames)))
        self._frames = {}
        items, self._items = self._items, []
        return items
