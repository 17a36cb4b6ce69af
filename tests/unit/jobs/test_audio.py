"""Whole WAVs are told from broken ones, and what is made of them is checked."""

import hashlib
import struct

import numpy as np
import pytest
import soundfile as sf

from jobs.audio import RecordingUnfit, describe_file, encode, inspect_wav, verify
from tests.support.finished_calls import stereo_wav

pytestmark = pytest.mark.unit


def test_inspect_wav_gives_the_facts_when_it_is_whole(tmp_path):
    stereo_wav(tmp_path / "a.wav", 1.5)

    facts = inspect_wav(str(tmp_path / "a.wav"))

    assert (facts.rate_hz, facts.channels, facts.frames, facts.seconds) == (8_000, 2, 12_000, 1.5)


def test_inspect_wav_skips_chunks_that_stand_before_the_data(tmp_path):
    path = tmp_path / "a.wav"
    stereo_wav(path, 0.1)
    raw = path.read_bytes()
    body = raw[12:36] + b"LIST" + struct.pack("<I", 5) + b"INFOx\0" + raw[36:]
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)

    assert inspect_wav(str(path)).frames == 800


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent", None, "No such file"),
        ("empty", b"", "not a RIFF WAVE"),
        ("text", b"not audio at all, only text", "not a RIFF WAVE"),
        ("headless", b"RIFF\x04\x00\x00\x00WAVE", "no data chunk"),
    ],
)
def test_inspect_wav_refuses_what_is_no_recording(tmp_path, name, content, says):
    path = tmp_path / f"{name}.wav"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RecordingUnfit, match=says):
        inspect_wav(str(path))


def test_inspect_wav_says_how_much_is_missing_when_the_file_is_cut(tmp_path):
    path = tmp_path / "a.wav"
    stereo_wav(path, 1.0)
    path.write_bytes(path.read_bytes()[:-1_000])

    with pytest.raises(RecordingUnfit, match="1000 bytes short"):
        inspect_wav(str(path))


def test_inspect_wav_refuses_other_sample_formats(tmp_path):
    sf.write(str(tmp_path / "a.wav"), np.zeros(80), 8_000, subtype="FLOAT")

    with pytest.raises(RecordingUnfit, match="not 16-bit PCM"):
        inspect_wav(str(tmp_path / "a.wav"))


def test_flac_carries_every_sample(tmp_path):
    samples = stereo_wav(tmp_path / "a.wav", 2.0)
    target = str(tmp_path / "a.flac")

    encode(str(tmp_path / "a.wav"), target, "flac")

    assert verify(str(tmp_path / "a.wav"), target, "flac") == 2.0
    assert np.array_equal(sf.read(target, dtype="int16")[0], samples)


def test_opus_carries_both_tones_on_their_own_sides(tmp_path):
    stereo_wav(tmp_path / "a.wav", 2.0)
    target = str(tmp_path / "a.opus")

    encode(str(tmp_path / "a.wav"), target, "opus")

    assert abs(verify(str(tmp_path / "a.wav"), target, "opus") - 2.0) <= 0.1
    sound, rate = sf.read(target)
    peaks = [np.argmax(np.abs(np.fft.rfft(sound[:, side]))) * rate / len(sound) for side in (0, 1)]
    assert peaks == pytest.approx([440, 660], abs=2)


@pytest.mark.parametrize(
    ("make", "fmt", "says"),
    [
        (lambda x: x[:-1], "flac", "differs"),
        (lambda x: np.vstack([x, x[:1]]), "flac", "longer"),
        (lambda x: x[:, :1], "flac", "1 channels instead of 2"),
        (lambda x: np.where(np.arange(len(x))[:, None] == 70, x + 1, x), "flac", "differs"),
        (lambda x: x[: len(x) // 2], "opus", "instead of 1.000"),
    ],
)
def test_verify_refuses_what_is_not_the_recording(tmp_path, make, fmt, says):
    samples = stereo_wav(tmp_path / "a.wav", 1.0)
    target = str(tmp_path / f"a.{fmt}")
    container = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}[fmt]
    sf.write(target, make(samples).astype(np.int16), 8_000, format=container[0], subtype=container[1])

    with pytest.raises(RecordingUnfit, match=says):
        verify(str(tmp_path / "a.wav"), target, fmt)


def test_verify_refuses_another_rate_and_what_is_no_audio(tmp_path):
    samples = stereo_wav(tmp_path / "a.wav", 1.0)
    sf.write(str(tmp_path / "a.flac"), samples, 16_000)
    (tmp_path / "b.flac").write_bytes(b"no audio")

    with pytest.raises(RecordingUnfit, match="16000 Hz"):
        verify(str(tmp_path / "a.wav"), str(tmp_path / "a.flac"), "flac")
    with pytest.raises(RecordingUnfit, match=r"b\.flac"):
        verify(str(tmp_path / "a.wav"), str(tmp_path / "b.flac"), "flac")


def test_encode_says_so_when_the_target_cannot_be_written(tmp_path):
    stereo_wav(tmp_path / "a.wav", 0.1)

    with pytest.raises(RecordingUnfit, match="nowhere"):
        encode(str(tmp_path / "a.wav"), str(tmp_path / "nowhere" / "a.flac"), "flac")


def test_describe_file_names_size_and_digest(tmp_path):
    (tmp_path / "x.flac").write_bytes(b"abc")

    made = describe_file(str(tmp_path / "x.flac"), "flac", 1.23456)

    assert (made.name, made.bytes, made.seconds) == ("x.flac", 3, 1.235)
    assert made.sha256 == hashlib.sha256(b"abc").hexdigest()
