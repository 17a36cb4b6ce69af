from collections import Counter

import numpy as np
import pytest

from mediaworker.core import rtcp
from mediaworker.core.address import address_key
from mediaworker.core.reports import INTERVAL_NS, Reports
from mediaworker.core.rows import Rows
from shared.contracts import RtpEndpoint

pytestmark = pytest.mark.unit

HOST = "192.0.2.1"
S = 1_000_000_000


class Bed:
    """One started row that has received 9 of 10 packets."""

    def __init__(self, rtcp_port: int = 0) -> None:
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
        self.rows.rtcp_to[0] = self.reports.address(remote)
        self.reports.start(0, 0)

    def due(self, now_ns: int) -> list[rtcp.Report]:
        self.reports.due(slice(0, 1), now_ns)
        return [report for packet in self.reports.take() if (report := rtcp.parse(packet.data))]

    def told(self, *blocks: rtcp.Block, sender: rtcp.SenderInfo | None = None, ssrc: int = 77, port: int = 4_001,
             now_ns: int = 0) -> None:  # fmt: skip
        data = rtcp.compound(ssrc, "phone", sender, blocks[0] if blocks else None)
        self.reports.receive(0, data, address_key(HOST, port), now_ns)


def test_reports_come_at_random_within_half_and_one_and_a_half_intervals():
    bed = Bed()
    times = []
    for step in range(1, 2_000):
        times += [step / 10 for _ in bed.due(step * S // 10)]
    gaps = np.diff([0, *times])
    assert gaps.min() >= INTERVAL_NS / S * 0.5
    assert gaps.max() <= INTERVAL_NS / S * 1.5 + 0.1
    assert gaps.std() > 0.5


def test_a_report_says_what_was_received():
    bed = Bed()
    (report,) = bed.due(20 * S)
    block = report.blocks[0]
    assert (block.ssrc, block.fraction_lost, block.lost, block.highest, block.jitter) == (77, 25, 1, 10, 16)
    assert report.sender is None
    assert bed.rows.loss_recent[0] == pytest.approx(0.1)
    assert sum(bed.reports.loss["in"].counts) == sum(bed.reports.jitter["in"].counts) == 1


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
    assert sum(bed.reports.loss["out"].counts) == 1


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
    assert bed.reports.take()[0].to == address_key(HOST, 9_999)


def test_reports_follow_a_source_behind_a_nat():
    bed = Bed()
    bed.rows.source[0] = address_key("198.51.100.1", 7_000)
    bed.reports.follow(0)
    bed.reports.farewell(0, 5)
    packet = bed.reports.take_of(0)[0]
    assert packet.to == address_key("198.51.100.1", 7_001)
    assert rtcp.parse(packet.data).bye == [0x01020304]
    assert bed.reports.take() == []


def test_a_leg_never_started_says_no_goodbye():
    bed = Bed()
    bed.rows.take(0)
    bed.reports.farewell(1, 5)
    assert bed.reports.take() == []


def test_a_leg_that_heard_nothing_reports_nothing_about_it():
    bed = Bed()
    bed.rows.received[0] = 0
    (report,) = bed.due(20 * S)
    assert report.blocks == []
    assert sum(bed.reports.loss["in"].counts) == 0
