"""Levels of all legs' frames against the power of one frame, sample by sample."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.speech.vad import SILENCE_DB, levels_dbfs

pytestmark = pytest.mark.property

frame = st.lists(st.integers(-32_768, 32_767), min_size=16, max_size=16)


def level(samples: list[int]) -> float:
    """Mean power in dB of full scale."""
    power = sum(sample * sample for sample in samples) / len(samples) / 32_768**2
    return max(10 * math.log10(power), SILENCE_DB) if power else SILENCE_DB


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(frame, st.just([0] * 16), st.just([-32_768] * 16)), min_size=1, max_size=6))
def test_levels(frames: list[list[int]]):
    found = levels_dbfs(np.array(frames, np.int16))
    assert found.tolist() == pytest.approx([level(samples) for samples in frames], abs=1e-9)
