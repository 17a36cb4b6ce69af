import numpy as np
import pytest

from aiworker.stt.audio import as_float, at_rate
from aiworker.stt.port import Utterance

pytestmark = pytest.mark.unit


def test_samples_at_the_right_rate_are_left_alone() -> None:
    samples = np.arange(100, dtype=np.int16)
    assert at_rate(Utterance(samples, 16_000), 16_000) is samples


def test_a_tone_keeps_its_frequency_and_length() -> None:
    tone = (8_000 * np.sin(np.arange(8_000) * 2 * np.pi * 1_000 / 8_000)).astype(np.int16)
    converted = at_rate(Utterance(tone, 8_000), 16_000)
    assert converted.dtype == np.int16
    assert len(converted) == 16_000
    assert np.argmax(np.abs(np.fft.rfft(converted))) == 1_000


def test_no_samples_stay_none() -> None:
    assert len(at_rate(Utterance(np.zeros(0, np.int16), 8_000), 16_000)) == 0


def test_full_scale_is_one() -> None:
    assert as_float(np.array([-32_768, 0, 16_384], np.int16)).tolist() == [-1.0, 0.0, 0.5]


def test_seconds_of_an_utterance_follow_its_rate() -> None:
    assert Utterance(np.zeros(4_000, np.int16), 8_000).seconds == 0.5
