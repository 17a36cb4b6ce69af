from collections import Counter

import numpy as np
import pytest

from mediaworker.core.address import address_key
from mediaworker.core.reporting import rtcp, xr
from mediaworker.core.reporting.reports import INTERVAL_NS, Reports
from mediaworker.core.rows import Rows
from shared.contracts import RtpEndpoint

pytestmark = pytest.mark.unit

HOST = "192.0.2.1"
S = 1_000_000_000


class Bed:
    """One started row that has received 9 of 10 packets."""

    def __init__(self, rtcp_port: int = 0, *, mux: bool = False) -> None:
        self.rows = Rows(2, 1)
        self.rows.take(0)
        self.rejected: Counter[str] = Counter()
        self.reports = Reports(self.rows, self.rejected, np.random.default_rng(1))
        rows = self.rows
        rows.negotiated[0] = address_key(HOST, 4_000)
        rows.out_ssrc[0] = 0x01020304
        rows.base_ext[0], rows.ext_max[0], rows.received[0] = 1, 10, 9
        rows.ssrc[0] = int.from_bytes((77).to_bytes(4, "big"), "little")
        rows.pinned[0] = True
        rows.jitter_ns[0] = 2_000_000
        remote = RtpEndpoint(host=HOST, rtp_port=4_000, rtcp_port=rtcp_port)
        self.reports.aim(0, self.reports.address(remote, mux=mux), mux=mux)
        self.reports.start(0, 0)

    def due(self, now_ns: int, sent_ns: int = 0) -> list[rtcp.Report]:
        self.reports.due(slice(0, 1), now_ns)
        return [
            report for packet in self.reports.take(now_ns + sent_ns) if (report := rtcp.parse(packet.data))
        ]

    def told(self, *blocks: rtcp.Block, sender: rtcp.SenderInfo | None = None, ssrc: int = 77, port: int = 4_001,
             now_ns: int = 0, extended: xr.Extended | None = None) -> None:  # fmt: skip
        data = rtcp.compound(ssrc, "phone", sender, blocks[0] if blocks else None, extended=extended)
        self.reports.receive(0, data, address_key(HOST, port), now_ns)


