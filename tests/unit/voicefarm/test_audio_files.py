"""Audio files of the caller: any rate and channel count in, 8 kHz int16 out, and clear errors."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.errors import ConfigError
from voicefarm.io.audio_files import read_mono, read_stereo, write_wav

pytestmark = pytest.mark.unit


def tone(rate_hz: int, hz: float = 440.0, seconds: float = 0.5) -> np.ndarray:
    return (8_000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def strongest_hz(pcm: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(pcm.astype(float)))) * 8_000 / len(pcm))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count_becomes_narrowband_mono(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.repeat(tone(rate_hz)[:, None], channels, axis=1), rate_hz)
    pcm = read_mono(path)
    assert pcm.dtype == np.int16
    assert pcm.flags.c_contiguous
    assert pcm.shape == (4_000,)
    assert strongest_hz(pcm) == pytest.approx(440, abs=2)


def test_sides_that_cancel_out_are_silence_and_do_not_overflow(tmp_path: Path) -> None:
    loud = np.full(800, 32_767, np.int16)
    soundfile.write(tmp_path / "a.wav", np.column_stack([loud, -loud]), 8_000)
    assert not read_mono(tmp_path / "a.wav").any()
    soundfile.write(tmp_path / "b.wav", np.column_stack([loud, loud]), 8_000)
    assert (read_mono(tmp_path / "b.wav") == 32_767).all()


def test_flac_is_read_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.flac", tone(8_000), 8_000)
    assert np.array_equal(read_mono(tmp_path / "in.flac"), tone(8_000))


@pytest.mark.parametrize("shape", [(800,), (800, 2)])
def test_written_is_what_is_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "new" / "folder" / "out.wav"
    pcm = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    write_wav(path, pcm, 16_000)
    found, rate_hz = read_stereo(path)
    assert rate_hz == 16_000
    assert np.array_equal(found.reshape(shape), pcm)


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"no audio at all"])
@pytest.mark.parametrize("read", [read_mono, read_stereo])
def test_what_is_no_audio_is_an_error_that_names_the_file(
    tmp_path: Path, content: bytes | None, read: object
) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as audio") as caught:
        read(path)  # type: ignore[operator]
    assert caught.value.key == str(path)
