"""Loss concealment for G.711 legs, on the ideas of ITU-T G.711 appendix I.

The pitch is found by correlation; the last period is repeated, after 10 ms the last two, after 20 ms the last three, so that a
long hole does not buzz; where the repetition wraps, and where the number of periods changes, one fades into the other. The
sound is left alone for 10 ms and then falls to silence within 50 ms. What comes after the hole fades in over what was made
up. The appendix delays everything by 3.75 ms to blend the beginning; here the step at the first sample is taken out
instead, which costs no delay. Must not know where the history comes from.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.rows import Floats, Ints
from shared.units import FRAME_SAMPLES

FADE_FRAMES: Final = 3
"""After so many concealed frames nothing is left but silence."""
HISTORY: Final = 480
SHORTEST_LAG: Final = 40
"""200 Hz; a higher voice is repeated by two or more of its periods."""
LONGEST_LAG: Final = 120
"""66 Hz."""
TEMPLATE: Final = 160
"""The last 20 ms are looked for in what came before them."""
COARSE: Final = 2
PERIODS: Final = 3
_BLOCK: Final = 80
_FADE: Final = 32
"""4 ms: where the number of periods changes, and where sound begins again."""
_LONGEST_FADE: Final = 80

Shares = npt.NDArray[np.float64]


def _gain() -> Shares:
    """[FADE_FRAMES * 160] what is left of the sound: all for 10 ms, then a fifth less every 10 ms."""
    return np.clip(1.0 - 0.2 * (np.arange(FADE_FRAMES * FRAME_SAMPLES) - _BLOCK + 1) / _BLOCK, 0.0, 1.0)


def _shares() -> Shares:
    """[PERIODS, FADE_FRAMES * 160] which number of periods is heard."""
    step = np.arange(FADE_FRAMES * FRAME_SAMPLES)
    two, three = (np.clip((step - begin + 1) / _FADE, 0.0, 1.0) for begin in (_BLOCK, 2 * _BLOCK))
    return np.stack([1 - two, two - three, three])


GAIN: Final = _gain()
SHARES: Final = _shares()


def pitch_lags(history: Samples) -> Ints:
    """[H, HISTORY] samples to [H] lags at which the last 20 ms resemble the past most: every second one, then around the best."""
    past = history.astype(np.float64)
    coarse = np.arange(SHORTEST_LAG, LONGEST_LAG + 1, COARSE)
    score = _likeness(past[:, ::COARSE], coarse // COARSE, TEMPLATE // COARSE)
    rough = coarse[np.argmax(score, axis=1)]
    near = np.clip(rough[:, None] + np.arange(1 - COARSE, COARSE), SHORTEST_LAG, LONGEST_LAG)
    start = HISTORY - TEMPLATE - near
    windows = np.lib.stride_tricks.sliding_window_view(past, TEMPLATE, axis=1)
    row = np.arange(len(past))
    fine = _score(windows[row[:, None], start], past[:, -TEMPLATE:])
    best: Ints = near[row, np.argmax(fine, axis=1)]
    return best


def _likeness(past: Floats, lags: Ints, length: int) -> Floats:
    """[H, S] samples: how the last `length` of them resemble those `lags` before."""
    size = past.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(past, length, axis=1)
    return _score(windows[:, size - length - lags], past[:, -length:])


def _score(windows: Floats, template: Floats) -> Floats:
    """[H, C, S] candidates and [H, S] template to [H, C] normalised correlation."""
    product = np.einsum("hcs,hs->hc", windows, template)
    energy = np.einsum("hcs,hcs->hc", windows, windows)
    score: Floats = product / np.sqrt(energy + 1.0)
    return score


def conceal(history: Samples, run: Ints) -> Samples:
    """[H, HISTORY] samples before the hole, [H] how many frames of it are already filled, to [H, 160] samples."""
    past = history.astype(np.float64)
    lag = pitch_lags(history)[:, None]
    step = np.minimum(run, FADE_FRAMES)[:, None] * FRAME_SAMPLES + np.arange(FRAME_SAMPLES)
    inside = np.minimum(step, FADE_FRAMES * FRAME_SAMPLES - 1)
    quarter = lag // 4
    sound = np.zeros(step.shape)
    for periods in range(1, PERIODS + 1):
        share = SHARES[periods - 1][inside]
        if share.any():
            sound += share * _repeated(past, lag, quarter, step, periods)
    # The first sample goes on where the last one was, not where the period before began.
    jump = past[:, -1:] - _at(past, HISTORY - 1 - lag)
    sound += jump * np.clip(1.0 - (step + 1) / (quarter + 1), 0.0, 1.0)
    sound *= np.where(run[:, None] < FADE_FRAMES, GAIN[inside], 0.0)
    return np.rint(np.clip(sound, -32_768, 32_767)).astype(np.int16)


def _repeated(past: Floats, lag: Ints, quarter: Ints, step: Ints, periods: int) -> Floats:
    """The last `periods` periods again and again; the end of each round fades into what came before its beginning."""
    length = lag * periods
    phase = step % length
    sound = _at(past, HISTORY - length + phase)
    share = np.maximum((phase - (length - quarter) + 1) / (quarter + 1), 0.0)
    row, place = np.nonzero(share)
    before = past[row, np.maximum(HISTORY - 2 * length[row, 0] + phase[row, place], 0)]
    sound[row, place] += (before - sound[row, place]) * share[row, place]
    return sound


def _at(past: Floats, index: Ints) -> Floats:
    """[H, S] samples at [H, N] places of each row."""
    rows = np.arange(len(past))[:, None] * past.shape[1]
    found: Floats = past.reshape(-1).take(index + rows)
    return found


def blend(made_up: Samples, sound: Samples, run: Ints) -> Samples:
    """[H, 160] what concealment would go on with, and the sound that begins again after [H] frames: the one fades into the
    other, over 4 ms after a frame and 10 ms after a long hole.
    """
    fade = np.where(run <= 1, _FADE, _LONGEST_FADE)[:, None]
    share = np.clip((np.arange(FRAME_SAMPLES) + 1) / (fade + 1), 0.0, 1.0)
    out: Samples = np.rint(made_up * (1 - share) + sound * share).astype(np.int16)
    return out
