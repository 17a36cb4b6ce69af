"""What messages ask to have played: taken where it makes sense, refused in words where it does not."""

from typing import Any

import numpy as np
import pytest

from mediaworker.core.playing.media_asked import LOOPS_MAX, PCM_MAX_S, file_path, source_of
from mediaworker.core.playing.media_source import Source
from shared.contracts import MediaSource, ToneStep
from shared.errors import Refused

pytestmark = pytest.mark.unit


def drain(source: Source) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    parts = []
    while not source.ended:
        parts.append(source.read(333))
    return np.concatenate(parts)


def test_sources_asked_for_are_what_they_say():
    assert len(drain(source_of(MediaSource(kind="silence", ms=20), 3, 8_000))) == 480
    assert len(source_of(MediaSource(kind="silence", ms=20), 0, 8_000).read(100_000)) == 100_000
    pcm = np.arange(100).astype("<i2").tobytes()
    same = source_of(MediaSource(kind="pcm", pcm=pcm), 1, 8_000)
    assert drain(same).tolist() == list(range(100))
    assert len(drain(source_of(MediaSource(kind="pcm", pcm=pcm), 1, 16_000))) == 200
    assert len(drain(source_of(MediaSource(kind="pcm", pcm=pcm, rate_hz=16_000), 2, 8_000))) == 100


@pytest.mark.parametrize(
    ("path", "found"), [("a.wav", "a.wav"), ("a/./b.wav", "a/b.wav"), ("..a/b", "..a/b")]
)
def test_paths_below_the_directory_are_taken(path: str, found: str):
    assert file_path(MediaSource(kind="file", path=path)) == found


def test_only_files_have_paths():
    assert file_path(MediaSource(kind="tone", path="../x")) == ""
    with pytest.raises(Refused):
        file_path(MediaSource(kind="file", path="../x"))


def step(**fields: Any) -> ToneStep:
    return ToneStep(**({"ms": 100, "frequencies_hz": [440.0], "level_dbm0": -10.0} | fields))


NONSENSE: dict[str, dict[str, Any]] = {
    "no silence": {"kind": "silence", "ms": 0},
    "silence without end": {"kind": "silence", "ms": 86_400_001},
    "no tone": {"kind": "tone"},
    "65 tones": {"kind": "tone", "steps": [step()] * 65},
    "a click": {"kind": "tone", "steps": [step(ms=9)]},
    "a chord of nine": {"kind": "tone", "steps": [step(frequencies_hz=[440.0] * 9)]},
    "a tone nobody can carry": {"kind": "tone", "steps": [step(frequencies_hz=[4_000.0])]},
    "a tone below nought": {"kind": "tone", "steps": [step(frequencies_hz=[-1.0])]},
    "too loud": {"kind": "tone", "steps": [step(level_dbm0=3.2)]},
    "no level": {"kind": "tone", "steps": [step(level_dbm0=float("nan"))]},
    "no sound": {"kind": "pcm", "pcm": b""},
    "half a sample": {"kind": "pcm", "pcm": b"123"},
    "a rate of others": {"kind": "pcm", "pcm": b"1234", "rate_hz": 48_000},
    "too much": {"kind": "pcm", "pcm": bytes(2 * PCM_MAX_S * 8_000 + 2)},
}


@pytest.mark.parametrize("fields", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused(fields: dict[str, Any]):
    with pytest.raises(Refused, match="bad_request"):
        source_of(MediaSource(**fields), 1, 8_000)


def test_what_is_just_possible_is_taken():
    assert len(drain(source_of(MediaSource(kind="tone", steps=[step(ms=10)] * 64), 1, 8_000))) == 64 * 80
    assert (
        len(drain(source_of(MediaSource(kind="pcm", pcm=bytes(2 * PCM_MAX_S * 8_000)), 1, 8_000))) == 160_000
    )
    high = MediaSource(kind="tone", steps=[step(frequencies_hz=[4_000.0])])
    assert len(drain(source_of(high, 1, 16_000))) == 1_600


@pytest.mark.parametrize("loops", [-1, LOOPS_MAX + 1])
def test_rounds_are_counted_from_nought_to_a_million(loops: int):
    with pytest.raises(Refused, match="bad_request"):
        source_of(MediaSource(kind="silence", ms=20), loops, 8_000)
    with pytest.raises(Refused, match="bad_request"):
        file_path(MediaSource(kind="file", path="a.wav"), loops)
