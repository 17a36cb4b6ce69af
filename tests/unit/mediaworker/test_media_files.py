"""Files of every kind at every rate, piece by piece, looped without a seam, and nothing from outside the directory."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mediaworker.core.playing.studio import Loaded
from mediaworker.io import media_files
from mediaworker.io.media_files import MediaFiles, _Close, _More, _Open

pytestmark = pytest.mark.unit


def tone(rate_hz: int, seconds: float, hz: float = 440.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (8_000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def hz_of(pcm: np.ndarray[tuple[int], np.dtype[np.int16]], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate_hz / len(pcm))


def read(
    files: MediaFiles, path: str, rate_hz: int = 8_000, loops: int = 1, pieces: int = 100
) -> list[Loaded]:
    """What comes of a file when it is asked for until its end, or so many times."""
    files.act(_Open(1, path, rate_hz, loops))
    got = files.take()
    while not got[-1].last and not got[-1].problem and len(got) < pieces:
        files.act(_More(1))
        got += files.take()
    return got


def whole(loaded: list[Loaded]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.concatenate([piece.pcm for piece in loaded])


@pytest.mark.parametrize(
    ("name", "rate_hz", "options"),
    [
        ("a.wav", 44_100, {}),
        ("a.wav", 8_000, {"subtype": "ULAW"}),
        ("a.flac", 48_000, {}),
        ("a.ogg", 48_000, {"format": "OGG", "subtype": "OPUS"}),
        ("a.ogg", 22_050, {"format": "OGG", "subtype": "VORBIS"}),
        ("a.mp3", 44_100, {"format": "MP3"}),
    ],
)
@pytest.mark.parametrize("wanted_hz", [8_000, 16_000])
@pytest.mark.parametrize("cached_s", [1, 30])
def test_a_file_of_any_kind_sounds_as_it_should(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    rate_hz: int,
    options: dict[str, str],
    wanted_hz: int,
    cached_s: int,
) -> None:
    monkeypatch.setattr(media_files, "CACHED_S", cached_s)
    seconds = 1.5
    soundfile.write(tmp_path / name, tone(rate_hz, seconds), rate_hz, **options)
    loaded = read(MediaFiles(str(tmp_path)), name, wanted_hz)
    assert loaded[0].whole == (seconds < cached_s)
    pcm = whole(loaded)
    # Lossy codecs add their own delay and padding, a frame or two.
    assert abs(len(pcm) - seconds * wanted_hz) <= 0.08 * wanted_hz
    middle = pcm[wanted_hz // 2 : wanted_hz]
    assert abs(hz_of(middle, wanted_hz) - 440) <= 2
    assert 7_000 < np.abs(middle.astype(int)).max() < 9_000


def test_two_channels_are_mixed_down(tmp_path: Path) -> None:
    stereo = np.stack([np.full(800, 1_000), np.full(800, 3_000)], axis=1).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", stereo, 8_000)
    assert set(whole(read(MediaFiles(str(tmp_path)), "a.wav")).tolist()) == {2_000}


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_long_file_is_looped_without_a_seam(tmp_path: Path, kind: str) -> None:
    pcm = np.arange(31 * 8_000).astype(np.int16)
    soundfile.write(tmp_path / f"long.{kind}", pcm, 8_000)
    loaded = read(MediaFiles(str(tmp_path)), f"long.{kind}", loops=3)
    assert np.array_equal(whole(loaded), np.tile(pcm, 3))
    assert all(len(piece.pcm) <= 8_000 for piece in loaded), "a second at a time"


def test_for_ever_is_longer_than_twice(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", tone(8_000, 31), 8_000)
    assert len(whole(read(MediaFiles(str(tmp_path)), "long.wav", loops=0, pieces=70))) >= 68 * 8_000


def test_a_short_file_is_decoded_once_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(80, 5, np.int16), 8_000)
    files = MediaFiles(str(tmp_path))
    first, again = read(files, "a.wav"), read(files, "a.wav")
    assert first[0].pcm is again[0].pcm
    assert read(files, "a.wav", 16_000)[0].pcm is not first[0].pcm
    soundfile.write(path, np.full(90, 6, np.int16), 8_000)
    assert read(files, "a.wav")[0].pcm.tolist() == [6] * 90


def test_the_cache_lets_go_of_what_was_not_heard_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_files, "CACHE_BYTES", 2_000)
    files = MediaFiles(str(tmp_path))
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(400, 1, np.int16), 8_000)
    a, b = read(files, "a.wav")[0].pcm, read(files, "b.wav")[0].pcm
    assert read(files, "a.wav")[0].pcm is a
    read(files, "c.wav")
    assert read(files, "a.wav")[0].pcm is a
    assert read(files, "b.wav")[0].pcm is not b


@pytest.mark.parametrize(
    "path", ["../secret.wav", "link.wav", "sub/../../secret.wav", "sub", "nothing.wav", "pipe", ""]
)
def test_nothing_but_files_below_the_directory_is_opened(tmp_path: Path, path: str) -> None:
    """A pipe would be waited for, for ever."""
    soundfile.write(tmp_path / "secret.wav", tone(8_000, 0.1), 8_000)
    inside = tmp_path / "media"
    (inside / "sub").mkdir(parents=True)
    (inside / "link.wav").symlink_to(tmp_path / "secret.wav")
    os.mkfifo(inside / "pipe")
    loaded = read(MediaFiles(str(inside)), path)
    assert [(piece.problem, len(piece.pcm)) for piece in loaded] == [("not_found", 0)]


def test_an_absolute_path_is_not_below_the_directory(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    soundfile.write(tmp_path / "secret.wav", tone(8_000, 0.1), 8_000)
    loaded = read(MediaFiles(str(tmp_path / "media")), str(tmp_path / "secret.wav"))
    assert loaded[0].problem == "not_found"


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all" * 100, bytes(4_096)])
def test_what_is_no_audio_is_unreadable_and_harms_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    soundfile.write(tmp_path / "b.wav", tone(8_000, 0.1), 8_000)
    files = MediaFiles(str(tmp_path))
    assert read(files, "a.wav")[0].problem == "unreadable"
    assert not read(files, "b.wav")[0].problem


def test_an_empty_recording_is_nothing_at_all_for_ever(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), 8_000)
    assert len(whole(read(MediaFiles(str(tmp_path)), "a.wav", loops=0))) == 0


def test_more_long_files_than_may_be_open_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_files, "STREAMS_MAX", 1)
    soundfile.write(tmp_path / "a.wav", tone(8_000, 31), 8_000)
    files = MediaFiles(str(tmp_path))
    for stream in (1, 2):
        files.act(_Open(stream, "a.wav", 8_000, 1))
    assert {(piece.stream, piece.problem) for piece in files.take()} == {(1, ""), (2, "busy")}
    files.act(_Close(1))
    files.act(_Open(3, "a.wav", 8_000, 1))
    assert {piece.problem for piece in files.take()} == {""}


def test_a_closed_stream_gives_nothing_more(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8_000, 31), 8_000)
    files = MediaFiles(str(tmp_path))
    files.act(_Open(1, "a.wav", 8_000, 1))
    assert len(files.take()) == 2, "two pieces come without being asked for"
    files.act(_Close(1))
    files.act(_Close(1))
    files.act(_More(1))
    assert files.take() == []


def test_the_thread_does_what_it_is_asked_and_ends(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8_000, 31), 8_000)
    files = MediaFiles(str(tmp_path))
    files.open(1, "a.wav", 8_000, 1)
    files.more(1)
    files.close(1)
    files.open(2, "a.wav", 8_000, 1)
    files.start()
    files.shut()
    assert not files._thread.is_alive()
    assert [piece.stream for piece in files.take()] == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24", "PCM_16"])
def test_samples_of_any_kind_are_as_loud_as_they_say(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5, -0.5, 0.25, 0.0]), 8_000, subtype=subtype)
    pcm = whole(read(MediaFiles(str(tmp_path)), "a.wav"))
    assert pcm.tolist() == [16_384, -16_384, 8_192, 0]


def test_what_is_louder_than_full_scale_is_cut_and_what_is_no_number_is_silence(tmp_path: Path) -> None:
    wave = np.array([3.0, -3.0, np.inf, -np.inf, np.nan])
    soundfile.write(tmp_path / "a.wav", wave, 8_000, subtype="FLOAT")
    pcm = whole(read(MediaFiles(str(tmp_path)), "a.wav"))
    assert pcm.tolist() == [32_767, -32_768, 32_767, -32_768, 0]


def test_a_file_without_a_header_does_not_end_the_thread(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1_000))
    assert [piece.problem for piece in read(MediaFiles(str(tmp_path)), "a.raw")] == ["unreadable"]


@pytest.mark.parametrize("rate_hz", [1, 2_000_000_000])
def test_a_rate_that_no_sound_has_is_unreadable(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8_000, 0.5), rate_hz)
    assert [piece.problem for piece in read(MediaFiles(str(tmp_path)), "a.wav")] == ["unreadable"]
