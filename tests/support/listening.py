"""Sounds to send through codecs, and what can be said of those that come out."""

import numpy as np

from mediaworker.core.legs import Samples


def tones(rate_hz: int, seconds: float, *hz: float, level: int = 8_000) -> Samples:
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    wave = sum(np.sin(2 * np.pi * each * time) for each in hz)
    return (level * np.asarray(wave) / max(1, len(hz))).astype(np.int16)


def voice(rate_hz: int, seconds: float, *, seed: int = 1) -> Samples:
    """Something like speech: syllables of a gliding voice, hissing sounds between, pauses."""
    random = np.random.default_rng(seed)
    count = int(rate_hz * seconds)
    time = np.arange(count) / rate_hz
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    harmonics = range(1, int(0.45 * rate_hz / 150))
    voiced = np.sum([np.sin(number * phase) / number**0.8 for number in harmonics], axis=0)
    hiss = np.diff(random.normal(0, 1, count + 1))
    syllable = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1)
    fricative = np.clip(-np.sin(2 * np.pi * 2.5 * time) - 0.6, 0, 1)
    wave = 2_500 * voiced * syllable + 2_500 * hiss * fricative + random.normal(0, 4, count)
    return np.clip(wave, -30_000, 30_000).astype(np.int16)


def level_db(wave: Samples) -> float:
    """Below full scale."""
    power = np.mean(wave.astype(np.float64) ** 2) if len(wave) else 0.0
    return float(10 * np.log10(power / 32_768**2 + 1e-12))


def share_above(wave: Samples, rate_hz: int, hz: float) -> float:
    """Of the power, 0 to 1."""
    spectrum = np.abs(np.fft.rfft(wave.astype(np.float64) * np.hanning(len(wave)))) ** 2
    edge = int(hz * len(wave) / rate_hz)
    return float(spectrum[edge:].sum() / (spectrum.sum() + 1e-9))


def loudest(wave: Samples, rate_hz: int) -> float:
    """Frequency of the strongest component."""
    spectrum = np.abs(np.fft.rfft(wave.astype(np.float64) * np.hanning(len(wave))))
    return float(np.argmax(spectrum) * rate_hz / len(wave))


def purity_db(wave: Samples, rate_hz: int, hz: float) -> float:
    """Power of the tone of `hz` against everything else that is heard."""
    phase = 2 * np.pi * hz * np.arange(len(wave)) / rate_hz
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, wave.astype(np.float64), rcond=None)
    tone = basis @ weights
    rest = wave - tone
    return float(10 * np.log10(np.dot(tone, tone) / (np.dot(rest, rest) + 1e-9)))
