import numpy as np
import pytest

from mediaworker.core.inbound import sequence
from mediaworker.core.inbound.delay import FRAME_NS, DelayTarget
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.pace import ALIVE_FRAMES, MOST_AT_ONCE, PATIENCE, Pace, Special, TickClock
from mediaworker.core.inbound.timeline import Act
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit

MS = 1_000_000
AT = np.array([0])
LOUD, QUIET = 0x90, 0xFF


class Line:
    """One row; frame n is due at n * 20 ms when nothing is late. Every octet of a frame is the same, every second one negative."""

    def __init__(self) -> None:
        self.rows = Rows(1, 1)
        self.rows.take(0)
        self.rows.flowing[0] = True
        self.rows.least_ns[0] = self.rows.goal_ns[0] = self.rows.target_ns[0] = 0
        self.ring = JitterRing(self.rows)
        self.pace = Pace(self.rows, self.ring, DelayTarget(self.rows, 10 * FRAME_NS))
        self.now = 0

    def insert(self, *frames: int, octet: int = LOUD, ext: int | None = None) -> None:
        rng = np.random.default_rng(octet)
        for frame in frames:
            packet = np.full((1, 172), octet, np.uint8)
            if octet != QUIET:
                packet[0, 12:] = rng.integers(0x80, 0x98, 160) + 128 * rng.integers(0, 2, 160)
            number = np.array([frame if ext is None else ext])
            sequence.repeated(self.rows, AT, number)
            self.ring.insert(AT, np.array([frame]), number, np.array([0]), packet)

    def tick(self, times: int = 1) -> tuple[Act, int]:
        """What is done in the last of the ticks and where playout is then; moves on as `sound` does."""
        for _ in range(times):
            special = self.pace.step(0, slice(0, 1), self.now)
            act, step = (Act.PLAY, 1) if special is None else (Act(int(special.act[0])), int(special.step[0]))
            heard = act in {Act.PLAY, Act.MERGE}
            at = int(self.rows.play[0])
            self.rows.play[0] += step
            self.rows.hole_run[0] = 0 if heard else self.rows.hole_run[0] + 1
            if heard:
                self.rows.last_good[0] = at + step - 1
                self.rows.waited[0] = 0
            self.now += FRAME_NS
        return act, at


def test_a_whole_frame_is_played():
    line = Line()
    line.insert(0, 1)
    assert [line.tick(), line.tick()] == [(Act.PLAY, 0), (Act.PLAY, 1)]


def test_an_empty_ring_waits_and_goes_on_where_it_was():
    line = Line()
    line.insert(0)
    line.tick()
    assert line.tick(3) == (Act.HOLD, 1)
    assert (line.rows.waited[0], line.rows.held[0], line.rows.concealed[0]) == (3, 3, 3)
    line.insert(1)
    assert line.tick() == (Act.PLAY, 1)
    assert line.rows.lost_frames[0] == 0


def test_what_was_waited_counts_for_the_loss():
    line = Line()
    line.insert(0)
    line.tick()
    line.tick(2)
    line.insert(3)
    assert line.tick() == (Act.PLAY, 3)
    assert line.pace.passed == [(0, 1, 2)]
    assert (line.rows.held[0], line.rows.lost_frames[0]) == (0, 2)


def test_a_hole_with_more_behind_it_is_a_loss_at_once():
    line = Line()
    line.insert(0, 2, 3)
    line.tick()
    assert line.tick() == (Act.LOSS, 1)
    assert (line.rows.lost_frames[0], line.rows.concealed[0], line.rows.held[0]) == (1, 1, 0)
    assert line.tick() == (Act.PLAY, 2)


def test_a_hole_may_still_be_filled_where_the_delay_is_too_short_anyway():
    line = Line()
    line.insert(0, 2, 3)
    line.tick()
    line.rows.goal_ns[0] = 5 * MS
    assert line.tick() == (Act.HOLD, 1)
    line.insert(1)
    assert line.tick() == (Act.PLAY, 1)
    assert line.rows.lost_frames[0] == 0


def test_a_gap_without_a_missing_number_is_silence_and_as_long_as_the_delay_wants():
    line = Line()
    line.insert(0)
    line.tick()
    line.tick(10)
    line.insert(14, ext=1)
    assert line.tick() == (Act.QUIET, 11)
    assert line.rows.silent_sender[0]
    assert line.rows.lost_frames[0] == 0
    assert line.tick(3) == (Act.PLAY, 14)


def test_no_more_is_lost_than_what_is_missing_can_have_held():
    line = Line()
    line.insert(0)
    line.tick()
    line.tick(40)
    # The first packet of what is said after a silence of 29 frames is lost.
    line.insert(31, ext=2)
    line.rows.packet_frames[0] = 1
    assert line.tick() == (Act.PLAY, 31)
    assert line.rows.lost_frames[0] == 1
    assert line.rows.silent_sender[0]


