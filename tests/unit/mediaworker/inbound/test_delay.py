import numpy as np
import pytest

from mediaworker.core.inbound.delay import (
    FRAME_NS,
    KNOWN,
    RANGE_NS,
    SETTLE_TICKS,
    STEP_NS,
    WINDOW_SETTLES,
    DelayTarget,
)
from mediaworker.core.rows import NEVER, UNSET, Rows

pytestmark = pytest.mark.unit

MS = 1_000_000
MAX_NS = 200 * MS


class Line:
    """Two rows; packets of frame n leave at n * 20 ms."""

    def __init__(self) -> None:
        self.rows = Rows(2, 1)
        for _row in range(2):
            self.rows.take(0)
        self.delay = DelayTarget(self.rows, MAX_NS)
        for row in range(2):
            self.delay.forget(row)
        self.frame = 0

    def packets(self, delays_ms: list[float], row: int = 0) -> None:
        for delay in delays_ms:
            arrived = np.array([int(self.frame * FRAME_NS + delay * MS)])
            self.delay.note(np.array([row]), np.array([self.frame]), arrived)
            self.frame += 1
            self.delay.settle(slice(0, 2), self.frame)

    def target_ms(self, row: int = 0) -> float:
        return float(self.rows.target_ns[row]) / MS


def test_nothing_is_known_before_the_first_packet():
    line = Line()
    assert (line.rows.least_ns[0], line.rows.goal_ns[0]) == (UNSET, NEVER)
    line.packets([5.0])
    assert line.rows.least_ns[0] == 5 * MS
    assert line.rows.goal_ns[0] == 5 * MS + line.rows.target_ns[0]
    assert line.rows.least_ns[1] == UNSET


def test_a_steady_line_is_given_a_frame_on_trust_and_then_next_to_nothing():
    line = Line()
    line.packets([0.0] * 10)
    assert line.target_ms() == 20
    line.packets([0.0] * 2 * KNOWN)
    assert line.target_ms() < 1.1


@pytest.mark.parametrize("late_ms", [15, 60, 140])
def test_the_target_holds_what_all_but_one_in_a_hundred_need(late_ms: int):
    line = Line()
    line.packets([float(late_ms) if index % 25 == 3 else 0.0 for index in range(500)])
    assert late_ms - 2 <= line.target_ms() <= late_ms + 2
    line = Line()
    line.packets([float(late_ms) if index % 200 == 3 else 0.0 for index in range(500)])
    assert line.target_ms() < 2


def test_the_target_is_bounded_also_where_packets_come_beyond_the_range():
    line = Line()
    line.packets([0.0, 900.0] * 60)
    assert line.target_ms() == MAX_NS / MS


def test_an_earlier_packet_moves_what_was_counted():
    line = Line()
    line.packets([40.0] * 100)
    assert line.target_ms() < 1.1
    line.packets([0.0] * 30)
    assert line.rows.least_ns[0] == 0
    assert 39 <= line.target_ms() <= 42


def test_a_network_that_became_slower_for_good_costs_nothing_after_the_window():
    line = Line()
    line.packets([0.0] * 200)
    line.packets([50.0] * 60)
    assert line.target_ms() > 45
    line.packets([50.0] * (2 * WINDOW_SETTLES + 2) * SETTLE_TICKS)
    assert abs(line.rows.least_ns[0] - 50 * MS) <= STEP_NS
    assert line.target_ms() < 3


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_drifting_clock_is_no_lateness(ppm: int):
    line = Line()
    step = 20 * ppm / 1e6
    line.packets([100 + index * step for index in range(4_000)])
    assert line.target_ms() < 5
    assert abs(float(line.rows.least_ns[0]) / MS - (100 + 4_000 * step)) < 3


def test_old_lateness_is_forgotten():
    line = Line()
    line.packets([60.0 if index % 10 == 0 else 0.0 for index in range(500)])
    assert line.target_ms() > 55
    line.packets([0.0] * 6_000)
    assert line.target_ms() < 2


def test_rows_do_not_mix_and_a_new_stream_begins_afresh():
    line = Line()
    line.packets([0.0, 80.0] * 60)
    line.packets([0.0] * 120, row=1)
    assert line.target_ms(0) > 70
    assert line.target_ms(1) < 2
    line.delay.forget(0)
    line.packets([7_000.0] * 2 * KNOWN)
    assert line.target_ms(0) < 2


def test_what_is_later_than_the_range_counts_as_that_late():
    line = Line()
    line.packets([0.0, RANGE_NS / MS + 500] * 5)
    assert line.rows.least_ns[0] == 0


def test_times_that_jump_further_than_any_route_are_no_reason_for_more_delay():
    line = Line()
    line.packets([0.0] * 500)
    line.packets([-1_000.0] * 2 * SETTLE_TICKS)
    assert line.rows.least_ns[0] == -1_000 * MS
    assert line.target_ms() < 2
