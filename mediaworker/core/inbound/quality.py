"""Interarrival jitter (RFC 3550 appendix A.8), for one packet per row, on arrival times.

Arrival times are the kernel's, so that the figure is the network's and not this process's schedule; it agrees with
tshark's, which uses the same formula. Must not read a clock.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np

from mediaworker.core.rows import UNSET, Floats, Index, Ints, Rows
from shared.units import NS_PER_MS, TICK_MS

FRAME_NS: Final = TICK_MS * NS_PER_MS
GAIN: Final = 16


def jitter(rows: Rows, at: Index, arrivals: Ints, position: Ints) -> None:
    """Updates the jitter columns with packets that arrived at `arrivals` ns and begin at `position`, in units of the RTP clock."""
    transit = arrivals - position * FRAME_NS // rows.clock[at]
    before = rows.transit[at]
    rows.transit[at] = transit
    change = np.abs(transit - before).astype(np.float64)
    now = rows.jitter_ns[at]
    first = before == UNSET
    if np.count_nonzero(first):
        change = np.where(first, now, change)
    now += (change - now) / GAIN
    rows.jitter_ns[at] = now
    rows.jitter_sum_ns[at] += now
    rows.jitter_count[at] += 1
    rows.jitter_max_ns[at] = np.maximum(rows.jitter_max_ns[at], now)


class Histogram:
    """Counts per bucket, the last one without bound; what a Prometheus histogram is made of."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_all(self, values: Floats) -> None:
        """As many calls of `add`."""
        counts = np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts))
        self.counts = [before + count for before, count in zip(self.counts, counts.tolist(), strict=True)]
        self.total += float(np.sum(values))
