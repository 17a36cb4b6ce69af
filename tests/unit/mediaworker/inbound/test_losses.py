import numpy as np
import pytest

from mediaworker.core.inbound import losses
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit


def lose(*frames: int) -> Rows:
    rows = Rows(1, 1)
    rows.take(0)
    for frame in frames:
        losses.note(rows, np.array([0]), np.array([frame]))
    return rows


def bursts(rows: Rows, heard: int) -> losses.Bursts:
    return losses.bursts(rows, np.array([0]), np.array([heard]))


def test_losses_far_apart_are_of_the_gap():
    rows = lose(10, 10 + losses.GMIN + 1, 200)
    found = bursts(rows, 297)
    assert (rows.lost_frames[0], rows.lost_runs[0], rows.bursts[0], rows.burst_losses[0]) == (3, 3, 0, 0)
    assert (found.burst_density[0], found.burst_ms[0]) == (0, 0)
    assert found.gap_density[0] == pytest.approx(0.01)
    assert found.gap_ms[0] == 300 * 20


def test_losses_close_together_are_of_a_burst():
    rows = lose(100, 101, 101 + losses.GMIN)
    found = bursts(rows, 1_000 - 3)
    assert (rows.lost_runs[0], rows.bursts[0], rows.burst_losses[0], rows.burst_heard[0]) == (2, 1, 3, 15)
    assert found.burst_density[0] == pytest.approx(3 / 18)
    assert found.burst_ms[0] == 18 * 20
    assert found.gap_density[0] == 0
    assert found.gap_ms[0] == (1_000 - 18) / 2 * 20


def test_a_new_time_line_does_not_count_backwards():
    rows = lose(5_000, 10)
    assert (rows.lost_frames[0], rows.lost_runs[0], rows.burst_heard[0]) == (2, 1, 0)


def test_a_leg_without_losses_has_the_ratio_of_chance():
    zero = np.zeros(1, np.int64)
    assert losses.burst_ratio(zero, zero, np.array([500]), np.ones(1))[0] == 1
    assert losses.burst_ratio(zero, zero, zero, np.ones(1))[0] == 1


def test_a_lost_packet_of_60_ms_is_no_burst():
    """Ten packets of three frames lost singly among 990."""
    lost, runs, heard = np.array([30]), np.array([10]), np.array([2_940])
    assert losses.burst_ratio(lost, runs, heard, np.array([3.0]))[0] == 1
    assert losses.burst_ratio(lost, runs, heard, np.ones(1))[0] == pytest.approx(2.97, abs=0.01)
