"""Speaks the tone language: each known word a tone of half a second, others a short beep. For tests and load.

A listener that counts zero crossings or looks at a spectrum knows which words were said, on the wire, without a model.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from functools import lru_cache

import numpy as np

from aiworker.core.frames import Samples
from aiworker.tts.port import Sentence

WORDS_HZ = {
    "hello": 420, "yes": 560, "no": 740, "help": 940, "billing": 1160, "agent": 1420, "weather": 1720, "stop": 2060,
    "please": 2460, "thanks": 2920,
}  # fmt: skip
WORD_S = 0.5
BEEP_HZ, BEEP_S = 3_300, 0.08
_AMPLITUDE = 11_000
_FADE_S = 0.005


class TonesEngine:
    """Needs nothing and costs next to nothing."""

    name = "tones"
    parallel = 8

    async def load(self) -> None:
        """Nothing to load."""

    async def synthesise(self, sentence: Sentence) -> AsyncGenerator[Samples, None]:
        for word in re.findall(r"[\w']+", sentence.text.lower()):
            frequency = WORDS_HZ.get(word)
            seconds = BEEP_S if frequency is None else WORD_S
            yield tone(frequency or BEEP_HZ, seconds, sentence.rate_hz)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Nothing is held."""


@lru_cache(maxsize=64)
def tone(frequency_hz: int, seconds: float, rate_hz: int) -> Samples:
    """A sine with short fades, so that it neither clicks nor spreads over the spectrum."""
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    fade = np.minimum(1.0, np.minimum(at, at[::-1]) / _FADE_S)
    return (np.sin(2 * np.pi * frequency_hz * at) * fade * _AMPLITUDE).astype(np.int16)
