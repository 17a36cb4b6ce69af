"""Frames of a sentence's audio, and its loudness."""

import numpy as np
import pytest

from aiworker.core.frames import PEAK, Framer, Limiter

pytestmark = pytest.mark.unit


def frames(*chunks: int, rate_hz: int = 8_000) -> list[tuple[int, int, bool]]:
    """(offset, samples, last) of audio that came in chunks of so many samples."""
    framer = Framer(rate_hz)
    out = [frame for chunk in chunks for frame in framer.feed(np.ones(chunk, np.int16))]
    out += framer.finish()
    return [(offset, len(pcm) // 2, last) for offset, pcm, last in out]


def test_first_frame_goes_as_soon_as_there_are_20_ms() -> None:
    assert frames(161) == [(0, 160, False), (160, 1, True)]
    assert frames(100, 100) == [(0, 160, False), (160, 40, True)]


def test_later_frames_gather_100_to_200_ms() -> None:
    assert frames(200, 300, 400, 900) == [(0, 160, False), (160, 1_600, False), (1_760, 40, True)]
    assert frames(200, 900) == [(0, 160, False), (160, 800, False), (960, 140, True)]
    assert [count for _, count, _ in frames(10_000)] == [1_600] * 6 + [400]


def test_sentence_without_audio_still_ends() -> None:
    assert frames() == [(0, 0, True)]


def test_frame_is_20_ms_at_other_rates() -> None:
    assert frames(400, rate_hz=16_000)[0] == (0, 320, False)


def test_last_frame_is_never_too_long() -> None:
    framer = Framer()
    held = list(framer.feed(np.ones(1_601, np.int16))) + list(framer.finish())
    assert [len(pcm) // 2 for _, pcm, _ in held] == [1_600, 1]
    assert framer.samples == 1_601


def test_loud_speech_is_turned_down_and_stays_down() -> None:
    limiter = Limiter()
    quiet = np.full(10, 5_000, np.int16)
    assert limiter.apply(quiet) is quiet
    assert np.abs(limiter.apply(np.array([-32_768, 32_767], np.int16)).astype(int)).max() <= PEAK
    assert limiter.apply(quiet)[0] < 2_600
    assert limiter.apply(np.zeros(0, np.int16)).size == 0
