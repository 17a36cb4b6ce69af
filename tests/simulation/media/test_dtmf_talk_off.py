"""Speech is no key press: people's voices, faster and slower, loud and soft, alone and talking all at once.

Made of the demo's recordings; `python -m bench.dtmf` does the same with hours of speech of many speakers.
"""

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from mediaworker.core.dtmf.detector import ToneDetector
from mediaworker.core.dtmf.tones import tone
from mediaworker.core.g711 import MU_LAW
from tests.support.recordings import recordings

pytestmark = pytest.mark.simulation

FRAME = 160
RATES = (0.78, 0.83, 0.88, 0.93, 1.0, 1.07, 1.14, 1.21, 1.28)
"""Speed and pitch together: children to basses."""
GAINS = (0.25, 1.0, 4.0)
"""The loud one is clipped."""

Pcm = npt.NDArray[np.int16]


def voices() -> list[Pcm]:
    """One line of all the recordings for each rate."""
    parts = [pcm.astype(np.float64) for pcm in recordings().values()]
    return [np.concatenate([soxr.resample(part, 1.0, rate) for part in parts]) for rate in RATES]


def lines() -> Pcm:
    """[L, S] every voice at every gain; and babble of three of them."""
    alone = voices()
    count = min(map(len, alone)) // FRAME * FRAME
    crowd = np.stack([voice[:count] for voice in alone])
    babble = [
        crowd[a] + np.roll(crowd[b], 9_000) + np.roll(crowd[c], 17_000)
        for a, b, c in ((0, 3, 6), (1, 4, 5), (2, 3, 5))
    ]
    whole = np.concatenate([crowd * gain for gain in GAINS] + [np.stack(babble)])
    line: Pcm = np.rint(whole).clip(-32_768, 32_767).astype(np.int16)
    return MU_LAW.decoder[MU_LAW.encoder[line.view(np.uint16)]]


def found(pcm: Pcm) -> list[str]:
    detector, rows = ToneDetector(len(pcm)), np.arange(len(pcm))
    return [
        press.digit
        for start in range(0, pcm.shape[1], FRAME)
        for press in detector.step(rows, pcm[:, start : start + FRAME])
    ]


def test_minutes_of_speech_hold_no_digit():
    speech = lines()
    assert speech.size / 8_000 / 60 > 5, "minutes"
    assert found(speech) == []


def test_a_digit_into_the_same_speech_is_found():
    """Between two sentences, where callers press them; the lines are as before."""
    speech = lines()
    pressed = np.tile(tone("5", 60, -16), (len(speech), 1))
    quiet = np.zeros((len(speech), 4 * FRAME), np.int16)
    assert found(np.concatenate([speech[:, : 100 * FRAME], quiet, pressed, quiet], axis=1)) == ["5"] * len(
        speech
    )
