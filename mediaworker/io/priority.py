"""How much the kernel prefers the tick's thread to everybody else on the machine.

A tick that wakes late is jitter in every caller's ear. A nice value only counts among the processes of one session or control
group (autogroups, cgroups), so the thread asks for real time (SCHED_FIFO) first; measured with ten busy neighbours on two processors the
jitter of what callers get back is then 0.3 ms instead of 4 to 100. What is asked for is not inherited by threads and
processes begun later.

A thread that outruns everybody must not do so when it cannot keep up: the thread with the leases and the audio of the farm
would starve beside it. When rounds were given up, it steps back for a while. Linux; elsewhere nothing is asked for.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Final

NICE: Final = -10
REALTIME: Final = 5
"""Of 1 to 99, the least urgent first: below what the kernel runs for itself."""
STEP_BACK_S: Final = 5
BESIDE: Final = 2


def beside_tick() -> None:
    """For threads that share the interpreter with the tick: real time too, below it. One that a stranger's process displaces while it
    holds the interpreter lock keeps the tick waiting with it (priority inversion): 1,000 agent legs then overran 567 of 574
    slots, and 16 of 1,000 this way.
    """
    if sys.platform == "linux":
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        _allowed(lambda: os.sched_setscheduler(threading.get_native_id(), policy, os.sched_param(BESIDE)))


class TickPriority:
    """Of the thread that makes it. `kind`: "realtime", "nice" or "none"."""

    def __init__(self) -> None:
        self._thread = threading.get_native_id()
        self.kind = "none"
        self._skipped = 0
        self._rest_s = 0

    def ask(self) -> str:
        """Takes the best that is allowed; its kind."""
        self.kind = next((kind for kind, take in self._ways() if _allowed(take)), "none")
        return self.kind

    def each_second(self, skipped: int) -> None:
        """`skipped`: rounds of 20 ms given up so far."""
        late, self._skipped = skipped > self._skipped, skipped
        if late and self.kind == "realtime":
            os.sched_setscheduler(self._thread, os.SCHED_OTHER, os.sched_param(0))
            _allowed(self._nice)
            self.kind = "nice"
            self._rest_s = STEP_BACK_S
        elif self._rest_s:
            self._rest_s = STEP_BACK_S if late else self._rest_s - 1
            if not self._rest_s:
                self.ask()

    def _ways(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        if sys.platform != "linux":
            return ()
        return (("realtime", self._realtime), ("nice", self._nice))

    def _realtime(self) -> None:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(self._thread, policy, os.sched_param(REALTIME))

    def _nice(self) -> None:
        os.setpriority(os.PRIO_PROCESS, self._thread, NICE)


def _allowed(take: Callable[[], None]) -> bool:
    try:
        take()
    except PermissionError:
        return False
    return True
