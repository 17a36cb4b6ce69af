"""Mix-minus: everyone in a room hears everyone else, never themselves.

Sums are int32 and brought back to int16 once, at the end. Must not know legs that are in no room.
"""

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples


def mix_minus(
    pcm: Samples | npt.NDArray[np.int32], starts: npt.NDArray[np.int64], room: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """What each of L legs hears of its room, not yet clipped.

    `pcm` [L, S] sorted by room, `starts` [R] first leg of each room, `room` [L] the room of each leg (0 to R - 1).
    """
    wide = pcm.astype(np.int32, copy=False)
    sums = np.add.reduceat(wide, starts, axis=0)
    heard: npt.NDArray[np.int32] = sums[room] - wide
    return heard


def clip(wide: Samples | npt.NDArray[np.int32]) -> Samples:
    """Sums back to samples."""
    if wide.dtype == np.int16:
        return wide.astype(np.int16, copy=False)
    return np.clip(wide, -32_768, 32_767).astype(np.int16)
