"""Playback by cases: what the drawn sequences of the property test meet only now and then."""

import numpy as np
import pytest

from mediaworker.core.playing.media_source import Pcm, Stream
from mediaworker.core.playing.playback import ITEMS_MAX, STAGE_SAMPLES, Happening, Playback
from shared.errors import Refused

pytestmark = pytest.mark.unit

ONE = np.array([0])


def pcm(value: int, count: int) -> Pcm:
    return Pcm(np.full(count, value, np.int16))


def tick(playback: Playback, size: int = 160) -> list[int]:
    out = np.full((1, size), -1, np.int16)
    if not playback.ready(ONE)[0]:
        return []
    playback.play(ONE, out)
    return out[0].tolist()


def told(playback: Playback) -> list[tuple[int, str, int, int]]:
    return [(e.item, e.what.value, e.samples, e.position) for e in playback.take_events()]


def test_a_beginning_is_told_with_its_first_sample():
    playback = Playback(1)
    playback.add(0, pcm(1, 159), frame=160)
    playback.add(0, pcm(2, 500), frame=160)
    assert tick(playback) == [1] * 159 + [2]
    assert told(playback) == [(1, "started", 0, 0), (1, "finished", 159, 159), (2, "started", 0, 159)]


def test_items_longer_than_the_stage_are_played_whole():
    playback = Playback(1)
    count = 3 * STAGE_SAMPLES + 17
    values = np.arange(count).astype(np.int16)
    playback.add(0, Pcm(values), frame=160)
    heard: list[int] = []
    while playback:
        heard += tick(playback)
    assert heard[:count] == values.tolist()
    assert heard[count:] == [0] * (-count % 160)
    assert playback.position(0) == count


@pytest.mark.parametrize("after", ["pcm", "mark"])
def test_what_follows_an_item_that_filled_the_stage_to_the_last_sample_is_played(after: str):
    """Half a second exactly: the next one begins where there was no place for its first sample."""
    playback = Playback(1)
    playback.add(0, pcm(1, STAGE_SAMPLES), frame=160)
    playback.add(0, pcm(2, 160) if after == "pcm" else None, frame=160)
    playback.add(0, pcm(3, 160), frame=160)
    heard = [sample for _ in range(STAGE_SAMPLES // 160 + 2) for sample in tick(playback)]
    assert heard == [1] * STAGE_SAMPLES + ([2] * 160 if after == "pcm" else []) + [3] * 160
    assert not playback


def test_an_empty_line_has_nothing_to_tell_or_do():
    playback = Playback(2)
    playback.fed(0)
    playback.flush(0)
    playback.clear(1)
    assert (playback.frame(0), playback.current(0), playback.played(0, 1)) == (0, 0, -1)
    assert told(playback) == []
    assert not playback


def test_a_line_is_bounded():
    playback = Playback(1)
    for _ in range(ITEMS_MAX):
        playback.add(0, pcm(1, 10_000), frame=160)
    with pytest.raises(Refused, match="full"):
        playback.add(0, None, frame=160)


def test_a_stream_that_runs_dry_waits_without_counting():
    playback = Playback(1)
    stream = Stream()
    item = playback.add(0, stream, frame=160, streams=True)
    assert tick(playback) == []
    assert playback.hungry == {item}
    stream.feed(np.full(100, 5, np.int16))
    playback.fed(0)
    assert tick(playback) == [5] * 100 + [0] * 60
    assert tick(playback) == []
    stream.feed(np.full(10, 6, np.int16))
    stream.finish()
    playback.fed(0)
    assert tick(playback) == [6] * 10 + [0] * 150
    assert told(playback) == [(item, "started", 0, 0), (item, "finished", 110, 110)]
    assert playback.hungry == set()


def test_clearing_tells_what_was_waiting_and_begins_at_nought():
    playback = Playback(1)
    playback.add(0, pcm(1, 500), frame=160)
    tick(playback)
    playback.pause(0)
    playback.clear(0)
    assert told(playback) == [(1, "started", 0, 0), (1, "flushed", 160, 160)]
    assert playback.position(0) == 0
    playback.add(0, pcm(2, 320), frame=320)
    assert tick(playback, 320) == [2] * 320


@pytest.mark.parametrize("up", [True, False])
def test_a_line_goes_on_at_another_rate(*, up: bool):
    """400 ms of 1 kHz in two items with a mark between; the rate changes after 60 ms."""
    before, after = (160, 320) if up else (320, 160)
    wave = (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(20 * before) / (before * 50))).astype(np.int16)
    playback = Playback(1)
    playback.add(0, Pcm(wave[: 10 * before]), frame=before)
    playback.add(0, None, frame=before)
    playback.add(0, Pcm(wave[10 * before :]), frame=before)
    for _ in range(3):
        tick(playback, before)
    playback.retune(0, up=up)
    assert playback.position(0) == 3 * after
    assert playback.frame(0) == after
    heard = []
    while playback:
        heard += tick(playback, after)
    assert len(heard) == 17 * after
    assert [(what, position // after) for _, what, _, position in told(playback)] == [
        ("started", 0), ("finished", 10), ("mark", 10), ("started", 10), ("finished", 20),
    ]  # fmt: skip
    spectrum = np.abs(np.fft.rfft(np.array(heard) * np.hanning(len(heard))))
    assert np.argmax(spectrum) * after * 50 / len(heard) == pytest.approx(1_000, abs=5)


def test_an_empty_line_s_position_is_kept_at_another_rate():
    playback = Playback(1)
    playback.add(0, pcm(1, 300), frame=160)
    while playback:
        tick(playback)
    playback.retune(0, up=True)
    assert playback.position(0) == 600
    playback.retune(0, up=False)
    assert playback.position(0) == 300


def test_what_is_flushed_in_the_middle_leaves_no_gap():
    playback = Playback(1)
    items = [playback.add(0, pcm(value, 250), frame=160) for value in (1, 2, 3)]
    assert tick(playback) == [1] * 160
    playback.flush(0, items[1])
    assert tick(playback) == [1] * 90 + [3] * 70
    assert (items[1], Happening.FLUSHED.value, 0, 160) in told(playback)


def test_two_lines_of_two_lengths_are_played_together():
    playback = Playback(3)
    for line, count in ((0, 100), (2, 5_000)):
        playback.add(line, pcm(line + 1, count), frame=160)
    lines = np.array([0, 2])
    out = np.zeros((2, 160), np.int16)
    playback.play(lines, out)
    assert out[:, [0, 99, 100, 159]].tolist() == [[1, 1, 0, 0], [3, 3, 3, 3]]
    assert playback.ready(np.arange(3)).tolist() == [False, False, True]
