"""Loss concealment: the last pitch period is repeated while it fades to silence over 60 ms.

Waveform repetition as in ITU-T G.711 appendix I, without its overlap-add and delay. All arithmetic is on integers, so
that the slow version in tests/support/reference.py gives the same samples. Must not know where the history comes from.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from shared.units import FRAME_SAMPLES

FADE_FRAMES: Final = 3
"""After so many concealed frames nothing is left but silence."""
HISTORY: Final = 480
SHORTEST_LAG: Final = 32
"""250 Hz... 4 ms: half of the shortest pitch period repeated is as good."""
LONGEST_LAG: Final = 160
TEMPLATE: Final = 80
_GAINS: Final = (32_768, 24_576, 12_288, 0)
"""Q15 at the borders of the concealed frames."""


def _ramps() -> npt.NDArray[np.int64]:
    """[FADE_FRAMES, 160] Q15 gain of every concealed sample."""
    step = np.arange(FRAME_SAMPLES)
    return np.array(
        [_GAINS[run] + (_GAINS[run + 1] - _GAINS[run]) * step // FRAME_SAMPLES for run in range(FADE_FRAMES)],
        np.int64,
    )


RAMPS: Final = _ramps()


def pitch_lags(history: Samples) -> npt.NDArray[np.int64]:
    """[H, HISTORY] samples to [H] lags: where the last 10 ms resemble the past most (normalised correlation)."""
    past = history.astype(np.int64)
    template = past[:, -TEMPLATE:]
    windows = np.lib.stride_tricks.sliding_window_view(past, TEMPLATE, axis=1)
    lags = np.arange(SHORTEST_LAG, LONGEST_LAG + 1)
    candidates = windows[:, HISTORY - TEMPLATE - lags]
    correlation = np.einsum("hls,hs->hl", candidates, template)
    energy = np.einsum("hls,hls->hl", candidates, candidates) + 1
    score = np.where(correlation > 0, correlation.astype(np.float64) ** 2 / energy, -1.0)
    best: npt.NDArray[np.int64] = lags[np.argmax(score, axis=1)]
    return best


def conceal(history: Samples, run: npt.NDArray[np.int64]) -> Samples:
    """[H, HISTORY] samples before the hole, [H] how many frames of it are already filled, to [H, 160] samples."""
    lag = pitch_lags(history)[:, None]
    offset = (run[:, None] * FRAME_SAMPLES + np.arange(FRAME_SAMPLES)) % lag
    source = np.take_along_axis(history, HISTORY - lag + offset, axis=1).astype(np.int64)
    out: Samples = ((source * RAMPS[run]) >> 15).astype(np.int16)
    return out
