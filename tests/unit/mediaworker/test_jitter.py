import numpy as np
import pytest

from mediaworker.core.g711 import MU_LAW
from mediaworker.core.jitter import PAST_FRAMES, SLOTS, WINDOW_TICKS, JitterRing
from mediaworker.core.rows import FAR, Rows

pytestmark = pytest.mark.unit

AT = np.array([0])
SPAN = slice(0, 1)


class Line:
    """One row of a ring; frames carry their number in their first octet."""

    def __init__(self, max_frames: int = 10) -> None:
        self.rows = Rows(1, 1)
        self.rows.take(0)
        self.rows.flowing[0] = True
        self.ring = JitterRing(self.rows, max_frames)
        self.rows.top[0] = 0

    def insert(self, frame: int, *, ext: int | None = None, arrived_ns: int = 0) -> None:
        packet = np.full((1, 256), frame & 0xFF, np.uint8)
        number = frame if ext is None else ext
        self.ring.insert(AT, np.array([frame]), np.array([number]), np.array([arrived_ns]), packet)

    def play(self) -> int | None:
        payload = np.zeros((1, 160), np.uint8)
        have = self.ring.due(SPAN, 0, payload)
        self.ring.advance(SPAN, have)
        return int(payload[0, 0]) if have[0] else None


def test_frames_are_played_in_their_order_whatever_order_they_came_in():
    line = Line()
    for frame in (2, 0, 1, 3):
        line.insert(frame)
    assert [line.play() for _ in range(5)] == [0, 1, 2, 3, None]
    assert (line.rows.hole_run[0], line.rows.last_good[0]) == (1, 3)


def test_the_same_packet_twice_is_a_duplicate_also_after_it_was_played():
    line = Line()
    line.insert(0)
    line.insert(0)
    line.play()
    line.insert(0)
    assert line.rows.duplicate[0] == 2
    assert line.rows.late[0] == 0


def test_a_late_packet_makes_playout_wait_as_long_as_it_was_late():
    line = Line()
    line.insert(0)
    assert [line.play() for _ in range(4)] == [0, None, None, None]
    line.insert(2)
    assert (line.rows.late[0], line.rows.stall[0]) == (1, 2)
    line.insert(4)
    assert [line.play() for _ in range(4)] == [None, None, 4, None]


def test_the_wait_is_bounded_by_the_maximum_depth():
    line = Line(max_frames=3)
    line.insert(0)
    for _ in range(9):
        line.play()
    line.insert(1)
    assert line.rows.stall[0] == 3


def test_more_than_the_maximum_depth_is_skipped_at_once():
    line = Line(max_frames=4)
    for frame in range(12):
        line.insert(frame)
    assert line.play() == 7
    assert line.ring.skipped == 7


def test_spare_depth_shrinks_by_one_frame_in_a_window():
    line = Line()
    played = []
    for frame in range(3, WINDOW_TICKS + 60):
        line.insert(frame)
        played.append(line.play())
    heard = [frame for frame in played if frame is not None]
    assert set(range(3, WINDOW_TICKS + 50)) - set(heard) == {WINDOW_TICKS - 1}
    assert line.ring.skipped == 1
    assert line.rows.min_slack[0] < FAR


def test_a_frame_too_far_ahead_is_not_stored():
    line = Line()
    line.insert(SLOTS - PAST_FRAMES)
    assert line.rows.top[0] == 0


def test_only_the_newest_packet_may_begin_a_new_time_line():
    line = Line()
    far = np.array([500])
    yes, no = np.array([True]), np.array([False])
    assert line.ring.must_restart(AT, far, newest=yes)[0]
    assert not line.ring.must_restart(AT, far, newest=no)[0]
    assert line.ring.must_restart(AT, -far, newest=yes)[0]
    assert line.ring.must_restart(AT, np.array([3]), newest=yes) is None


def test_places_follow_the_time_stamp_over_its_wrap():
    line = Line()
    line.ring.keep_place(AT, np.array([2**32 - 160]), np.array([800]))
    assert line.ring.place(AT, np.array([0]), fresh=None)[0] == 960
    assert line.ring.place(AT, np.array([2**32 - 320]), fresh=None)[0] == 640


def test_a_piece_goes_where_it_belongs_and_the_rest_is_silence():
    line = Line()
    line.ring.insert_piece(0, 80, 1, 5, np.full(160, 9, np.uint8))
    payload = np.zeros((1, 160), np.uint8)
    assert line.ring.due(SPAN, 0, payload)[0]
    assert payload[0].tolist() == [MU_LAW.silence] * 80 + [9] * 80
    line.ring.advance(SPAN, np.array([True]))
    assert line.ring.due(SPAN, 0, payload)[0]
    assert payload[0].tolist() == [9] * 80 + [MU_LAW.silence] * 80
    assert line.ring.arrived(AT)[0] == 5


def test_a_piece_may_come_twice_or_too_late():
    line = Line()
    piece = np.full(80, 9, np.uint8)
    for _ in range(2):
        line.ring.insert_piece(0, 160, 1, 0, piece)
    assert line.rows.duplicate[0] == 1
    for _ in range(4):
        line.play()
    line.ring.insert_piece(0, 240, 2, 0, piece)
    assert line.rows.late[0] == 1


def test_a_piece_longer_than_the_ring_is_cut():
    line = Line()
    line.ring.insert_piece(0, 0, 1, 0, np.full(160 * 60, 9, np.uint8))
    assert line.rows.top[0] == SLOTS - PAST_FRAMES - 1


def test_history_is_decoded_and_holes_are_zero():
    line = Line()
    line.insert(0)
    line.insert(2)
    past = line.ring.history(AT, 3, np.array([2]))[0]
    assert past[:160].tolist() == [int(MU_LAW.decoder[0])] * 160
    assert not past[160:320].any()
    assert past[320:].tolist() == [int(MU_LAW.decoder[2])] * 160


def test_a_cleared_row_has_no_past():
    line = Line()
    line.insert(0)
    line.ring.clear(0)
    assert line.play() is None