def test_a_loss_of_long_packets_is_as_long_as_they_are():
    line = Line()
    line.insert(0)
    line.tick()
    line.tick(10)
    line.rows.packet_frames[0] = 3
    line.insert(7, ext=3)
    assert line.tick() == (Act.PLAY, 7)
    assert line.rows.lost_frames[0] == 6
    assert not line.rows.silent_sender[0]


def test_numbers_of_noise_and_key_presses_are_not_missing():
    line = Line()
    line.insert(0)
    line.tick(8)
    line.rows.calm_ext[0] = 5
    line.insert(9, ext=6)
    assert line.tick()[0] is Act.QUIET
    assert line.rows.lost_frames[0] == 0


def test_a_sender_of_whom_nothing_comes_is_silent_after_a_second():
    line = Line()
    line.insert(0)
    line.tick()
    assert line.tick(ALIVE_FRAMES)[0] is Act.HOLD
    assert line.tick()[0] is Act.QUIET
    assert line.rows.concealed[0] == ALIVE_FRAMES


def test_noise_takes_the_place_of_waiting_at_once():
    line = Line()
    line.insert(0)
    line.rows.noise[0] = 50
    assert line.tick(2)[0] is Act.QUIET
    assert line.rows.held[0] == 0


def test_half_a_frame_is_waited_for_and_then_lost():
    line = Line()
    packet = np.full((1, 512), LOUD, np.uint8)
    line.ring.insert_blocks(AT, np.array([0]), AT, AT, packet, np.array([12]), np.array([240]))
    assert line.tick() == (Act.PLAY, 0)
    assert line.tick() == (Act.HOLD, 1)
    line.insert(2)
    assert line.tick() == (Act.LOSS, 1)


@pytest.mark.parametrize(("octet", "ticks"), [(QUIET, 1), (LOUD, PATIENCE)])
def test_a_frame_of_delay_too_much_is_given_back_where_it_is_quiet_or_when_it_lasts(octet: int, ticks: int):
    line = Line()
    line.insert(*range(47), octet=octet)
    line.now = 25 * MS
    acts = [line.tick()[0] for _ in range(ticks)]
    assert acts == [Act.PLAY] * (ticks - 1) + [Act.MERGE]
    assert line.ring.skipped == 1
    assert line.tick()[0] is Act.PLAY


def test_delay_is_not_given_back_where_nothing_waits():
    line = Line()
    line.now = 30 * MS
    for frame in range(40):
        line.insert(frame, octet=QUIET)
        assert line.tick() == (Act.PLAY, frame)


@pytest.mark.parametrize(("octet", "ticks"), [(QUIET, 1), (LOUD, PATIENCE)])
def test_a_frame_of_delay_too_little_is_added_where_it_is_quiet_or_when_it_lasts(octet: int, ticks: int):
    line = Line()
    line.insert(*range(40), octet=octet)
    line.rows.caller_pcm[0] = 0 if octet == QUIET else 9_000
    line.rows.goal_ns[0] = 15 * MS
    acts = [line.tick()[0] for _ in range(ticks)]
    assert acts == [Act.PLAY] * (ticks - 1) + [Act.HOLD]
    assert line.tick()[0] is Act.PLAY


def test_a_row_that_does_not_flow_is_left_alone():
    line = Line()
    line.rows.flowing[0] = False
    special: Special | None = line.pace.step(0, slice(0, 1), 0)
    assert special is None


def test_the_clock_of_ticks_is_that_of_the_schedule():
    clock = TickClock()
    late = [0, 3 * MS, 0, 180 * MS, 160 * MS, 140 * MS, 1 * MS]
    shown = [clock.tick(100 * MS + n * FRAME_NS + delay) for n, delay in enumerate(late)]
    assert shown == [100 * MS + n * FRAME_NS for n in range(len(late))]


def test_the_clock_begins_anew_after_a_long_pause():
    clock = TickClock()
    clock.tick(0)
    assert clock.tick(5_000 * MS) == 5_000 * MS


def test_of_many_that_have_delay_to_give_back_each_has_its_turn():
    count = 3 * MOST_AT_ONCE
    rows = Rows(count, 1)
    at = np.array([rows.take(0) for _ in range(count)])
    rows.flowing[:] = True
    rows.goal_ns[:] = 0
    ring = JitterRing(rows)
    for frame in range(12):
        same = np.full(count, frame)
        ring.insert(at, same, same, same, np.full((count, 172), QUIET, np.uint8))
    pace = Pace(rows, ring, DelayTarget(rows, 10 * FRAME_NS))
    turns = np.zeros(count, np.int64)
    for _ in range(3):
        special = pace.step(0, slice(0, count), 30 * MS)
        assert special is not None
        assert np.count_nonzero(special.act == Act.MERGE) == MOST_AT_ONCE
        turns[special.at[special.act == Act.MERGE]] += 1
    assert turns.tolist() == [1] * count
