"""Interarrival jitter (RFC 3550 appendix A.8), for one packet per row, on arrival times.

Arrival times are the kernel's, so that the figure is the network's and not this process's schedule; it agrees with
tshark's, which uses the same formula. Must not read a clock.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np

from mediaworker.core.rows import UNSET, Index, Ints, Rows

NS_PER_SAMPLE: Final = 125_000
GAIN: Final = 16


def jitter(rows: Rows, at: Index, arrivals: Ints, position: Ints) -> None:
    """Updates the jitter columns with packets that arrived at `arrivals` ns and were sampled at `position` samples."""
    transit = arrivals - position * NS_PER_SAMPLE
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


def mos(loss_ratio: float, one_way_ms: float) -> float:
    """Listening quality 1 to 4.5 of G.711 with concealment: the E-model of ITU-T G.107, Bpl 25.1, Ie 0 (G.113)."""
    delay = 0.024 * one_way_ms + (0.11 * (one_way_ms - 177.3) if one_way_ms > 177.3 else 0.0)
    loss = 100 * max(loss_ratio, 0.0)
    rating = 93.2 - delay - 95 * loss / (loss + 25.1)
    if rating <= 0:
        return 1.0
    return float(min(4.5, max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)))
