"""Loudness in rooms: nobody clips, however many talk, and a hundred open microphones are not a hundred times the noise.

`Limiter` turns down what a listener hears only where it would clip: it looks at the whole frame before it plays the
first sample, so the gain is already down when the peak comes, and lets go over a second, so that it does not pump. At
gain 1 samples pass untouched. `Talkers` lets the loudest few of a big room through and fades the others out. State is by
row and passed nowhere else. Sources: the look-ahead limiter and the loudest-N conference bridge, both common knowledge.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.rows import Floats, Index, Mask

FULL: Final = 32_767
PARTS: Final = 8
"""Of a frame: 2.5 ms each."""
RELEASE: Final = 0.0025
"""Of the way back to 1 per part: 1 s to two thirds of it."""
_ONE: Final = 0.9995

TALKERS: Final = 8
"""Heard at once in a room that has more members."""
LEVEL_DECAY: Final = 0.9
"""Per frame: a talker who pauses between words for 0.2 s has lost 9 dB, and is still ahead of noise."""
STAY: Final = 2.0
"""Someone who is heard counts twice (6 dB), so that two equals do not take turns."""
FADE: Final = 0.2
"""Of the full weight, per frame, for those who are no longer among the loudest."""

DUCK_STEP: Final = 0.25
"""Per frame: music is down by 12 dB within 60 ms."""
RETURN_STEP: Final = 0.03


class Limiter:
    """One gain per row."""

    def __init__(self, count: int) -> None:
        self._gain: npt.NDArray[np.float32] = np.ones(count, np.float32)

    def forget(self, row: int) -> None:
        self._gain[row] = 1

    def limit(self, rows: Index, heard: npt.NDArray[np.int32]) -> Samples:
        """[R, S] sums to samples, S a multiple of `PARTS`."""
        out = heard.astype(np.int16)
        peak = _size(heard).max(axis=1)
        touched = np.flatnonzero((peak > FULL) | (self._gain[rows] < 1))
        if touched.size:
            out[touched] = self._turn_down(rows[touched], heard[touched])
        return out

    def _turn_down(self, rows: Index, heard: npt.NDArray[np.int32]) -> Samples:
        size = heard.shape[1] // PARTS
        parts = heard.reshape(len(rows), PARTS, size)
        needed = np.minimum(1, FULL / np.maximum(_size(parts).max(axis=2), 1)).astype(np.float32)
        nodes = np.empty((len(rows), PARTS + 1), np.float32)
        nodes[:, 0] = np.minimum(self._gain[rows], needed[:, 0])
        for part in range(PARTS):
            back = nodes[:, part] + (1 - nodes[:, part]) * np.float32(RELEASE)
            nodes[:, part + 1] = np.minimum(back, needed[:, part])
            if part + 1 < PARTS:
                nodes[:, part + 1] = np.minimum(nodes[:, part + 1], needed[:, part + 1])
        place = (np.arange(1, size + 1, dtype=np.float32) / np.float32(size))[None, None, :]
        gains = nodes[:, :-1, None] + (nodes[:, 1:] - nodes[:, :-1])[:, :, None] * place
        last = nodes[:, -1]
        self._gain[rows] = np.where(last > _ONE, np.float32(1), last)
        # Towards zero: a gain of exactly FULL / peak must not round up beyond it.
        limited: Samples = np.clip(np.trunc(parts * gains), -FULL - 1, FULL).astype(np.int16)
        return limited.reshape(heard.shape)


def _size(pcm: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Distance from zero, -32,768 being as far as 32,767: both are full scale."""
    return pcm ^ (pcm >> 31)


class Talkers:
    """A level and a weight per row."""

    def __init__(self, count: int) -> None:
        self._level: Floats = np.zeros(count)
        self._weight: Floats = np.ones(count)

    def forget(self, row: int) -> None:
        self._level[row], self._weight[row] = 0, 1

    def weigh(self, rows: Index, pcm: Samples, room: Index, big: Mask) -> Floats:
        """[M] weights of members sorted by room; `room` [M] numbers rooms from 0, `big` [M] tells who is in a big one."""
        energy = np.square(pcm, dtype=np.float32).mean(axis=1)
        level = np.maximum(energy, self._level[rows] * LEVEL_DECAY)
        self._level[rows] = level
        before = self._weight[rows]
        order = np.lexsort((-level * np.where(before == 1, STAY, 1.0), room))
        first = np.searchsorted(room, room)
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows))
        chosen = (rank - first < TALKERS) | ~big
        weight = np.where(chosen, 1.0, np.maximum(0.0, np.round(before - FADE, 6)))
        self._weight[rows] = weight
        return weight


class Ducker:
    """A gain per line: the background under something that matters more, going down fast and coming back slowly."""

    def __init__(self, count: int) -> None:
        self._gain: Floats = np.ones(count)
        self.depth: Floats = np.ones(count)
        """The gain while ducked."""

    def forget(self, line: int) -> None:
        self._gain[line] = self.depth[line] = 1

    def begin(self, line: int) -> None:
        """Something new is played on it: from its first sample on as loud as it should be, whatever was before."""
        self._gain[line] = np.nan

    def apply(self, lines: Index, frames: Samples, under: Mask) -> npt.NDArray[np.int32]:
        """[R, S] frames of the lines, softer where `under` [R] says that something is heard over them."""
        before = self._gain[lines]
        wanted = np.where(under, self.depth[lines], 1.0)
        before = np.where(np.isnan(before), wanted, before)
        gain = np.clip(wanted, before - DUCK_STEP, before + RETURN_STEP)
        self._gain[lines] = gain
        if np.count_nonzero(before != 1) or np.count_nonzero(gain != 1):
            return np.rint(frames * ramps(before, gain, frames.shape[1])).astype(np.int32)
        return frames.astype(np.int32)


def ramps(before: Floats, after: Floats, size: int) -> Floats:
    """[R, S] gains that lead from one to the other within a frame; the last sample has the new one."""
    place = np.arange(1, size + 1) / size
    between: Floats = before[:, None] + (after - before)[:, None] * place
    return between
