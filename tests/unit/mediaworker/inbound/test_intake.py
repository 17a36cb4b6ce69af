from collections import Counter

import numpy as np
import pytest

from mediaworker.core.g711 import Octets
from mediaworker.core.inbound.delay import DelayTarget
from mediaworker.core.inbound.intake import BEHIND, NOISE_AMPLITUDE, START_FRAMES, Batch, Intake, Payload
from mediaworker.core.inbound.jitter import AHEAD, JitterRing
from mediaworker.core.inbound.timeline import NoCodedAudio
from mediaworker.core.rows import Rows
from tests.support.engine_caller import rtp

pytestmark = pytest.mark.unit

MS = 1_000_000


class Coded(NoCodedAudio):
    """Takes packets of 960 units per octet of payload."""

    def __init__(self) -> None:
        self.stored: list[tuple[int, int, int, bytes]] = []
        self.restarts: list[int] = []

    def store(self, row: int, position: int, ext: int, arrived_ns: int, payload: Octets) -> int:
        del arrived_ns
        self.stored.append((row, position, ext, payload.tobytes()))
        return 960 * len(payload) if payload[0] else 0

    def restart(self, row: int) -> None:
        self.restarts.append(row)


class Line:
    """One row whose packets are taken as they come."""

    def __init__(self) -> None:
        self.rows = Rows(1, 1)
        self.rows.take(0)
        self.rejected = Counter[str]()
        self.coded = Coded()
        self.ring = JitterRing(self.rows)
        self.intake = Intake(
            self.rows, self.ring, DelayTarget(self.rows, 200 * MS), self.coded, self.rejected
        )
        self.rows.ext_max[0] = self.rows.seen_top[0] = -1

    def take(
        self, seq: int, stamp: int, size: int = 160, *, plain: bool = False, noise: int = -1, fill: int = 7
    ) -> None:
        payload = bytes([noise]) if noise >= 0 else bytes([fill]) * size
        data = rtp(seq, stamp, payload)
        block = np.zeros((1, 1_024), np.uint8)
        block[0, : len(data)] = np.frombuffer(data, np.uint8)
        one = np.array([0])
        batch = Batch(one, block, np.array([len(data)]), np.zeros(1, np.uint64), np.array([seq * 20 * MS]))
        shape = Payload(np.array([12]), np.array([0 if noise >= 0 else size]), np.array([noise >= 0]))
        self.intake.take(batch, None if plain else shape)

    def there(self, *frames: int) -> list[bool]:
        return self.ring.is_complete(np.zeros(len(frames), np.int64), np.array(frames)).tolist()


@pytest.mark.parametrize("plain", [True, False])
def test_a_time_line_begins_a_frame_after_the_one_due(plain: bool):
    line = Line()
    line.rows.play[0] = 10
    line.take(0, 5_000, plain=plain)
    line.take(1, 5_160, plain=plain)
    assert line.there(10, 11, 12, 13) == [False, True, True, False]
    assert (line.rows.flowing[0], line.rows.received[0], line.intake.packets) == (True, 2, 2)
    assert START_FRAMES == 1


def test_the_same_packet_twice_is_taken_once():
    line = Line()
    for _ in range(3):
        line.take(0, 0, plain=True)
    assert (line.rows.duplicate[0], line.rows.received[0], line.rows.late[0]) == (2, 3, 0)


def test_packets_that_came_in_another_order_are_counted_and_all_there():
    line = Line()
    for seq in (0, 2, 1, 3):
        line.take(seq, 160 * seq, plain=True)
    assert line.rows.reordered[0] == 1
    assert line.there(1, 2, 3, 4) == [True] * 4


def test_a_jump_of_the_numbers_is_believed_when_it_lasts():
    line = Line()
    line.take(0, 0, plain=True)
    line.take(20_000, 160, plain=True)
    assert line.rejected["sequence"] == 1
    line.take(20_001, 320, plain=True)
    assert line.rows.received[0] == 2
    assert line.there(1, 2) == [True, False]


@pytest.mark.parametrize("jump", [160 * 500, -160 * (BEHIND + 5)])
def test_a_jump_of_the_time_stamps_begins_a_new_time_line(jump: int):
    line = Line()
    for seq in range(3):
        line.take(seq, 80_000 + 160 * seq, plain=True)
    line.rows.play[0] = 2
    line.take(3, 80_000 + jump, plain=True)
    assert line.there(2, 3, 4) == [False, True, False]
    assert line.rows.top[0] == 3


