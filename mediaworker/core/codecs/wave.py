"""Concealment for codecs that have none of their own (G.722, L16): the last pitch periods go on and fade.

After the method of ITU-T G.711 appendix I: the pitch is where the last 10 ms resemble the past most; the last period is
repeated with its two ends blended into each other, two periods once the hole has lasted 10 ms, so that it does not
sound like a buzzer; sound fades from 10 to 60 ms. What comes after the hole is blended in over 4 ms. Must not know packets.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples

Floats = npt.NDArray[np.float32]

SHORTEST_S: Final = 0.0025
LONGEST_S: Final = 0.015
"""Pitch periods between these: 66 to 400 Hz."""
TEMPLATE_S: Final = 0.01
BLEND_S: Final = 0.004
STEADY_S: Final = 0.01
FADED_S: Final = 0.06


class WaveConcealer:
    """The recent past of one stream and what is made up from it."""

    def __init__(self, rate_hz: int) -> None:
        self._shortest = int(SHORTEST_S * rate_hz)
        self._longest = int(LONGEST_S * rate_hz)
        self._template = int(TEMPLATE_S * rate_hz)
        self._blend = int(BLEND_S * rate_hz)
        self._steady = int(STEADY_S * rate_hz)
        self._faded = int(FADED_S * rate_hz)
        self._past: Samples = np.zeros(2 * self._longest + self._template + self._blend, np.int16)
        self._period: Floats = np.zeros(0, np.float32)
        self._two: Floats = np.zeros(0, np.float32)
        self._made = 0
        """Samples made up since the last good one."""

    def good(self, pcm: Samples) -> Samples:
        """Takes what was decoded; gives it with its beginning blended when it ends a hole."""
        if self._made and len(pcm):
            blend = min(self._blend, len(pcm))
            rise = (np.arange(1, blend + 1) / (blend + 1)).astype(np.float32)
            going_on = self._wave(blend)
            pcm = pcm.copy()
            pcm[:blend] = going_on * (1 - rise) + pcm[:blend] * rise
            self._made = 0
        self._remember(pcm)
        return pcm

    def conceal(self, samples: int) -> Samples:
        if not self._made:
            self._find_period()
        wave = self._wave(samples)
        self._made += samples
        return wave.astype(np.int16)

    def _remember(self, pcm: Samples) -> None:
        size = len(self._past)
        self._past = pcm[-size:].copy() if len(pcm) >= size else np.concatenate([self._past[len(pcm) :], pcm])

    def _find_period(self) -> None:
        past = self._past.astype(np.float32)
        template = past[-self._template :]
        # Windows that end `lag` samples before the end, for the lags from longest to shortest.
        first = len(past) - self._template - self._longest
        search = past[first : len(past) - self._shortest]
        match = np.correlate(search, template, "valid")
        power = np.cumsum(np.concatenate([[0], search.astype(np.float64) ** 2]))
        energy = power[self._template :] - power[: -self._template]
        score = np.where(match > 0, match.astype(np.float64) ** 2 / (energy + 1), -1.0)
        lag = self._longest - int(np.argmax(score))
        self._period = self._ring(past, lag)
        self._two = self._ring(past, 2 * lag)

    def _ring(self, past: Floats, size: int) -> Floats:
        """The last `size` samples, their end blended into what came before their beginning: they can be repeated."""
        ring = past[-size:].copy()
        blend = min(self._blend, size // 2)
        rise = (np.arange(1, blend + 1) / (blend + 1)).astype(np.float32)
        before = past[-size - blend : -size]
        ring[-blend:] = ring[-blend:] * (1 - rise) + before * rise
        return ring

    def _wave(self, samples: int) -> Floats:
        at = self._made + np.arange(samples)
        one = np.take(self._period, at, mode="wrap")
        two = np.take(self._two, at, mode="wrap")
        gain = np.clip((self._faded - at) / (self._faded - self._steady), 0.0, 1.0).astype(np.float32)
        wave: Floats = np.where(at < self._steady, one, two) * gain
        return wave
