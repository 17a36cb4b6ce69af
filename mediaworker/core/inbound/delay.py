"""How late a leg's packets come, and the least delay that all but 1 % of them meet.

A packet's transit is its arrival minus the time of its frame on the caller's clock; only differences of it mean anything.
Each row counts how far its packets' transit was above its least one, in steps of a millisecond, and forgets with a time constant of
30 s. The least one is that of the last 2 to 4 s, so that a clock that drifts by 500 ppm is followed. The target is the 98.5 %
quantile: ticks round it up, so that less than 1 % come too late. Counting is a few array steps per batch; quantiles are found for a part of the rows in each tick.
Must not move playout; that is `pace`.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.rows import NEVER, UNSET, Index, Ints, Rows
from shared.units import NS_PER_MS, TICK_MS

FRAME_NS: Final = TICK_MS * NS_PER_MS
STEP_NS: Final = 1_000_000
BINS: Final = 256
RANGE_NS: Final = STEP_NS * BINS
"""What comes later than this above the least transit counts as this late."""
IN_TIME: Final = 0.985
SETTLE_TICKS: Final = 25
"""Every row's target is found anew in as many ticks."""
FORGET: Final = math.exp(-SETTLE_TICKS * TICK_MS / 30_000)
WINDOW_SETTLES: Final = 4
"""Half the window of the least transit, in settlements: 2 s."""
DRIFT_STEPS: Final = 5
"""500 ppm in 4 s are 2 ms."""
KNOWN: Final = 50
"""Packets before which a row is given a frame of delay on trust."""

Counts = npt.NDArray[np.float32]


class DelayTarget:
    """`rows.least_ns`, `rows.target_ns` and `rows.goal_ns` of every row; `goal_ns` is their sum, NEVER while unknown."""

    def __init__(self, rows: Rows, max_ns: int) -> None:
        self._rows = rows
        self._max_ns = max_ns
        self._counts: Counts = np.zeros((rows.count, BINS), np.float32)
        self._flat = self._counts.reshape(-1)
        self._age: Ints = np.zeros(rows.count, np.int64)
        self._fresh = np.zeros(rows.count, np.bool_)
        """Rows with packets since they were settled last."""

    def forget(self, row: int) -> None:
        """A leg that begins, or another stream on it."""
        rows = self._rows
        self._counts[row] = 0
        rows.least_ns[row] = UNSET
        rows.goal_ns[row] = NEVER
        rows.low_now_ns[row] = rows.low_before_ns[row] = NEVER

    def note(self, at: Index, frame: Ints, arrivals: Ints) -> None:
        """[N] rows, each once: the frame that their packet completes, and when it came."""
        rows = self._rows
        transit = arrivals - frame * FRAME_NS
        above = transit - rows.least_ns[at]
        low = np.minimum.reduce(above)
        if low < 0 or np.maximum.reduce(above) > RANGE_NS:
            self._adjust(at, transit, above)
            above = transit - rows.least_ns[at]
        rows.low_now_ns[at] = np.minimum(rows.low_now_ns[at], transit)
        self._fresh[at] = True
        step = above // STEP_NS
        self._flat[at * BINS + np.minimum(np.maximum(step, 0), BINS - 1)] += 1

    def _adjust(self, at: Index, transit: Ints, above: Ints) -> None:
        """Rows whose first packet this is, and rows where one came earlier than any before it."""
        rows = self._rows
        new = rows.least_ns[at] == UNSET
        if np.count_nonzero(new):
            first = at[new]
            rows.least_ns[first] = transit[new]
            rows.goal_ns[first] = transit[new] + rows.target_ns[first]
        early = ~new & (above < 0)
        if np.count_nonzero(early):
            self._move(at[early], above[early] // STEP_NS)

    def _move(self, at: Index, steps: Ints) -> None:
        """Sets the least transit `steps` higher (lower where negative).

        Counts move to the bins they belong to now, but not at a step as small as those of a clock that drifts: what was
        counted before was late in relation to the least of its own time. Nor at one further down than is counted at all:
        no route is that much faster, the sender's times have jumped.
        """
        rows = self._rows
        rows.least_ns[at] += steps * STEP_NS
        rows.goal_ns[at] += steps * STEP_NS
        large = (np.abs(steps) > DRIFT_STEPS) & (steps > -BINS)
        if not np.count_nonzero(large):
            return
        at, steps = at[large], steps[large]
        counts = self._counts[at]
        source = np.arange(BINS) + steps[:, None]
        inside = (source >= 0) & (source < BINS)
        moved = np.where(
            inside, np.take_along_axis(counts, np.clip(source, 0, BINS - 1), axis=1), np.float32(0)
        )
        moved[:, 0] += np.where(np.arange(BINS) < steps[:, None], counts, 0).sum(axis=1)
        moved[:, -1] += np.where(np.arange(BINS) >= BINS + steps[:, None], counts, 0).sum(axis=1)
        self._counts[at] = moved

    def settle(self, span: slice, tick: int) -> None:
        """Finds the targets of one part of the span's rows."""
        part = -(-(span.stop - span.start) // SETTLE_TICKS)
        begin = span.start + part * (tick % SETTLE_TICKS)
        end = min(begin + part, span.stop)
        if begin < end and np.count_nonzero(self._fresh[begin:end]):
            self._settle(np.flatnonzero(self._fresh[begin:end]) + begin)

    def _settle(self, at: Index) -> None:
        rows = self._rows
        self._fresh[at] = False
        self._follow(at)
        counts = self._counts[at]
        counts *= np.float32(FORGET)
        self._counts[at] = counts
        reached = np.cumsum(counts, axis=1)
        total = reached[:, -1]
        wanted = total * np.float32(IN_TIME)
        step = np.argmax(reached >= wanted[:, None], axis=1)
        inside, behind = counts[np.arange(len(at)), step], (reached - counts)[np.arange(len(at)), step]
        target = ((step + (wanted - behind) / np.maximum(inside, np.float32(1e-6))) * STEP_NS).astype(
            np.int64
        )
        target = np.where(total < KNOWN / 2, np.maximum(target, FRAME_NS), target)
        rows.target_ns[at] = np.minimum(target, self._max_ns)
        rows.goal_ns[at] = rows.least_ns[at] + rows.target_ns[at]

    def _follow(self, at: Index) -> None:
        """Raises the least transit to that of the window, and turns the window over where it is full."""
        rows = self._rows
        least = np.minimum(rows.low_now_ns[at], rows.low_before_ns[at])
        steps = np.where(least < NEVER, least - rows.least_ns[at], 0) // STEP_NS
        up = steps > 0
        if np.count_nonzero(up):
            self._move(at[up], steps[up])
        self._age[at] += 1
        full = at[self._age[at] >= WINDOW_SETTLES]
        self._age[full] = 0
        rows.low_before_ns[full] = rows.low_now_ns[full]
        rows.low_now_ns[full] = NEVER
