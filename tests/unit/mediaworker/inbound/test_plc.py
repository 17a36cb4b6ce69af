import numpy as np
import pytest

from mediaworker.core.inbound import plc
from tests.support import reference_plc as reference
from tests.support.engine_caller import tone

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("hz", [70.0, 100.0, 125.0, 160.0, 200.0, 250.0])
def test_a_tone_goes_on_in_step(hz: float):
    whole = tone(hz, 640)
    filled = plc.conceal(whole[None, :480], np.array([0]))[0]
    assert np.abs(filled[:80] - whole[480:560]).max() < 600
    expected = whole[480:] * plc.GAIN[:160]
    assert np.abs(filled - expected).max() < 1_200


def test_the_first_sample_goes_on_where_the_last_one_was():
    rng = np.random.default_rng(4)
    history = np.cumsum(rng.normal(0, 300, (20, 480)), axis=1)
    history = (history - history.mean(axis=1, keepdims=True)).astype(np.int16)
    filled = plc.conceal(history, np.zeros(20, np.int64))
    step = np.abs(filled[:, 0].astype(int) - history[:, -1])
    assert step.max() <= np.abs(np.diff(history.astype(int), axis=1)).max() * 1.5


def test_the_sound_fades_to_silence_over_three_frames():
    history = np.tile(tone(200.0, 480), (4, 1))
    filled = plc.conceal(history, np.arange(4))
    loudness = np.abs(filled.astype(int)).max(axis=1)
    assert loudness[0] > loudness[1] > loudness[2] > loudness[3] == 0
    assert np.abs(filled[2, -5:]).max() < 600


def test_frames_of_a_long_hole_join_without_a_step():
    history = np.tile(tone(130.0, 480), (3, 1))
    hole = plc.conceal(history, np.arange(3)).reshape(-1).astype(int)
    assert np.abs(np.diff(hole)).max() < 1.3 * np.abs(np.diff(history[0].astype(int))).max()


def test_silence_stays_silence():
    assert not plc.conceal(np.zeros((1, 480), np.int16), np.array([0])).any()
    assert plc.conceal(np.zeros((0, 480), np.int16), np.zeros(0, np.int64)).shape == (0, 160)


@pytest.mark.parametrize(("run", "fade"), [(1, 32), (2, 80), (9, 80)])
def test_what_follows_a_hole_fades_in(run: int, fade: int):
    loud, silent = np.full((1, 160), 1_000, np.int16), np.zeros((1, 160), np.int16)
    blended = plc.blend(silent, loud, np.array([run]))[0]
    assert np.all(np.diff(blended) >= 0)
    assert np.flatnonzero(blended == 1_000)[0] == fade
    assert 0 < blended[0] < 50


@pytest.mark.parametrize("run", [0, 1, 2, 3])
def test_the_slow_version_gives_the_same_samples(run: int):
    history = np.random.default_rng(run).integers(-32_768, 32_768, (1, 480)).astype(np.int16)
    fast = plc.conceal(history, np.array([run]))[0]
    assert fast.tolist() == reference.conceal(history[0].tolist(), run)
