import numpy as np
import pytest

from mediaworker.core.inbound.comfort_in import noise
from mediaworker.core.inbound.intake import NOISE_AMPLITUDE

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("level", "dbov"), [(30, -30), (50, -50), (70, -70)])
def test_the_noise_has_the_level_that_was_told(level: int, dbov: int):
    pcm = np.concatenate([noise(np.array([3]), NOISE_AMPLITUDE[[level]], tick, 160)[0] for tick in range(60)])
    found = 20 * np.log10(np.sqrt(np.mean(pcm.astype(float) ** 2)) / 32_768)
    assert found == pytest.approx(dbov, abs=0.5)


def test_rows_and_ticks_do_not_sound_alike():
    first, second = noise(np.array([0, 1]), np.array([900.0, 900.0]), 5, 160).astype(float)
    later = noise(np.array([0]), np.array([900.0]), 6, 160)[0].astype(float)
    for other in (second, later):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.3


def test_the_loudest_level_is_clipped_and_the_lowest_is_silence():
    assert np.abs(noise(np.array([0]), NOISE_AMPLITUDE[[0]], 0, 160)[0].astype(int)).max() <= 32_768
    assert not noise(np.array([0]), NOISE_AMPLITUDE[[127]], 0, 160).any()
