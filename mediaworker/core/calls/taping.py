"""Whose recording runs: from the start of a call or from a message on, with pauses for card numbers, once per call.

Must not write: the recorder does, and is reached through `Tape`.
"""

from enum import Enum, auto
from typing import ClassVar, Protocol

from mediaworker.core.calls.effects import Effects, Note
from mediaworker.core.engine import Engine
from shared.contracts import RecordAction


class Tape(Protocol):
    """The recorder, as a worker's calls need it."""

    def begin(self, row: int, call_id: str) -> None: ...

    def pause(self, row: int) -> None: ...

    def resume(self, row: int) -> None: ...

    def finish(self, row: int) -> None: ...


class Recording(Enum):
    """Of a call that was ever recorded."""

    ON = auto()
    PAUSED = auto()
    OVER = auto()


class Taping:
    """Recordings by call."""

    def __init__(self, engine: Engine, tape: Tape, out: Effects) -> None:
        self._engine = engine
        self._tape = tape
        self._out = out
        self._of: dict[str, Recording] = {}

    def begin(self, call_id: str, row: int) -> None:
        """The call is recorded from its first frame on."""
        self._tape.begin(row, call_id)
        self._of[call_id] = Recording.ON

    def act(self, call_id: str, row: int, action: RecordAction) -> str:
        """The reason of a refusal, or nothing. What is so already is no mistake."""
        now = self._of.get(call_id)
        if action == "start" and now is Recording.OVER:
            return "recorded"
        if action != "start" and now is None:
            return "no_recording"
        wanted = self._WANTED[action]
        # A recording that is paused has begun: `start` must not undo a pause that somebody else asked for.
        begun = action == "start" and now is Recording.PAUSED
        if now is wanted or now is Recording.OVER or begun:
            return ""
        self._of[call_id] = wanted
        if action == "start" and now is None:
            self._begin_late(call_id, row)
        elif action == "pause":
            self._tape.pause(row)
            self._out.add(Note(call_id, "recording.paused", {}))
        elif action == "stop":
            self._stop(row)
            self._out.add(Note(call_id, "recording.stopped", {}))
        else:
            self._tape.resume(row)
            self._out.add(Note(call_id, "recording.resumed", {}))
        return ""

    def end(self, call_id: str, row: int) -> bool:
        """The call is over and its leg closed; whether there is a recording of it."""
        last = self._of.pop(call_id, None)
        if last in {Recording.ON, Recording.PAUSED}:
            self._tape.finish(row)
        return last is not None

    _WANTED: ClassVar[dict[RecordAction, Recording]] = {
        "start": Recording.ON,
        "resume": Recording.ON,
        "pause": Recording.PAUSED,
        "stop": Recording.OVER,
    }

    def _begin_late(self, call_id: str, row: int) -> None:
        self._tape.begin(row, call_id)
        self._engine.rows.record[row] = True
        self._engine.take_part(row)
        self._out.add(Note(call_id, "recording.started", {}))

    def _stop(self, row: int) -> None:
        self._tape.finish(row)
        self._engine.rows.record[row] = False
        self._engine.take_part(row)
