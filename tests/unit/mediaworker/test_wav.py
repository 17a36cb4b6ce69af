"""A WAV file that is playable whenever the process dies, and what it does at its ends."""

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from mediaworker.io.wav import BLOCK_BYTES, HEADER_BYTES, LONGEST_BYTES, WavFile, wav_header

pytestmark = pytest.mark.unit


def samples(path: Path) -> list[int]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)[::2].tolist()


def block(value: int, count: int) -> bytes:
    return np.full((count, 2), value, np.int16).tobytes()


@pytest.mark.parametrize("count", [0, 1, 8_000])
def test_the_header_says_how_much_there_is(count: int) -> None:
    header = wav_header(count * BLOCK_BYTES)
    assert len(header) == HEADER_BYTES
    assert int.from_bytes(header[4:8], "little") == count * BLOCK_BYTES + 36
    assert int.from_bytes(header[40:44], "little") == count * BLOCK_BYTES


def test_a_new_file_is_empty_and_playable(tmp_path: Path) -> None:
    WavFile(str(tmp_path / "a.wav")).close()
    assert samples(tmp_path / "a.wav") == []


def test_what_was_never_written_is_silence_and_takes_no_room(tmp_path: Path) -> None:
    file = WavFile(str(tmp_path / "a.wav"))
    assert file.write(0, block(1, 2))
    assert file.write(10_000_000, block(2, 1))
    file.close()
    heard = samples(tmp_path / "a.wav")
    assert (heard[:3], heard[-2:], len(heard)) == ([1, 1, 0], [0, 2], 10_000_001)
    assert os.stat(tmp_path / "a.wav").st_blocks * 512 < 1_000_000


def test_an_earlier_place_does_not_shorten_the_file(tmp_path: Path) -> None:
    file = WavFile(str(tmp_path / "a.wav"))
    file.write(2, block(2, 1))
    file.write(0, block(1, 1))
    file.close()
    assert samples(tmp_path / "a.wav") == [1, 0, 2]


def test_extending_adds_silence_and_never_cuts(tmp_path: Path) -> None:
    file = WavFile(str(tmp_path / "a.wav"))
    file.write(0, block(1, 3))
    file.extend(5)
    file.extend(2)
    file.close()
    assert samples(tmp_path / "a.wav") == [1, 1, 1, 0, 0]


def test_a_file_ends_where_its_header_can_no_longer_say_how_long_it_is(tmp_path: Path) -> None:
    """Sparse: the file system is asked for one block, not for 4 GB."""
    file = WavFile(str(tmp_path / "a.wav"))
    last = LONGEST_BYTES // BLOCK_BYTES
    assert not file.write(last - 1, block(7, 2))
    assert not file.write(last + 5, block(7, 1))
    file.extend(last + 9)
    file.close()
    with open(tmp_path / "a.wav", "rb") as written:
        header = written.read(HEADER_BYTES)
        written.seek(-BLOCK_BYTES, os.SEEK_END)
        assert np.frombuffer(written.read(), np.int16).tolist() == [7, 7]
    assert int.from_bytes(header[40:44], "little") == LONGEST_BYTES
    assert int.from_bytes(header[4:8], "little") <= 0xFFFF_FFFF
    assert os.stat(tmp_path / "a.wav").st_size == LONGEST_BYTES + HEADER_BYTES


def test_the_rate_of_the_first_samples_is_the_file_s(tmp_path: Path) -> None:
    file = WavFile(str(tmp_path / "a.wav"))
    file.rate_hz = 16_000
    file.write(0, block(1, 1))
    file.close()
    with wave.open(str(tmp_path / "a.wav")) as written:
        assert written.getframerate() == 16_000
