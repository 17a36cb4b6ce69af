"""Two frames heard as one, cut over where they resemble each other most: 20 ms of delay given back without a gap.

Every row may have its own place for the cut; the two frames fade into each other for 5 ms around it. Any sample rate. Must not
decide when that is done; that is `pace`.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.rows import Floats, Ints, Mask

FADE_PARTS: Final = 4
"""The fade is a quarter of a frame."""
STEP_PARTS: Final = 40
"""Places that are tried are half a millisecond apart."""
ALIKE: Final = 0.8
"""Correlation of the two frames at the cut from which on nobody hears it."""
QUIET_POWER: Final = 32_768.0**2 * 10.0**-4.5
"""-45 dBFS: background, where a cut is not heard either."""


class Seam(NamedTuple):
    """[N] pairs of frames: the best place for the cut, and how alike they are there (-1 to 1)."""

    start: Ints
    likeness: Floats


def power(pcm: Samples) -> Floats:
    """[N, S] samples to [N] mean squares."""
    wide = pcm.astype(np.float64)
    mean: Floats = np.vecdot(wide, wide) / pcm.shape[1]
    return mean


def find(first: Samples, second: Samples) -> Seam:
    """[N, S] and [N, S] frames."""
    size = first.shape[1]
    fade, step = size // FADE_PARTS, size // STEP_PARTS
    a, b = first.astype(np.float64), second.astype(np.float64)
    both, left, right = (_windows(values, fade, step) for values in (a * b, a * a, b * b))
    likeness = both / np.sqrt(left * right + 1.0)
    best = np.argmax(likeness, axis=1)
    return Seam(best * step, np.take_along_axis(likeness, best[:, None], axis=1)[:, 0])


def _windows(values: npt.NDArray[np.float64], fade: int, step: int) -> npt.NDArray[np.float64]:
    """Sums over `fade` values from every `step`-th on."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    whole: npt.NDArray[np.float64] = sums[:, fade:] - sums[:, :-fade]
    return whole[:, ::step]


def splice(first: Samples, second: Samples, seam: Seam | None = None) -> Samples:
    """[N, S] and [N, S] frames to [N, S]: the beginning of the first, the end of the second."""
    start = (find(first, second) if seam is None else seam).start
    size = first.shape[1]
    fade = size // FADE_PARTS
    share = np.clip((np.arange(size) - start[:, None] + 1) / (fade + 1), 0.0, 1.0)
    mixed = first * (1 - share) + second * share
    out: Samples = np.rint(mixed).astype(np.int16)
    return out


def harmless(first: Samples, second: Samples, seam: Seam) -> Mask:
    """Which pairs may be made one without anybody noticing: alike at the cut, or both quiet."""
    quiet = np.maximum(power(first), power(second)) < QUIET_POWER
    unheard: Mask = quiet | (seam.likeness >= ALIKE)
    return unheard
