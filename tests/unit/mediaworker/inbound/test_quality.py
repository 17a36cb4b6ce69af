import numpy as np
import pytest

from mediaworker.core.inbound.quality import Histogram, jitter
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit


def jitter_after(arrivals_ms: list[float]) -> float:
    rows = Rows(1, 1)
    rows.take(0)
    for index, arrival in enumerate(arrivals_ms):
        jitter(rows, np.array([0]), np.array([int(arrival * 1e6)]), np.array([160 * index]))
    return float(rows.jitter_ns[0])


def test_packets_in_step_have_no_jitter():
    assert jitter_after([20 * index for index in range(50)]) == 0


def test_one_packet_late_by_16_ms_counts_1_ms_and_then_decays():
    assert jitter_after([0, 36]) == 1e6
    assert jitter_after([0, 36, 56]) == 1e6 * 15 / 16


def test_mean_and_maximum_are_of_the_running_figure():
    rows = Rows(1, 1)
    rows.take(0)
    for index, arrival in enumerate((0, 36, 56)):
        jitter(rows, np.array([0]), np.array([arrival * 1_000_000]), np.array([160 * index]))
    assert rows.jitter_max_ns[0] == 1e6
    assert rows.jitter_sum_ns[0] == pytest.approx(1e6 + 1e6 * 15 / 16)
    assert rows.jitter_count[0] == 3


def test_a_histogram_counts_up_to_and_with_each_bound():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 12.0)
