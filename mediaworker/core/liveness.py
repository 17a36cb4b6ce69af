"""Legs whose packets stopped or never came.

A leg is looked at every half second, all of a phase at once. Must not end anything: it says what it found.
"""

from typing import Final

import numpy as np

from mediaworker.core.legs import LegLost
from mediaworker.core.rows import Rows
from shared.units import NS_PER_S

HOLD_TIMEOUT_NS: Final = 1_800 * NS_PER_S
"""A caller who put us on hold (`a=sendonly`) may send music or nothing at all."""
MUTE_TIMEOUT_NS: Final = 15_000 * NS_PER_S
"""A leg that owes us no packets is ended by its front. Should the front have died, it ends here (I1): after the longest
call a front allows by default (`sip.max_call_s`, 14,400 s)."""
WATCH_TICKS: Final = 25
"""Legs are looked at for lost packets every half second."""


class Watch:
    """Timeouts of all legs."""

    def __init__(self, rows: Rows, *, timeout_s: float, never_s: float) -> None:
        self._rows = rows
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._never_ns = int(never_s * NS_PER_S)

    def lost(self, span: slice, now_ns: int) -> list[LegLost]:
        """Legs whose packets stopped or never came. Those that hold us may be silent for long; those that owe us none
        (`sendonly`, `inactive`) only end when nobody else can have ended them.
        """
        rows = self._rows
        watched = rows.started[span] & ~rows.lost[span]
        since = np.maximum(rows.arrived_ns[span], rows.watched_ns[span])
        silent = np.where(rows.received[span] > 0, self._timeout_ns, self._never_ns)
        silent = np.where(rows.sends[span], silent, np.maximum(silent, HOLD_TIMEOUT_NS))
        silent = np.where(rows.receives[span], silent, np.maximum(silent, MUTE_TIMEOUT_NS))
        found = np.flatnonzero(watched & (now_ns - since > silent)) + span.start
        rows.lost[found] = True
        return [LegLost(row, "rtp_timeout" if rows.received[row] else "rtp_never") for row in found.tolist()]
