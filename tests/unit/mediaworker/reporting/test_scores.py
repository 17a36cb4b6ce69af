import numpy as np
import pytest

from mediaworker.core.legs import QualityEvent
from mediaworker.core.reporting import scores as module
from mediaworker.core.reporting.scores import RECOVERED, Scores, call_mos, set_codec
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit

SPAN = slice(0, 4)


class Legs:
    """Started rows whose counts are moved on by hand, five seconds at a time."""

    def __init__(self, count: int = 1, *, low: float = 3.1, codec: str = "PCMU", wide: bool = False) -> None:
        self.rows = Rows(4, 1)
        for row in range(count):
            self.rows.take(0)
            self.rows.started[row] = self.rows.flowing[row] = True
            self.rows.wide[row] = wide
            set_codec(self.rows, row, codec)
        self.scores = Scores(self.rows, low=low)

    def pass_by(
        self, *, row: int = 0, packets: int = 250, lost: int = 0, late: int = 0, frames: int = 250
    ) -> None:
        rows = self.rows
        first = rows.received[row] == 0
        rows.base_ext[row] = 0 if first else rows.base_ext[row]
        rows.ext_max[row] += packets - first
        rows.received[row] += packets - lost
        rows.late[row] += late
        rows.play[row] += frames

    def interval(self, **counts: int) -> list[QualityEvent]:
        self.pass_by(**counts)
        return self.scores.step(SPAN)

    @property
    def mos(self) -> float:
        return float(self.rows.mos_in[0])


def test_a_clean_call_is_as_good_as_g711_gets():
    legs = Legs()
    assert legs.interval() == []
    assert legs.mos == pytest.approx(4.39, abs=0.02)
    assert legs.rows.mos_lq_in[0] == pytest.approx(4.41, abs=0.005)
    assert legs.rows.r_in[0] == pytest.approx(92, abs=0.6)
    assert sum(legs.scores.mos["in"].counts) == sum(legs.scores.jitter.counts) == 1


def test_loss_and_late_packets_both_count_and_only_those_of_the_interval():
    legs = Legs()
    legs.interval()
    legs.interval(lost=25, late=25)
    assert (legs.rows.loss_recent[0], legs.rows.discard_in[0]) == (0.1, 0.1)
    bad = legs.mos
    assert bad < 2.9
    legs.interval()
    assert (legs.rows.loss_recent[0], legs.rows.discard_in[0]) == (0, 0)
    assert legs.mos > 4.3
    assert legs.rows.mos_worst[0] == bad


def test_an_interval_without_packets_has_no_score():
    legs = Legs()
    legs.interval(lost=2)
    legs.interval(packets=0)
    assert (legs.mos, legs.rows.r_in[0]) == (-1, -1)
    assert legs.rows.loss_recent[0] == -1  # what was lost before a hold is not lost during it
    assert legs.rows.mos_worst[0] > 4
    assert sum(legs.scores.mos["in"].counts) == 1


def test_legs_not_started_are_left_alone():
    legs = Legs()
    legs.rows.started[0] = False
    assert legs.interval() == []
    assert legs.mos == -1


def test_delay_lowers_what_one_converses_in_not_what_one_hears():
    legs = Legs()
    legs.rows.rtt_ms[0], legs.rows.target_ns[0] = 500.0, 100_000_000
    legs.interval()
    assert legs.rows.way_in_ms[0] == 250 + 20 + 100
    assert legs.mos < 3.5
    assert legs.rows.mos_lq_in[0] > 4.4


def test_bursts_sound_worse_than_the_same_loss_spread():
    even, bursty = Legs(), Legs()
    for legs, runs in ((even, 12), (bursty, 2)):
        legs.interval()
        legs.rows.lost_frames[0] += 12
        legs.rows.lost_runs[0] += runs
        legs.interval(lost=12)
    assert even.rows.burst_ratio[0] == 1
    assert bursty.rows.burst_ratio[0] == pytest.approx(6 * (1 - 12 / 250), rel=0.01)
    assert bursty.mos < even.mos - 0.05


