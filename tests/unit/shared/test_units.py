"""Conversions between samples and milliseconds."""

import pytest

from shared.units import FRAME_SAMPLES, ms_to_samples, samples_to_ms

pytestmark = pytest.mark.unit


def test_frame_is_160_samples_when_narrowband() -> None:
    assert FRAME_SAMPLES == 160


def test_conversions_are_inverse_when_whole() -> None:
    assert samples_to_ms(160) == 20.0
    assert samples_to_ms(160, 16_000) == 10.0
    assert ms_to_samples(20) == 160
    assert ms_to_samples(0.1) == 0
    assert ms_to_samples(20, 16_000) == 320
