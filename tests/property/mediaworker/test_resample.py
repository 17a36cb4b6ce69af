import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mediaworker.core.resample import HalfBand
from tests.support.reference_resample import filtered, half_band_taps

pytestmark = pytest.mark.property

TAPS = half_band_taps(32, 5.65)

samples = st.integers(-32_768, 32_767)


@settings(max_examples=25, deadline=None)
@given(arrays.arrays(np.int16, (2, 2, 80), elements=samples))
def test_half_of_the_rate_is_the_filtered_wave_without_every_second_sample(wave: np.ndarray):
    """Two rows, two frames."""
    band = HalfBand(4)
    fast = [band.down(np.array([1, 3]), wave[:, frame]) for frame in range(2)]
    for row in range(2):
        slow = filtered([float(sample) for sample in wave[row].ravel()], TAPS)[0::2]
        assert_close(np.concatenate([frame[row] for frame in fast]), slow)


@settings(max_examples=25, deadline=None)
@given(arrays.arrays(np.int16, (2, 2, 40), elements=samples))
def test_twice_the_rate_is_the_filtered_wave_with_zeros_between(wave: np.ndarray):
    band = HalfBand(4)
    fast = [band.up(np.array([0, 2]), wave[:, frame]) for frame in range(2)]
    for row in range(2):
        stuffed = [value for sample in wave[row].ravel() for value in (2.0 * float(sample), 0.0)]
        assert_close(np.concatenate([frame[row] for frame in fast]), filtered(stuffed, TAPS))


def assert_close(fast: np.ndarray, slow: list[float]) -> None:
    """The fast one reckons with 24 bits: at most one step away."""
    wanted = np.clip(np.array(slow), -32_768, 32_767)
    assert np.abs(fast.astype(np.float64) - wanted).max() <= 0.55
