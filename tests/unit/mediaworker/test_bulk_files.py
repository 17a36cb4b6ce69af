"""A second of many recordings in one call is what file by file would have written."""

import os
from pathlib import Path

import numpy as np
import pytest

from mediaworker.io.bulk_files import BulkFiles, bulk_files
from mediaworker.io.wav import HEADER_BYTES, WavFile

pytestmark = pytest.mark.unit


@pytest.fixture
def bulk() -> BulkFiles:
    found = bulk_files()
    if found is None:
        pytest.skip("mediaworker/io/datagrams.c was not compiled")
    return found


def frames(rows: int, rounds: int, size: int = 160) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(-9_000, 9_000, (rows, size, 2)).astype(np.int16) for _ in range(rounds)]


def wav(path: Path) -> WavFile:
    made = WavFile(str(path))
    made.rate_hz = 8_000
    return made


@pytest.mark.parametrize("rounds", [1, 50, 64])
def test_files_are_as_if_written_one_by_one(bulk: BulkFiles, tmp_path: Path, rounds: int) -> None:
    """Some rows only, in any order, each file at a place of its own, one after a hole, one into what is there."""
    sound = frames(5, rounds)
    index, places = [3, 0, 4], [0, 800, 40]
    together = [wav(tmp_path / f"a{n}") for n in range(3)]
    alone = [wav(tmp_path / f"b{n}") for n in range(3)]
    for files in (together, alone):
        files[2].write(0, bytes(range(200)) * 20)
    assert bulk.write(together, places, index, sound).all()
    for file, place, row in zip(alone, places, index, strict=True):
        assert file.write(place, np.stack([frame[row] for frame in sound]).tobytes())
    for file in (*together, *alone):
        file.close()
    for n in range(3):
        assert (tmp_path / f"a{n}").read_bytes() == (tmp_path / f"b{n}").read_bytes()


def test_a_header_never_claims_less_than_before(bulk: BulkFiles, tmp_path: Path) -> None:
    file = wav(tmp_path / "a")
    bulk.write([file], [1_600], [0], frames(1, 2))
    claimed = (tmp_path / "a").read_bytes()[:HEADER_BYTES]
    bulk.write([file], [0], [0], frames(1, 2))
    assert (tmp_path / "a").read_bytes()[:HEADER_BYTES] == claimed
    file.close()


def test_a_file_that_cannot_be_written_is_told_and_the_others_are_whole(
    bulk: BulkFiles, tmp_path: Path
) -> None:
    good, bad = wav(tmp_path / "a"), wav(tmp_path / "b")
    before = bad.header()
    readable = os.open(tmp_path / "b", os.O_RDONLY)
    os.dup2(readable, bad.fd)
    os.close(readable)
    took = bulk.write([bad, good], [0, 0], [0, 1], frames(2, 3))
    assert took.tolist() == [False, True]
    assert bad.header() == before
    bad.close()
    good.close()
    assert len((tmp_path / "a").read_bytes()) == HEADER_BYTES + 3 * 640
    assert len((tmp_path / "b").read_bytes()) == HEADER_BYTES


def test_more_frames_than_a_call_takes_are_refused_and_nothing_is_written(
    bulk: BulkFiles, tmp_path: Path
) -> None:
    file = wav(tmp_path / "a")
    assert not bulk.write([file], [0], [0], frames(1, 65)).any()
    file.close()
    assert len((tmp_path / "a").read_bytes()) == HEADER_BYTES
