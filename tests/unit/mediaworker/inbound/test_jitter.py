import numpy as np
import pytest

from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.inbound.jitter import AHEAD, SLOTS, JitterRing, whole_blocks
from mediaworker.core.rows import NO_FRAME, Rows

pytestmark = pytest.mark.unit

AT = np.array([0])
SPAN = slice(0, 1)


class Line:
    """One row of a ring; frames carry their number in their octets."""

    def __init__(self) -> None:
        self.rows = Rows(1, 1)
        self.rows.take(0)
        self.rows.flowing[0] = True
        self.ring = JitterRing(self.rows)

    def insert(self, frame: int, *, arrived_ns: int = 0) -> None:
        packet = np.full((1, 256), frame & 0xFF, np.uint8)
        self.ring.insert(AT, np.array([frame]), np.array([frame]), np.array([arrived_ns]), packet)

    def blocks(self, position: int, size: int, value: int, *, start: int = 12) -> None:
        packet = np.zeros((1, 1_024), np.uint8)
        packet[0, start : start + size] = value
        self.ring.insert_blocks(
            AT,
            np.array([position]),
            np.array([1]),
            np.array([5]),
            packet,
            np.array([start]),
            np.array([size]),
        )

    def mark(self, position: int, units: int) -> None:
        one = np.array([1])
        self.ring.insert_marks(AT, np.array([position]), np.array([units]), one, one)

    def play(self) -> list[int] | None:
        """The octets of the frame due, None where it is not whole; goes on in any case."""
        payload = np.zeros((1, 160), np.uint8)
        have = self.ring.complete(SPAN)[0]
        self.ring.read(SPAN, payload)
        self.rows.last_good[0] = self.rows.play[0] if have else self.rows.last_good[0]
        self.rows.play[0] += 1
        return payload[0].tolist() if have else None


def test_frames_are_there_in_their_order_whatever_order_they_came_in():
    line = Line()
    for frame in (2, 0, 1, 3):
        line.insert(frame, arrived_ns=10 * frame)
    played = [line.play() for _ in range(5)]
    assert [frame[0] if frame else None for frame in played] == [0, 1, 2, 3, None]
    assert line.ring.arrived(AT)[0] == 30
    assert line.rows.top[0] == 3


def test_a_packet_whose_frame_is_over_is_late():
    line = Line()
    line.rows.play[0] = 3
    line.insert(2)
    assert line.rows.late[0] == 1
    assert not line.ring.is_complete(AT, np.array([2]))[0]


