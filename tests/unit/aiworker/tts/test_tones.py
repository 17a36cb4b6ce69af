"""Tones for words: exact frequency, exact length, no clicks, and words that it does not know."""

from itertools import pairwise

import numpy as np
import pytest

from aiworker.tts.port import Sentence
from aiworker.tts.tones import BEEP_HZ, BEEP_S, WORD_S, WORDS_HZ, TonesEngine, tone

pytestmark = pytest.mark.unit


async def spoken(text: str, rate_hz: int = 8_000) -> list[np.ndarray]:
    return [chunk async for chunk in TonesEngine().synthesise(Sentence(text, rate_hz=rate_hz))]


def strongest_hz(audio: np.ndarray, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(audio.astype(float)))) * rate_hz / audio.size)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
@pytest.mark.parametrize("word", WORDS_HZ)
async def test_word_has_its_frequency_at_every_rate(word: str, rate_hz: int) -> None:
    [audio] = await spoken(word, rate_hz)
    assert audio.size == WORD_S * rate_hz
    assert strongest_hz(audio, rate_hz) == pytest.approx(WORDS_HZ[word], abs=2)


async def test_unknown_words_are_beeps_and_signs_are_silent() -> None:
    chunks = await spoken("Hello, stranger! -- It's 'fine'.")
    assert [chunk.size for chunk in chunks] == [4_000, *[int(BEEP_S * 8_000)] * 3]
    assert strongest_hz(chunks[1], 8_000) == pytest.approx(BEEP_HZ, abs=13)
    assert await spoken("?! ...") == []


def test_frequencies_are_apart_and_below_half_the_rate() -> None:
    found = sorted([*WORDS_HZ.values(), BEEP_HZ])
    assert found[-1] < 4_000
    assert min(b - a for a, b in pairwise(found)) >= 100


@pytest.mark.parametrize("frequency", [420, 2_920])
def test_tone_begins_and_ends_in_silence_and_never_clips(frequency: int) -> None:
    audio = tone(frequency, 0.5, 8_000).astype(int)
    assert abs(audio[0]) < 50
    assert abs(audio[-1]) < 50
    assert 10_000 < np.abs(audio).max() <= 11_000


async def test_engine_needs_no_loading_and_can_be_closed() -> None:
    engine = TonesEngine()
    await engine.load()
    await engine.close()
    assert (engine.name, engine.parallel) == ("tones", 8)
