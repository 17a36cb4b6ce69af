"""A call's audio at one rate, whatever its parts come at."""

import numpy as np
import pytest

from mediaworker.core.calls.rates import RATES_HZ, AtRate, as_narrow

pytestmark = pytest.mark.unit


def tone(hz: float, rate_hz: int, ms: int = 400) -> np.ndarray:
    at = np.arange(rate_hz * ms // 1_000) / rate_hz
    return (8_000 * np.sin(2 * np.pi * hz * at)).astype(np.int16)


def strongest_hz(pcm: np.ndarray, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate_hz / len(pcm))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_audio_at_its_own_rate_is_handed_through(rate_hz: int) -> None:
    pcm = tone(700, rate_hz)
    assert AtRate(rate_hz).feed(pcm, rate_hz) is pcm


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8_000, 16_000), (16_000, 8_000)])
def test_tone_keeps_its_pitch_and_every_frame_its_length(from_hz: int, to_hz: int) -> None:
    stream, pcm = AtRate(to_hz), tone(700, from_hz)
    size = from_hz // 50
    parts = [stream.feed(pcm[at : at + size], from_hz) for at in range(0, len(pcm), size)]
    assert {len(part) for part in parts} == {to_hz // 50}
    made = np.concatenate(parts)[to_hz // 50 :]
    assert strongest_hz(made, to_hz) == pytest.approx(700, abs=5)
    assert np.abs(made).max() == pytest.approx(8_000, rel=0.03)


def test_stream_that_changes_its_rate_and_changes_back_stays_at_one() -> None:
    stream = AtRate(16_000)
    parts = [stream.feed(tone(700, hz, 100), hz) for hz in (16_000, 8_000, 16_000, 8_000)]
    assert [len(part) for part in parts] == [1_600] * 4
    assert all(strongest_hz(part, 16_000) == pytest.approx(700, abs=20) for part in parts)


def test_samples_are_counted_at_8_khz() -> None:
    assert as_narrow(321, 8_000) == 321
    assert as_narrow(640, 16_000) == 320
