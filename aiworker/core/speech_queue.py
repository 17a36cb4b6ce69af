"""Which sentence a TTS engine speaks next, over all calls: nobody's long answer keeps another caller waiting.

A call that is silent (its first sentence of a turn waits) goes before calls that have audio ahead; among equals the
oldest goes first. Sentences of one call keep their order, and only one of a call is spoken at a time. Turn and epoch
fencing (I4): a cancelled turn's sentences are dropped here and nothing older is taken in again.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from shared.contracts import Speak

MAX_WAITING = 4_000
"""Sentences kept over all calls; more are refused (I6)."""

MAX_CHARS = 1_000
"""Longest sentence taken; the dialogue worker cuts at 200."""

_REMEMBERED = 4_096
"""Calls whose newest turn is remembered."""


@dataclass(slots=True)
class Job:
    """A sentence to speak."""

    speak: Speak
    order: int
    arrived_ns: int
    cancelled: bool = False


@dataclass(slots=True)
class _Call:
    turn: int = -1
    epoch: int = 0
    spoken: int = 0
    """Sentences of the turn that were begun."""
    waiting: list[Job] = field(default_factory=list)
    running: Job | None = None


class SpeechQueue:
    """Takes sentences in, gives them out; every taken job must be handed to `done`."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._order = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def active(self) -> set[str]:
        """Calls with a sentence that waits or is being spoken."""
        return {call_id for call_id, call in self._calls.items() if call.waiting or call.running}

    def put(self, speak: Speak, now_ns: int) -> bool:
        """Takes a sentence in; False when it belongs to an older turn, is much too long, or the queue is full."""
        call = self._call(speak.call_id)
        if (
            speak.turn < call.turn
            or speak.epoch < call.epoch
            or len(speak.text) > MAX_CHARS
            or self._waiting >= self._max_waiting
        ):
            return False
        call.epoch = speak.epoch
        if speak.turn > call.turn:
            self._turn(call, speak.turn)
        self._order += 1
        call.waiting.append(Job(speak, self._order, now_ns))
        self._waiting += 1
        return True

    def cancel(self, call_id: str, turn: int) -> Job | None:
        """Nothing older than `turn` is wanted; gives the job that is being spoken and must be stopped."""
        call = self._call(call_id)
        if turn <= call.turn:
            return None
        self._turn(call, turn)
        return call.running

    def next(self) -> Job | None:
        """The sentence to speak now."""
        best: tuple[tuple[bool, int], _Call] | None = None
        for call in self._calls.values():
            if call.waiting and call.running is None:
                rank = (call.spoken > 0, call.waiting[0].order)
                if best is None or rank < best[0]:
                    best = (rank, call)
        if best is None:
            return None
        call = best[1]
        job = call.running = call.waiting.pop(0)
        call.spoken += 1
        self._waiting -= 1
        return job

    def done(self, job: Job) -> None:
        """The job was spoken, stopped or failed."""
        call = self._calls.get(job.speak.call_id)
        if call is not None and call.running is job:
            call.running = None

    def _turn(self, call: _Call, turn: int) -> None:
        self._waiting -= len(call.waiting)
        call.waiting.clear()
        call.turn, call.spoken = turn, 0
        if call.running is not None:
            call.running.cancelled = True

    def _call(self, call_id: str) -> _Call:
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = _Call()
            self._forget_some()
        self._calls.move_to_end(call_id)
        return call

    def _forget_some(self) -> None:
        for call_id in list(self._calls)[: max(0, len(self._calls) - _REMEMBERED)]:
            call = self._calls[call_id]
            if not call.waiting and call.running is None:
                del self._calls[call_id]
