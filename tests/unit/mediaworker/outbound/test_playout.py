import numpy as np
import pytest

from mediaworker.core.legs import Heard, PlayoutEvent
from mediaworker.core.outbound.playout import CHUNK_SAMPLES, RING_CHUNKS, Playout

pytestmark = pytest.mark.unit

ALL = slice(0, 4)
STARTED = np.ones(4, np.bool_)


def ramp(samples: int, start: int = 1) -> np.ndarray:
    return (np.arange(start, start + samples) % 30_000).astype(np.int16)


def play(playout: Playout, ticks: int = 1) -> tuple[np.ndarray, list[PlayoutEvent]]:
    """Audio of row 1 and all events; ticks are 100 ns apart and count from 1."""
    audio, events = [], []
    for tick in range(1, ticks + 1):
        rows = np.flatnonzero(playout.ready(ALL, STARTED))
        out = np.zeros((len(rows), 160), np.int16)
        if rows.size:
            playout.play(rows, out, tick * 100)
        events += playout.take_events(tick * 100)
        audio += [out[index] for index, row in enumerate(rows) if row == 1]
    return (np.concatenate(audio) if audio else np.zeros(0, np.int16)), events


def test_a_segment_is_played_and_reported():
    playout = Playout(4, 4)
    assert playout.queue(1, 7, 0, ramp(400), last=True) == 400
    audio, events = play(playout, 5)
    assert audio.tolist() == [*ramp(400).tolist(), *[0] * 80]
    assert events == [
        PlayoutEvent(1, started=True, heard=Heard(7, 0, 0), at_ns=100),
        PlayoutEvent(1, started=False, heard=Heard(7, 0, 400), at_ns=300),
    ]
    assert not playout.playing(1)


def test_pieces_of_a_segment_are_joined_without_a_gap():
    playout = Playout(4, 4)
    for start in range(0, 1_000, 50):
        playout.queue(1, 1, 0, ramp(50, start + 1), last=start == 950)
    audio, _ = play(playout, 10)
    assert audio[:1_000].tolist() == ramp(1_000).tolist()


def test_started_is_told_once_per_turn():
    playout = Playout(4, 4)
    for turn, segment in ((1, 0), (1, 1), (2, 0)):
        playout.queue(1, turn, segment, ramp(160), last=True)
    _, events = play(playout, 4)
    told = [(event.started, event.heard.turn, event.heard.segment) for event in events]
    assert told == [(True, 1, 0), (False, 1, 0), (False, 1, 1), (True, 2, 0), (False, 2, 0)]


def test_a_segment_waits_for_its_rest_and_goes_on():
    playout = Playout(4, 4)
    playout.queue(1, 1, 0, ramp(200), last=False)
    audio, events = play(playout, 5)
    assert len(audio) == 160
    assert [event.started for event in events] == [True]
    playout.queue(1, 1, 0, ramp(120, 201), last=True)
    more, events = play(playout, 3)
    assert np.concatenate([audio, more]).tolist() == ramp(320).tolist()
    assert [event.heard.samples for event in events] == [320]


def test_an_end_told_late_is_reported_though_everything_was_played():
    playout = Playout(4, 4)
    playout.queue(1, 1, 0, ramp(160), last=False)
    play(playout, 2)
    playout.queue(1, 1, 0, ramp(0), last=True)
    _, events = play(playout)
    assert events == [PlayoutEvent(1, started=False, heard=Heard(1, 0, 160), at_ns=100)]


def test_an_empty_segment_is_played_at_once():
    playout = Playout(4, 4)
    playout.queue(1, 3, 0, ramp(0), last=True)
    _, events = play(playout)
    assert [event.heard for event in events] == [Heard(3, 0, 0)]


def test_another_segment_ends_the_one_before_it():
    playout = Playout(4, 4)
    playout.queue(1, 1, 0, ramp(100), last=False)
    playout.queue(1, 1, 1, ramp(100), last=True)
    _, events = play(playout, 3)
    assert [(event.heard.segment, event.heard.samples) for event in events] == [(0, 0), (0, 100), (1, 100)]


def test_pause_holds_and_resume_goes_on_at_the_same_sample():
    playout = Playout(4, 4)
    playout.queue(1, 1, 0, ramp(800), last=True)
    first, _ = play(playout, 2)
    playout.pause(1)
    nothing, events = play(playout, 5)
    assert (len(nothing), events) == (0, [])
    assert playout.playing(1)
    assert playout.heard(1) == Heard(1, 0, 320)
    playout.resume(1)
    rest, _ = play(playout, 3)
    assert np.concatenate([first, rest]).tolist() == ramp(800).tolist()


def test_flush_says_what_was_heard_and_gives_everything_back():
    playout = Playout(4, 4)
    free = playout.free_chunks
    playout.queue(1, 1, 0, ramp(160), last=True)
    playout.queue(1, 1, 1, ramp(3 * CHUNK_SAMPLES), last=True)
    play(playout, 3)
    playout.pause(1)
    assert playout.flush(1) == Heard(1, 1, 320)
    assert playout.free_chunks == free
    assert not playout.playing(1)
    playout.queue(1, 2, 0, ramp(160), last=True)
    audio, _ = play(playout)
    assert len(audio) == 160


def test_heard_before_anything_was_queued_and_after_everything_was_played():
    playout = Playout(4, 4)
    assert playout.heard(1) == Heard(-1, -1, 0)
    assert playout.flush(1) == Heard(-1, -1, 0)
    playout.queue(1, 1, 4, ramp(200), last=True)
    play(playout, 2)
    assert playout.heard(1) == Heard(1, 4, 200)


def test_a_ring_takes_30_s_and_no_more():
    playout = Playout(4, 4)
    offered = ramp(40 * 8_000)
    taken = playout.queue(1, 1, 0, offered, last=True)
    assert 30 * 8_000 <= taken <= RING_CHUNKS * CHUNK_SAMPLES
    assert playout.room(1) == 0
    assert playout.queue(1, 1, 0, ramp(10), last=True) == 0
    audio, events = play(playout, taken // 160)
    assert np.array_equal(audio, offered[: len(audio)])
    assert [event.started for event in events] == [True]  # refused samples left it open
    playout.queue(1, 1, 0, ramp(0), last=True)
    _, events = play(playout, 2)
    assert [event.heard.samples for event in events] == [taken]


def test_an_empty_pool_takes_less_and_other_legs_play_on():
    playout = Playout(4, 1)
    playout.queue(0, 1, 0, ramp(40 * 8_000), last=True)
    assert playout.queue(1, 1, 0, ramp(160), last=True) <= 160
    assert playout.free_chunks == 0
    playout.forget(0)
    assert playout.free_chunks >= RING_CHUNKS - 1


def test_chunks_go_back_while_playing():
    playout = Playout(4, 4)
    free = playout.free_chunks
    playout.queue(1, 1, 0, ramp(2 * CHUNK_SAMPLES), last=True)
    assert playout.free_chunks == free - 2
    play(playout, 100)
    assert playout.free_chunks == free


def test_a_leg_closed_with_events_waiting_tells_none():
    playout = Playout(4, 4)
    playout.queue(1, 3, 0, ramp(0), last=True)
    playout.forget(1)
    assert playout.take_events(5) == []
    assert playout.heard(1) == Heard(-1, -1, 0)