@pytest.mark.parametrize(("packets", "length"), [(500, 0.5), (250, 1.0), (167, 1.5), (125, 2.0), (83, 3.0)])
def test_the_length_of_packets_is_measured_and_pauses_do_not_stretch_it(packets: int, length: float):
    legs = Legs()
    legs.interval(packets=packets)
    assert legs.rows.packet_frames[0] == 0
    legs.interval(packets=packets // 3)
    legs.interval(packets=packets)
    legs.interval(packets=5)
    assert legs.rows.packet_frames[0] == length


def test_a_score_below_the_threshold_is_told_once_and_its_recovery_with_hysteresis():
    legs = Legs()
    legs.interval()
    (low,) = legs.interval(lost=40)
    assert (low.kind, low.direction, low.state) == ("quality", "in", "low")
    assert low.data["loss"] == 0.16
    assert legs.interval(lost=40) == []
    legs.interval(lost=25)
    assert 3.1 < legs.mos < 3.1 + RECOVERED
    assert legs.interval(packets=0) == []
    (recovered,) = legs.interval()
    assert recovered.state == "recovered"
    assert recovered.data["mos"] == round(legs.mos, 2)


def test_outwards_the_peers_word_is_scored():
    legs = Legs()
    assert legs.interval() == []
    assert legs.rows.mos_out[0] == -1
    legs.rows.loss_out[0], legs.rows.jitter_out_ms[0] = 0.02, 5.0
    legs.interval()
    alone = legs.rows.mos_out[0]
    assert legs.rows.way_out_ms[0] == 50
    assert 4 < alone < 4.35
    legs.rows.discard_out[0], legs.rows.delay_out_ms[0] = 0.1, 120.0
    (event,) = legs.interval()
    assert (event.direction, event.state) == ("out", "low")
    assert (event.data["loss"], event.data["jitter_ms"], event.data["delay_ms"]) == (0.02, 5.0, 140.0)
    assert legs.rows.mos_out[0] < alone


def test_wideband_legs_are_scored_on_their_own_scale():
    legs = Legs(codec="OPUS", wide=True)
    legs.interval()
    assert legs.rows.r_in[0] > 120
    assert legs.mos == pytest.approx(4.5, abs=0.02)


def test_a_calls_score_comes_from_the_losses_of_the_whole_call():
    legs = Legs()
    assert call_mos(legs.rows, 0) == (-1, -1)
    legs.interval()
    legs.interval(lost=50)
    legs.rows.loss_out[0], legs.rows.lost_out[0], legs.rows.packets_out[0] = 0.0, 50, 500
    inwards, outwards = call_mos(legs.rows, 0)
    assert legs.rows.mos_worst[0] < inwards < 4
    assert outwards == pytest.approx(inwards, abs=0.05)


@pytest.mark.parametrize(
    ("packets", "lost", "lost_frames"), [(500, 50, 25), (250, 25, 25), (125, 12, 24), (83, 8, 24)]
)
def test_intervals_that_are_all_alike_make_a_call_like_each_of_them(
    packets: int, lost: int, lost_frames: int
):
    legs = Legs()
    for _ in range(6):
        legs.pass_by(packets=packets, lost=lost)
        legs.rows.lost_frames[0] += lost_frames
        legs.rows.lost_runs[0] += 5
        legs.scores.step(SPAN)
    assert call_mos(legs.rows, 0)[0] == pytest.approx(legs.mos, abs=0.005)


def test_legs_do_not_mix():
    legs = Legs(3)
    for row, lost in enumerate((0, 25, 100)):
        legs.pass_by(row=row, lost=lost)
    legs.scores.step(SPAN)
    alone = []
    for lost in (0, 25, 100):
        single = Legs()
        single.interval(lost=lost)
        alone.append(single.mos)
    assert legs.rows.mos_in[:3].tolist() == alone
    assert np.all(np.diff(alone) < 0)


def test_an_interval_is_five_seconds():
    assert module.INTERVAL_TICKS * 20 == 5_000