@pytest.mark.parametrize("size", [80, 160, 240, 320, 480])
def test_packets_of_10_to_60_ms_fill_whole_frames(size: int):
    line = Line()
    count = 4 * 480 // size
    for index in range(count):
        line.blocks(index * size, size, index + 1, start=12 + 4 * (index % 2))
    heard = [octet for _ in range(4 * 480 // 160) for octet in line.play() or []]
    assert heard == [index + 1 for index in range(count) for _ in range(size)]
    assert line.play() is None


def test_half_a_frame_is_not_whole_and_its_other_half_is_silence():
    line = Line()
    line.rows.alaw[0] = True
    line.blocks(0, 240, 9)
    assert line.ring.is_complete(AT, np.array([0]))[0]
    assert not line.ring.is_complete(AT, np.array([1]))[0]
    past = line.ring.history(AT, 1, np.array([1]))[0]
    assert past.tolist() == [int(A_LAW.decoder[9])] * 80 + [int(A_LAW.decoder[A_LAW.silence])] * 80


def test_blocks_beyond_either_end_of_the_ring_are_left_out():
    line = Line()
    line.rows.play[0] = 1
    line.blocks(0, 320, 7)
    line.blocks(AHEAD * 160, 480, 8)
    assert line.rows.late[0] == 0
    assert line.rows.top[0] == AHEAD
    line.blocks(0, 160, 7)
    assert line.rows.late[0] == 1


def test_only_multiples_of_ten_milliseconds_are_blocks():
    assert whole_blocks(np.array([0, 80, 40, 160]), np.array([160, 240, 160, 100])).tolist() == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_piece_goes_where_it_belongs_and_the_rest_is_silence():
    line = Line()
    line.ring.insert_piece(0, 100, 1, 5, np.full(220, 9, np.uint8))
    assert line.play() is None
    assert line.ring.history(AT, 1, np.array([0]))[0, :100].tolist() == [int(MU_LAW.decoder[0xFF])] * 100
    assert line.play() == [9] * 160
    assert line.ring.arrived(AT)[0] == 5
    line.ring.insert_piece(0, 100, 2, 0, np.full(100, 9, np.uint8))
    assert line.rows.late[0] == 1


def test_a_piece_longer_than_the_ring_is_cut():
    line = Line()
    line.ring.insert_piece(0, 0, 1, 0, np.full(160 * (AHEAD + 9), 9, np.uint8))
    assert line.rows.top[0] == AHEAD - 1


def test_marks_of_a_coded_leg_follow_its_clock():
    line = Line()
    line.rows.coded[0], line.rows.clock[0] = True, 960

    def mark(*values: int) -> None:
        """Position, units, number, arrival."""
        line.ring.insert_marks(AT, *(np.array([value]) for value in values))

    mark(0, 2_880, 1, 7)
    mark(2_880, 480, 2, 8)
    whole = [bool(line.ring.is_complete(AT, np.array([frame]))[0]) for frame in range(5)]
    assert whole == [True, True, True, False, False]
    mark(3_360, 480, 3, 9)
    assert line.ring.is_complete(AT, np.array([3]))[0]
    line.rows.play[0] = 4
    mark(2_880, 960, 4, 9)
    assert line.rows.late[0] == 1


def test_the_next_frame_after_a_hole_is_found_with_its_number():
    line = Line()
    assert [values[0] for values in line.ring.next_there(AT)] == [AHEAD, NO_FRAME]
    line.insert(4)
    assert [values[0] for values in line.ring.next_there(AT)] == [4, 4]
    assert line.ring.number(AT, np.array([4]))[0] == 4
    assert line.ring.number(AT, np.array([5]))[0] == NO_FRAME


def test_history_is_decoded_and_holes_are_zero():
    line = Line()
    line.insert(0)
    line.insert(2)
    past = line.ring.history(AT, 3, np.array([2]))[0]
    assert past[:160].tolist() == [int(MU_LAW.decoder[0])] * 160
    assert not past[160:320].any()
    assert past[320:].tolist() == [int(MU_LAW.decoder[2])] * 160


@pytest.mark.parametrize("alaw", [False, True])
def test_what_was_made_up_is_part_of_the_past(alaw: bool):
    line = Line()
    line.rows.alaw[0] = alaw
    law = A_LAW if alaw else MU_LAW
    made_up = np.full((1, 160), int(law.decoder[0x93]), np.int16)
    line.ring.mend(AT, np.array([1]), made_up)
    assert line.ring.history(AT, 1, np.array([1]))[0].tolist() == made_up[0].tolist()


def test_the_future_can_be_forgotten_without_the_past():
    line = Line()
    for frame in range(4):
        line.insert(frame)
    line.rows.play[0] = 2
    line.ring.forget_future(0)
    assert [bool(line.ring.is_complete(AT, np.array([frame]))[0]) for frame in range(4)] == [
        True, True, False, False,
    ]  # fmt: skip
    line.ring.clear(0)
    assert not line.ring.is_complete(AT, np.array([1]))[0]


def test_what_is_left_out_is_told_for_legs_that_are_listened_to():
    line = Line()
    line.ring.leave_out(AT, np.array([3]))
    line.rows.detect[0] = True
    line.ring.leave_out(AT, np.array([2]))
    assert (line.rows.play[0], line.ring.skipped, line.ring.left_out) == (5, 5, [(0, 3, 2)])


def test_a_frame_is_gone_when_its_slot_is_taken_again():
    line = Line()
    line.insert(1)
    line.rows.play[0] = SLOTS
    line.insert(SLOTS + 1)
    assert not line.ring.is_complete(AT, np.array([1]))[0]


def test_what_waits_keeps_its_sound_when_the_law_changes():
    line = Line()
    line.insert(0x95)
    line.rows.play[0] = 0x95
    line.rows.alaw[0] = True
    line.ring.translate(0)
    heard = line.play()
    assert heard is not None
    assert A_LAW.decoder[heard[0]] == pytest.approx(MU_LAW.decoder[0x95], rel=0.05)
    line.rows.alaw[0] = False
    line.ring.translate(0)
    line.rows.play[0] = 0x95
    assert line.play() == [0x95] * 160


def test_what_a_closed_leg_left_out_is_nobody_s():
    line = Line()
    line.rows.detect[0] = True
    line.insert(3)
    line.ring.leave_out(AT, np.array([2]))
    assert line.ring.left_out == [(0, 0, 2)]
    line.ring.clear(0)
    assert line.ring.left_out == []
