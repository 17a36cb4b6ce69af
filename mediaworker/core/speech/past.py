"""What callers on coded legs said lately, for the pre-roll of their utterances: the ring keeps their packets, not their sound.

The newest `PAST_FRAMES` frames of every row, at the row's own rate, as they belong to an utterance: what was made up while
playout waited is left out. Rows that are never kept cost no memory.
"""

import numpy as np
import numpy.typing as npt

from mediaworker.core.inbound.jitter import PAST_FRAMES
from mediaworker.core.inbound.timeline import OwnTime
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index, Ints, Rows
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES


class CodedPast:
    """P frames of every row."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._pcm: Samples = np.zeros((rows.count, PAST_FRAMES, WIDE_FRAME_SAMPLES), np.int16)
        self._count: Ints = np.zeros(rows.count, np.int64)
        self._wide: npt.NDArray[np.bool_] = np.zeros(rows.count, np.bool_)
        self._waits: npt.NDArray[np.bool_] = np.zeros(rows.count, np.bool_)

    def forget(self, row: int) -> None:
        self._count[row] = 0

    def keep(self, at: Index, own_time: OwnTime) -> None:
        """The frames of this tick of coded rows."""
        rows = self._rows
        wide = rows.wide[at]
        self._count[at[self._wide[at] != wide]] = 0
        self._wide[at] = wide
        waits = np.isin(at, [row for row, pcm in own_time.items() if not pcm.size])
        self._waits[at] = waits
        slot = self._count[at] % PAST_FRAMES
        for here, frames, size in (
            (wide & ~waits, rows.caller_wide, WIDE_FRAME_SAMPLES),
            (~wide & ~waits, rows.caller_pcm, FRAME_SAMPLES),
        ):
            self._pcm[at[here], slot[here], :size] = frames[at[here]]
        self._count[at] += ~waits

    def before(self, row: int, frames: int) -> Samples:
        """Up to so many frames before that of this tick."""
        end = int(self._count[row]) - (not self._waits[row])
        first = max(0, end - frames, int(self._count[row]) - PAST_FRAMES)
        size = WIDE_FRAME_SAMPLES if self._wide[row] else FRAME_SAMPLES
        return self._pcm[row, np.arange(first, end) % PAST_FRAMES, :size].reshape(-1)
