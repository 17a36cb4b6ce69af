import numpy as np
import pytest

from mediaworker.core.inbound import losses
from mediaworker.core.reporting import xr
from mediaworker.core.reporting.voip import buffer_ms, voip_metrics
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit


def leg() -> Rows:
    """1,000 packets expected: 20 lost, 10 more too late."""
    rows = Rows(1, 1)
    rows.take(0)
    rows.base_ext[0], rows.ext_max[0], rows.received[0], rows.late[0] = 1, 1_000, 980, 10
    rows.flowing[0], rows.target_ns[0], rows.rtt_ms[0] = True, 45_000_000, 61.2
    return rows


def test_figures_of_a_leg_fill_the_block():
    rows = leg()
    for frame in (100, 101, 110, 500):
        losses.note(rows, np.array([0]), np.array([frame]))
    rows.r_in[0], rows.mos_in[0], rows.mos_lq_in[0] = 83.4, 4.14, 4.2
    block = voip_metrics(rows, 0, 77, limit_ms=200)
    assert (block.ssrc, block.loss_rate, block.discard_rate) == (77, 5, 2)
    assert (block.burst_ms, block.burst_density) == (220, 3 * 256 // 11)
    assert (block.round_trip_ms, block.end_delay_ms) == (61, 65)
    assert (block.r_factor, block.mos_cq, block.mos_lq) == (83, 41, 42)
    assert (block.buffer_nominal_ms, block.buffer_max_ms, block.buffer_limit_ms) == (45, 45, 200)
    assert block.receiver_config == 0xF0


def test_what_is_not_known_yet_says_so():
    rows = leg()
    rows.rtt_ms[0] = -1
    block = voip_metrics(rows, 0, 77)
    assert (block.r_factor, block.mos_lq, block.mos_cq, block.signal_level) == (xr.UNKNOWN,) * 4
    assert (block.round_trip_ms, block.burst_density) == (0, 0)


def test_a_call_without_losses_is_one_gap_as_long_as_its_packets():
    rows = leg()
    assert voip_metrics(rows, 0, 77).gap_ms == 970 * 20
    rows.packet_frames[0] = 3.0
    assert voip_metrics(rows, 0, 77).gap_ms == 970 * 60
    rows.packet_frames[0] = 0.5
    assert voip_metrics(rows, 0, 77).gap_ms == 970 * 10


def test_a_wideband_rating_is_brought_to_100():
    rows = leg()
    rows.wide[0], rows.r_in[0] = True, 129.0
    assert voip_metrics(rows, 0, 77).r_factor == 100


def test_a_silent_buffer_holds_nothing():
    rows = leg()
    rows.flowing[0] = False
    assert buffer_ms(rows, np.array([0])).tolist() == [0.0]
