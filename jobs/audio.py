"""Recording files: is a WAV whole, and make FLAC and Opus of it that are checked against it.

Reads and writes in blocks, so a four-hour call costs no more memory than a short one. Writes only the paths it is
given. Sources: RIFF WAVE (chunks of id, size, data padded to even), libsndfile through soundfile.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import soundfile as sf

from shared.errors import FarmError

Format = Literal["flac", "opus"]

_BLOCK_FRAMES = 65_536
_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_OPUS_SLACK_S = 0.1
"""An Opus stream may gain or lose its pre-skip and the rest of its last frame (RFC 7845 section 4)."""


class RecordingUnfit(FarmError):
    """A recording that cannot be finalised as it is: absent, cut short, or not what it says."""


@dataclass(frozen=True, slots=True)
class WavFacts:
    """What a whole WAV holds."""

    rate_hz: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz


@dataclass(frozen=True, slots=True)
class AudioFile:
    """One file of a manifest."""

    name: str
    format: str
    bytes: int
    seconds: float
    sha256: str


def inspect_wav(path: str) -> WavFacts:
    """The facts of a WAV whose header and data agree. Raises RecordingUnfit, saying why."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            promised = _data_end(file)
    except OSError as error:
        raise RecordingUnfit(f"{path}: {error.strerror}") from error
    if promised > size:
        raise RecordingUnfit(f"{path}: {promised - size} bytes short of what its header says")
    try:
        info = sf.info(path)
    except sf.LibsndfileError as error:
        raise RecordingUnfit(f"{path}: {error}") from error
    if info.subtype != "PCM_16":
        raise RecordingUnfit(f"{path}: {info.subtype}, not 16-bit PCM")
    return WavFacts(info.samplerate, info.channels, info.frames)


def encode(wav_path: str, target: str, fmt: Format) -> None:
    """Writes `target` from the WAV. Raises RecordingUnfit when the encoder fails."""
    container, subtype = ("FLAC", "PCM_16") if fmt == "flac" else ("OGG", "OPUS")
    try:
        with (
            sf.SoundFile(wav_path) as source,
            sf.SoundFile(target, "w", source.samplerate, source.channels, subtype, format=container) as sink,
        ):
            for block in source.blocks(_BLOCK_FRAMES, dtype="int16"):
                sink.write(block)
    except sf.LibsndfileError as error:
        raise RecordingUnfit(f"{target}: {error}") from error


def verify(wav_path: str, target: str, fmt: Format) -> float:
    """Seconds of `target` once it is known to carry the WAV: FLAC sample by sample, Opus in shape and length.

    Raises RecordingUnfit when it does not.
    """
    try:
        with sf.SoundFile(wav_path) as source, sf.SoundFile(target) as made:
            seconds = float(made.frames / made.samplerate)
            if made.channels != source.channels:
                raise RecordingUnfit(f"{target}: {made.channels} channels instead of {source.channels}")
            if fmt == "flac":
                _same_samples(source, made, target)
            elif abs(seconds - source.frames / source.samplerate) > _OPUS_SLACK_S:
                raise RecordingUnfit(
                    f"{target}: {seconds:.3f} s instead of {source.frames / source.samplerate:.3f}"
                )
    except sf.LibsndfileError as error:
        raise RecordingUnfit(f"{target}: {error}") from error
    return seconds


def describe_file(path: str, fmt: str, seconds: float) -> AudioFile:
    """A file as the manifest lists it."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return AudioFile(os.path.basename(path), fmt, os.path.getsize(path), round(seconds, 3), digest)


def _same_samples(source: sf.SoundFile, made: sf.SoundFile, target: str) -> None:
    if made.samplerate != source.samplerate:
        raise RecordingUnfit(f"{target}: {made.samplerate} Hz instead of {source.samplerate}")
    for block in source.blocks(_BLOCK_FRAMES, dtype="int16"):
        if not np.array_equal(block, made.read(len(block), dtype="int16")):
            raise RecordingUnfit(f"{target}: differs from the WAV")
    if len(made.read(1)):
        raise RecordingUnfit(f"{target}: longer than the WAV")


def _data_end(file: BinaryIO) -> int:
    """Where the data chunk says it ends."""
    head = file.read(_RIFF.size)
    if len(head) < _RIFF.size or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise RecordingUnfit(f"{file.name}: not a RIFF WAVE file")
    while True:
        raw = file.read(_CHUNK.size)
        if len(raw) < _CHUNK.size:
            raise RecordingUnfit(f"{file.name}: no data chunk")
        name, length = _CHUNK.unpack(raw)
        if name == b"data":
            return file.tell() + int(length)
        file.seek(length + length % 2, os.SEEK_CUR)
