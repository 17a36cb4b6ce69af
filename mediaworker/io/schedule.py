"""The 20 ms schedule (DESIGN I7): absolute, never drifting, catching up after a stall.

Each 20 ms is cut into as many slots as the engine has phases, so that the legs' packets do not leave in one burst. A
late slot is served at once; what is more than CATCH_UP behind is skipped in whole rounds, because a second of audio sent in one
burst helps nobody. Must not do a slot's work, only say when and keep count.
"""

import time
from typing import Final

from mediaworker.core.engine import Engine
from mediaworker.core.legs import TickResult
from mediaworker.io.socket_pairs import SocketPairs
from shared.units import NS_PER_MS, NS_PER_S, TICK_MS

CATCH_UP_NS: Final = 200 * NS_PER_MS


class Schedule:
    """Slots of `TICK_MS / phases` from `start_ns` on."""

    def __init__(self, phases: int, start_ns: int) -> None:
        self._slot_ns = TICK_MS * NS_PER_MS // phases
        self._phases = phases
        self.due_ns = start_ns
        """When the next slot begins."""
        self.overruns = 0
        """Slots whose work ended after the next one was due."""
        self.skipped = 0
        """Rounds of 20 ms given up after a stall."""
        self.round = 0
        """Of the slot begun last: which 20 ms of the schedule it is, those given up counted too."""
        self._slots = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next slot; 0 when it is due."""
        return max(0, self.due_ns - now_ns)

    def begin(self, now_ns: int) -> int:
        """Takes the next slot; when it should have begun."""
        behind = now_ns - self.due_ns
        if behind > CATCH_UP_NS:
            round_ns = self._slot_ns * self._phases
            rounds = (behind - CATCH_UP_NS) // round_ns + 1
            self.skipped += rounds
            self.due_ns += rounds * round_ns
        self.round = self._slots // self._phases + self.skipped
        self._slots += 1
        slot = self.due_ns
        self.due_ns += self._slot_ns
        return slot

    def end(self, now_ns: int) -> None:
        """The slot's work is done."""
        if now_ns > self.due_ns:
            self.overruns += 1


class MediaLoop:
    """Sockets, engine and schedule together: one `step` is one slot."""

    def __init__(self, engine: Engine, sockets: SocketPairs) -> None:
        self.engine = engine
        self.sockets = sockets
        self.schedule = Schedule(engine.phases, time.monotonic_ns())
        engine.wall_offset_ns = time.time_ns() - time.monotonic_ns()

    def step(self) -> TickResult:
        """Sleeps until the slot, then drains, ticks and sends."""
        wait = self.schedule.wait_ns(time.monotonic_ns())
        if wait:
            time.sleep(wait / NS_PER_S)
        return self.run_slot()

    def run_slot(self) -> TickResult:
        """The slot's work, now."""
        begun = time.monotonic_ns()
        self.schedule.begin(begun)
        self.sockets.drain(begun)
        result = self.engine.tick(begun)
        self.sockets.flush()
        done = time.monotonic_ns()
        self.schedule.end(done)
        self.engine.note_tick(done - begun)
        return result