def test_reports_come_at_random_within_half_and_one_and_a_half_intervals():
    bed = Bed()
    times = []
    for step in range(1, 2_000):
        times += [step / 10 for _ in bed.due(step * S // 10)]
    gaps = np.diff([0, *times])
    assert gaps[1:].min() >= INTERVAL_NS / S * 0.5
    assert INTERVAL_NS / S * 0.25 <= gaps[0] <= INTERVAL_NS / S * 0.75 + 0.1
    assert gaps.max() <= INTERVAL_NS / S * 1.5 + 0.1
    assert gaps.std() > 0.5


def test_a_report_says_what_was_received():
    bed = Bed()
    (report,) = bed.due(20 * S)
    block = report.blocks[0]
    assert (block.ssrc, block.fraction_lost, block.lost, block.highest, block.jitter) == (77, 25, 1, 10, 16)
    assert report.sender is None
    assert bed.reports.counts == {("out", "rr"): 1, ("out", "xr"): 1, ("out", "bye"): 0}


def test_loss_is_of_the_interval_and_a_sender_reports_what_it_sent():
    bed = Bed()
    bed.due(20 * S)
    bed.rows.ext_max[0] += 100
    bed.rows.received[0] += 100
    bed.rows.packets_out[0] = 50
    bed.rows.out_time[0] = 8_000
    (report,) = bed.due(40 * S)
    assert report.blocks[0].fraction_lost == 0
    assert report.sender == rtcp.SenderInfo(
        ntp=rtcp.ntp_time(40 * S), rtp_time=8_000, packets=50, octets=8_000
    )
    (again,) = bed.due(60 * S)
    assert again.sender is None


def test_the_peers_report_gives_its_figures_and_the_round_trip():
    bed = Bed()
    sent = rtcp.middle(rtcp.ntp_time(10 * S))
    block = rtcp.Block(
        ssrc=0x01020304, fraction_lost=128, lost=7, highest=1, jitter=80, lsr=sent, dlsr=65_536
    )
    bed.told(block, now_ns=11 * S + S // 20)
    rows = bed.rows
    assert (rows.jitter_out_ms[0], rows.loss_out[0], rows.lost_out[0]) == (10.0, 0.5, 7)
    assert rows.rtt_ms[0] == pytest.approx(50, abs=0.1)
    assert sum(bed.reports.loss.counts) == 1


def test_a_block_about_another_stream_is_not_ours():
    bed = Bed()
    bed.told(rtcp.Block(ssrc=5, fraction_lost=128, lost=7, highest=1, jitter=80))
    assert bed.rows.lost_out[0] == 0


def test_the_peers_sender_report_is_answered_with_its_time_and_our_delay():
    bed = Bed()
    sender = rtcp.SenderInfo(ntp=0x1234_5678_9ABC_DEF0, rtp_time=0, packets=1, octets=1)
    bed.told(sender=sender, now_ns=18 * S)
    (report,) = bed.due(20 * S)
    assert (report.blocks[0].lsr, report.blocks[0].dlsr) == (0x5678_9ABC, 2 * 65_536)


def test_only_the_media_host_may_report():
    bed = Bed()
    data = rtcp.compound(77, "x", None, None)
    bed.reports.receive(0, data, address_key("203.0.113.9", 4_001), 0)
    bed.told(port=9)
    bed.reports.receive(1, data, address_key(HOST, 4_001), 0)
    bed.told(ssrc=78)
    bed.reports.receive(0, b"\x80", address_key(HOST, 4_001), 0)
    assert bed.rejected == {"rtcp_source": 3, "rtcp_ssrc": 1, "rtcp_format": 1}


def test_reports_go_where_they_were_negotiated_to():
    bed = Bed(rtcp_port=9_999)
    bed.reports.due(slice(0, 1), 20 * S)
    assert bed.reports.take(20 * S)[0].to == address_key(HOST, 9_999)


def test_reports_follow_a_source_behind_a_nat():
    bed = Bed()
    bed.rows.source[0] = address_key("198.51.100.1", 7_000)
    bed.reports.follow(0)
    bed.reports.farewell(0, 5)
    packet = bed.reports.take_of(0)[0]
    assert packet.to == address_key("198.51.100.1", 7_001)
    assert rtcp.parse(packet.data).bye == [0x01020304]
    assert bed.reports.take(5) == []


def test_a_leg_never_started_says_no_goodbye():
    bed = Bed()
    bed.rows.take(0)
    bed.reports.farewell(1, 5)
    assert bed.reports.take(5) == []


def test_a_leg_that_heard_nothing_reports_nothing_about_it():
    bed = Bed()
    bed.rows.received[0] = 0
    (report,) = bed.due(20 * S)
    assert report.blocks == []
    assert report.extended is not None
    assert report.extended.metrics == []


def test_times_are_those_of_the_sending_not_of_the_tick():
    bed = Bed()
    bed.rows.packets_out[0] = 50
    bed.rows.out_time[0] = 8_000
    bed.told(sender=rtcp.SenderInfo(ntp=1 << 40, rtp_time=0, packets=1, octets=1), now_ns=19 * S)
    (report,) = bed.due(20 * S, sent_ns=S // 100)
    assert report.sender is not None
    assert report.sender.ntp == rtcp.ntp_time(20 * S + S // 100)
    assert report.sender.rtp_time == 8_000 + 80
    assert report.blocks[0].dlsr == 65_536 * 101 // 100


@pytest.mark.parametrize(("clock", "hz"), [(160, 8_000), (960, 48_000), (882, 44_100)])
def test_jitter_travels_in_units_of_the_legs_clock(clock: int, hz: int):
    bed = Bed()
    bed.rows.clock[0] = clock
    (report,) = bed.due(20 * S)
    assert report.blocks[0].jitter == hz * 2 // 1_000
    bed.told(rtcp.Block(ssrc=0x01020304, fraction_lost=0, lost=0, highest=1, jitter=hz // 100))
    assert bed.rows.jitter_out_ms[0] == pytest.approx(10)


def test_a_step_of_the_wall_clock_or_of_the_peers_leaves_the_round_trip_alone():
    bed = Bed()
    bed.reports.wall_offset_ns = 1_700_000_000 * S
    lsr = rtcp.middle(rtcp.ntp_time(bed.reports.wall_offset_ns + 10 * S))
    bed.told(rtcp.Block(ssrc=0x01020304, fraction_lost=0, lost=0, highest=1, jitter=0, lsr=lsr, dlsr=65_536),
             now_ns=11 * S + S // 20)  # fmt: skip
    assert bed.rows.rtt_ms[0] == pytest.approx(50, abs=0.1)
    # A peer whose clock jumped answers with a time that we never sent: the figure of before stays.
    bed.told(rtcp.Block(ssrc=0x01020304, fraction_lost=0, lost=0, highest=2, jitter=0, lsr=lsr ^ 1 << 30, dlsr=0),
             now_ns=12 * S)  # fmt: skip
    assert bed.rows.rtt_ms[0] == pytest.approx(50, abs=0.1)
    assert sum(bed.reports.round_trips.counts) == 1


def test_a_receiver_asks_for_a_round_trip_and_answers_the_peers():
    bed = Bed()
    asked = xr.Extended(ssrc=77, reference_time=0x0000_1234_5678_0000)
    bed.told(extended=asked, now_ns=18 * S)
    (report,) = bed.due(20 * S)
    assert report.extended is not None
    assert report.extended.reference_time == rtcp.ntp_time(20 * S)
    assert report.extended.delays == [xr.DelaySince(ssrc=77, last=0x1234_5678, delay=2 * 65_536)]
    answer = xr.DelaySince(ssrc=0x01020304, last=rtcp.middle(rtcp.ntp_time(20 * S)), delay=65_536)
    other = xr.DelaySince(ssrc=5, last=1, delay=0)
    bed.told(extended=xr.Extended(ssrc=77, delays=[other, answer]), now_ns=21 * S + S // 10)
    assert bed.rows.rtt_ms[0] == pytest.approx(100, abs=0.1)


def test_a_sender_asks_with_its_sender_report():
    bed = Bed()
    bed.rows.packets_out[0] = 1
    (report,) = bed.due(20 * S)
    assert report.extended is not None
    assert report.extended.reference_time is None


def test_voip_metrics_are_sent_and_read():
    bed = Bed()
    (report,) = bed.due(20 * S)
    assert report.extended is not None
    (sent,) = report.extended.metrics
    assert (sent.ssrc, sent.loss_rate, sent.gmin) == (77, 25, 16)
    theirs = xr.VoipMetrics(ssrc=0x01020304, discard_rate=64, end_delay_ms=90)
    bed.told(extended=xr.Extended(ssrc=77, metrics=[xr.VoipMetrics(ssrc=5, discard_rate=255), theirs]))
    assert (bed.rows.discard_out[0], bed.rows.delay_out_ms[0]) == (0.25, 90)


def test_extended_reports_can_be_left_out():
    bed = Bed()
    bed.reports = Reports(bed.rows, bed.rejected, np.random.default_rng(1), extended=False)
    (report,) = bed.due(20 * S)
    assert report.extended is None


def test_on_a_shared_port_reports_go_and_come_where_media_does():
    bed = Bed(rtcp_port=9_999, mux=True)
    bed.reports.due(slice(0, 1), 20 * S)
    (packet,) = bed.reports.take(20 * S)
    assert (packet.to, packet.mux) == (address_key(HOST, 4_000), True)
    bed.told(port=4_000)
    bed.rows.source[0] = address_key("198.51.100.1", 7_000)
    bed.reports.follow(0)
    bed.reports.farewell(0, 21 * S)
    assert bed.reports.take_of(0)[0].to == address_key("198.51.100.1", 7_000)
    assert bed.rejected == {}


def test_an_address_learnt_stays_until_another_is_negotiated():
    bed = Bed()
    bed.told(port=4_001)
    learnt, negotiated = address_key("198.51.100.1", 7_001), address_key(HOST, 4_001)
    bed.rows.rtcp_to[0] = learnt
    bed.reports.aim(0, negotiated, mux=False)
    assert int(bed.rows.rtcp_to[0]) == learnt
    bed.reports.aim(0, address_key(HOST, 5_001), mux=False)
    assert int(bed.rows.rtcp_to[0]) == address_key(HOST, 5_001)


def hear(bed: Bed, *, highest: int | None, sent: int = 250) -> int:
    """The peer reports after `sent` more packets of ours; how many reports in a row said that it got nothing."""
    bed.rows.packets_out[0] += sent
    blocks = [] if highest is None else [
        rtcp.Block(ssrc=0x01020304, fraction_lost=0, lost=0, highest=highest, jitter=0)
    ]  # fmt: skip
    bed.told(*blocks)
    return int(bed.rows.deaf_reports[0])


def test_a_peer_that_gets_nothing_is_told_by_what_it_reports():
    bed = Bed()
    assert [hear(bed, highest=number) for number in (10, 260, 260, 260, 300)] == [0, 0, 1, 2, 0]
    assert [hear(bed, highest=None), hear(bed, highest=None)] == [1, 2]
    assert hear(bed, highest=None, sent=3) == 2


def test_another_ssrc_says_goodbye_for_the_old_one_and_counts_anew():
    bed = Bed()
    bed.rows.packets_out[0] = 50
    bed.reports.renamed(0, 0x01020304, 10 * S)
    assert bed.reports.take(10 * S) == []
    bed.rows.out_ssrc[0] = 0x0A0B0C0D
    bed.reports.renamed(0, 0x01020304, 10 * S)
    farewell = rtcp.parse(bed.reports.take(10 * S)[0].data)
    assert farewell is not None
    assert (farewell.ssrc, farewell.bye) == (0x01020304, [0x01020304])
    bed.rows.packets_out[0] += 7
    (report,) = bed.due(20 * S)
    assert report.sender is not None
    assert (report.ssrc, report.sender.packets, report.sender.octets) == (0x0A0B0C0D, 7, 7 * 160)


def test_a_leg_that_ends_before_its_report_was_written_says_only_goodbye():
    bed = Bed()
    bed.reports.due(slice(0, 1), 20 * S)
    bed.reports.farewell(0, 20 * S)
    (packet,) = bed.reports.take(20 * S)
    report = rtcp.parse(packet.data)
    assert report is not None
    assert report.bye == [0x01020304]


class _Cipher:
    """Seals by turning octets over."""

    def seal_rtcp(self, row: int, data: bytes) -> bytes:
        return bytes(255 - octet for octet in data) if row == 0 else b""

    def unseal_rtcp(self, _row: int, data: bytes, _arrived_ns: int) -> bytes | None:
        return bytes(255 - octet for octet in data) if data[0] < 128 else None


def test_every_packet_goes_through_the_legs_keys():
    bed = Bed()
    bed.reports = Reports(bed.rows, bed.rejected, np.random.default_rng(1), srtp=_Cipher())  # type: ignore[arg-type]
    bed.reports.due(slice(0, 1), 20 * S)
    (packet,) = bed.reports.take(20 * S)
    assert rtcp.parse(packet.data) is None
    bed.reports.receive(0, packet.data[:0] + bytes(255 - o for o in rtcp.compound(77, "x", None, None)),
                        address_key(HOST, 4_001), 0)  # fmt: skip
    bed.told()
    assert bed.reports.counts["in", "rr"] == 1
    assert bed.rejected == {}


def test_a_leg_on_hold_without_an_address_gets_no_report():
    """RFC 2543's hold: to the kernel 0.0.0.0 is this machine, and its ports are not the caller's to name."""
    bed = Bed()
    nowhere = RtpEndpoint(host="0.0.0.0", rtp_port=6_379)
    bed.reports.aim(0, bed.reports.address(nowhere), mux=False)
    assert bed.due(10 * S) == []
    bed.reports.farewell(0, 11 * S)
    assert bed.reports.take(11 * S) == []
