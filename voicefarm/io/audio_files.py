"""Reads and writes the caller's audio files; everything inside is int16 at 8 kHz."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from shared.errors import ConfigError
from shared.units import NARROWBAND_HZ
from voicefarm.core.rtp_stream import Samples


def read_mono(path: Path) -> Samples:
    """A file of any rate and channel count that libsndfile knows. Raises ConfigError."""
    try:
        pcm, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise ConfigError(str(path), f"cannot be read as audio: {error}") from error
    mono = pcm[:, 0] if pcm.shape[1] == 1 else pcm.mean(axis=1).astype(np.int16)
    if rate_hz != NARROWBAND_HZ:
        mono = soxr.resample(mono, rate_hz, NARROWBAND_HZ)
    return np.ascontiguousarray(mono, np.int16)


def read_stereo(path: Path) -> tuple[Samples, int]:
    """[S, 2] of a recording, and its rate. Raises ConfigError."""
    try:
        pcm, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise ConfigError(str(path), f"cannot be read as audio: {error}") from error
    return pcm, int(rate_hz)


def write_wav(path: Path, pcm: Samples, rate_hz: int = NARROWBAND_HZ) -> None:
    """[S] or [S, 2] as a 16-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, pcm, rate_hz, subtype="PCM_16", format="WAV")
