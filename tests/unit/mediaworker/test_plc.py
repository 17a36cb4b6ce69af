import numpy as np
import pytest

from mediaworker.core import plc
from tests.support import reference
from tests.support.engine_caller import tone

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("hz", [62.5, 100.0, 125.0, 200.0])
def test_a_tone_goes_on_in_step(hz: float):
    whole = tone(hz, 640)
    filled = plc.conceal(whole[None, :480], np.array([0]))[0]
    ramp = plc.RAMPS[0] / 32_768
    assert np.abs(filled - whole[480:] * ramp).max() < 400


def test_the_sound_fades_to_silence_over_three_frames():
    history = np.tile(tone(200.0, 480), (3, 1))
    filled = plc.conceal(history, np.arange(3))
    loudness = np.abs(filled).max(axis=1)
    assert loudness[0] > loudness[1] > loudness[2]
    assert np.abs(filled[2, -5:]).max() < 300


def test_silence_stays_silence():
    assert not plc.conceal(np.zeros((1, 480), np.int16), np.array([0])).any()


@pytest.mark.parametrize("run", [0, 1, 2])
def test_the_slow_version_gives_the_same_samples(run: int):
    history = np.random.default_rng(run).integers(-32_768, 32_768, (1, 480)).astype(np.int16)
    assert plc.conceal(history, np.array([run]))[0].tolist() == reference.conceal(history[0].tolist(), run)