def test_what_was_waited_makes_room_for_what_comes_after_a_silence():
    line = Line()
    line.take(0, 0, plain=True)
    line.rows.play[0] = 2
    line.rows.waited[0] = line.rows.held[0] = 90
    line.take(1, 160 * 100, plain=True)
    assert (line.rows.play[0], line.rows.waited[0]) == (92, 0)
    assert line.there(101) == [True]


def test_a_burst_longer_than_the_ring_pushes_playout_on():
    line = Line()
    line.rows.detect[0] = True
    for seq in range(AHEAD + 5):
        line.take(seq, 160 * seq, plain=True)
    assert line.rows.play[0] == 6
    assert line.there(6, AHEAD + 5) == [True, True]
    assert sum(count for _, _, count in line.ring.left_out) == line.ring.skipped == 6


@pytest.mark.parametrize("size", [80, 240, 320, 480, 100, 37])
def test_packets_of_any_length_fill_the_ring(size: int):
    line = Line()
    for seq in range(12):
        line.take(seq, seq * size, size)
    whole = 12 * size // 160
    assert line.there(*range(1, whole + 1)) == [True] * whole
    assert not line.there(whole + 1)[0] or 12 * size % 160 == 0


def test_comfort_noise_is_known_until_sound_comes_again():
    line = Line()
    line.take(0, 0)
    line.take(1, 160, noise=40)
    assert line.rows.noise[0] == pytest.approx(NOISE_AMPLITUDE[40])
    assert line.rows.calm_ext[0] == 1
    line.take(2, 1_600)
    assert line.rows.noise[0] == 0


def test_noise_after_a_missing_packet_does_not_say_that_nothing_is_missing():
    line = Line()
    line.take(0, 0)
    line.take(2, 320, noise=40)
    assert line.rows.calm_ext[0] < 0


def test_packets_of_a_coded_leg_are_kept_elsewhere_and_marked_here():
    line = Line()
    line.rows.coded[0], line.rows.clock[0] = True, 960
    line.take(0, 0, 1, fill=9)
    line.take(1, 960, 3, fill=9)
    line.take(2, 3_840, 1, fill=0)
    assert line.coded.restarts == [0]
    assert [(position, ext) for _, position, ext, _ in line.coded.stored] == [
        (960, 0),
        (1_920, 1),
        (4_800, 2),
    ]
    assert line.there(1, 2, 3, 4, 5) == [True, True, True, True, False]


def test_an_overtaken_packet_of_a_time_line_that_ended_is_late_and_moves_nothing():
    line = Line()
    for seq in range(5):
        line.take(seq, 1_000_000 + 160 * seq)
    line.take(6, 1_000, plain=True)
    rows = line.rows
    before = [int(column[0]) for column in (rows.top, rows.position, rows.least_ns, rows.rtp_last)]
    line.take(5, 1_000_800, plain=True)
    assert [int(column[0]) for column in (rows.top, rows.position, rows.least_ns, rows.rtp_last)] == before
    assert (int(rows.late[0]), int(rows.reordered[0])) == (1, 1)
    line.take(7, 1_160, plain=True)
    assert int(rows.top[0]) == before[0] + 1


def test_one_leg_s_stray_packet_does_not_keep_another_s_new_numbering_from_a_new_time_line():
    rows = Rows(2, 1)
    at = np.array([rows.take(0), rows.take(0)])
    ring = JitterRing(rows)
    intake = Intake(rows, ring, DelayTarget(rows, 200 * MS), Coded(), Counter())
    rows.ext_max[at] = rows.seen_top[at] = -1
    steps = [((0, 1_000_000), (0, 500)), ((2, 1_000), (9_000, 660)), ((1, 1_000_160), (9_001, 820))]
    for number, packets in enumerate(steps):
        block = np.zeros((2, 192), np.uint8)
        for row, (seq, stamp) in enumerate(packets):
            block[row, :172] = np.frombuffer(rtp(seq, stamp, bytes(160)), np.uint8)
        if number == 2:
            # The second leg has long played what it had.
            rows.play[1] = 60
        arrivals = np.full(2, number * 20 * MS)
        intake.take(Batch(at, block, np.full(2, 172), np.zeros(2, np.uint64), arrivals), None)
    assert int(rows.late[0]) == 1
    assert int(rows.top[1]) == 60 + START_FRAMES
