"""The farm's clocks: a real one for shells and a virtual one for simulations.

Cores never import this module; they are handed `now_ns`. Three times exist and are never mixed: *now* (monotonic,
local to one host), *wall* (comparable between hosts as far as NTP goes, for logs and events) and *media* (RTP).
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Reads the monotonic and the wall clock, both in ns."""

    def now_ns(self) -> int: ...

    def wall_ns(self) -> int: ...


class SystemClock:
    """The clocks of the host."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class VirtualClock:
    """A clock that moves only when told to: simulated networks and timer tests run faster than real time."""

    def __init__(self, start_ns: int = 0, wall_offset_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = start_ns
        self._wall_offset_ns = wall_offset_ns

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ns(self) -> int:
        return self._now_ns + self._wall_offset_ns

    def advance(self, by_ns: int) -> None:
        """Moves both clocks forward; raises ValueError on a negative step, for time never runs back here."""
        if by_ns < 0:
            raise ValueError(f"time cannot run back by {-by_ns} ns")
        self._now_ns += by_ns
