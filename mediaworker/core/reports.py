"""RTCP of the legs: what we report and what we are told (RFC 3550 section 6).

A leg reports every 2.5 to 7.5 s (6.2: 5 s, randomised by half), at its own time. The same interval is the window of the recent
loss and jitter figures that the metrics show. Must not read a clock: the wall clock is `now_ns` plus an offset that the
shell sets.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from mediaworker.core import rtcp, sequence
from mediaworker.core.address import address_key, host_of, port_of, same_host
from mediaworker.core.quality import Histogram
from mediaworker.core.rows import UNSET, Rows
from shared.contracts import RtpEndpoint
from shared.metrics import JITTER_BUCKETS, LOSS_BUCKETS
from shared.units import FRAME_SAMPLES, NS_PER_S

INTERVAL_NS = 5 * NS_PER_S
_SAMPLE_NS = 125_000


class RtcpPacket(NamedTuple):
    """A packet for the RTCP socket of a row."""

    row: int
    data: bytes
    to: int
    """Address number of the peer's RTCP port."""


class Reports:
    """Builds and reads reports; keeps the histograms of their figures."""

    def __init__(self, rows: Rows, rejected: Counter[str], random: np.random.Generator) -> None:
        self._rows = rows
        self._rejected = rejected
        self._random = random
        self._cname = f"{int(random.integers(1 << 62)):x}@voicefarm"
        self.wall_offset_ns = 0
        self.out: list[RtcpPacket] = []
        self.jitter = {"in": Histogram(JITTER_BUCKETS), "out": Histogram(JITTER_BUCKETS)}
        self.loss = {"in": Histogram(LOSS_BUCKETS), "out": Histogram(LOSS_BUCKETS)}

    @staticmethod
    def address(remote: RtpEndpoint) -> int:
        """Where reports go until the peer's real address is known. Raises Refused."""
        return address_key(remote.host, remote.rtcp_port or min(remote.rtp_port + 1, 65_535))

    def start(self, row: int, now_ns: int) -> None:
        self._rows.report_due_ns[row] = now_ns + self._interval()

    def follow(self, row: int) -> None:
        """The row's source is another one than negotiated: its RTCP is taken to be one port above it."""
        rows = self._rows
        source = int(rows.source[row])
        if not same_host(source, int(rows.rtcp_to[row])):
            rows.rtcp_to[row] = address_key(host_of(source), min(port_of(source) + 1, 65_535))

    def due(self, span: slice, now_ns: int) -> None:
        """Reports of the rows whose time has come."""
        due = self._rows.report_due_ns[span]
        for row in (np.flatnonzero((due > UNSET) & (due <= now_ns)) + span.start).tolist():
            self._window(row)
            self.out.append(self._packet(row, now_ns, bye=False))
            self._rows.report_due_ns[row] = now_ns + self._interval()

    def farewell(self, row: int, now_ns: int) -> None:
        """The last report of a started row, with BYE (6.6)."""
        if self._rows.report_due_ns[row] > UNSET:
            self.out.append(self._packet(row, now_ns, bye=True))

    def take(self) -> list[RtcpPacket]:
        out, self.out = self.out, []
        return out

    def take_of(self, row: int) -> list[RtcpPacket]:
        mine = [packet for packet in self.out if packet.row == row]
        self.out = [packet for packet in self.out if packet.row != row]
        return mine

    def _interval(self) -> int:
        return int(INTERVAL_NS * (0.5 + self._random.random()))

    # --- ours

    def _packet(self, row: int, now_ns: int, *, bye: bool) -> RtcpPacket:
        rows = self._rows
        ssrc = int(rows.out_ssrc[row])
        packets = int(rows.packets_out[row])
        sender = None
        if packets > int(rows.sent_before_report[row]):
            sender = rtcp.SenderInfo(
                ntp=rtcp.ntp_time(now_ns + self.wall_offset_ns), rtp_time=int(rows.out_time[row]),
                packets=packets, octets=self._octets(row),
            )  # fmt: skip
        rows.sent_before_report[row] = packets
        data = rtcp.compound(ssrc, self._cname, sender, self._block(row, now_ns), bye=bye)
        return RtcpPacket(row, data, int(rows.rtcp_to[row]))

    def _octets(self, row: int) -> int:
        """Of payload, without headers (RFC 3550 section 6.4.1)."""
        rows = self._rows
        plain = int(rows.packets_out[row] - rows.loose_packets[row])
        return plain * FRAME_SAMPLES + int(rows.loose_octets[row])

    def _block(self, row: int, now_ns: int) -> rtcp.Block | None:
        rows = self._rows
        if not rows.received[row]:
            return None
        at = np.array([row])
        expected, received = int(sequence.expected(rows, at)[0]), self._unique(row)
        expected_now = expected - int(rows.expected_prior[row])
        lost_now = expected_now - (received - int(rows.received_prior[row]))
        rows.expected_prior[row], rows.received_prior[row] = expected, received
        fraction = 0 if expected_now <= 0 or lost_now <= 0 else min(255, (lost_now << 8) // expected_now)
        heard_of_sr = int(rows.sr_arrived_ns[row])
        delay = 0 if heard_of_sr == UNSET else (now_ns - heard_of_sr) * 65_536 // NS_PER_S
        return rtcp.Block(
            ssrc=int.from_bytes(int(rows.ssrc[row]).to_bytes(4, "little"), "big"), fraction_lost=fraction,
            lost=expected - received, highest=int(rows.ext_max[row]), jitter=int(rows.jitter_ns[row]) // _SAMPLE_NS,
            lsr=int(rows.sr_middle[row]), dlsr=max(0, delay) & 0xFFFF_FFFF,
        )  # fmt: skip

    def _unique(self, row: int) -> int:
        return int(self._rows.received[row] - self._rows.duplicate[row])

    def _window(self, row: int) -> None:
        """Figures of the interval that ends now, before the report moves its marks."""
        rows = self._rows
        if not rows.received[row]:
            return
        expected = int(sequence.expected(rows, np.array([row]))[0]) - int(rows.expected_prior[row])
        received = self._unique(row) - int(rows.received_prior[row])
        if expected > 0:
            loss = max(0.0, (expected - received) / expected)
            rows.loss_recent[row] = loss
            self.loss["in"].add(loss)
            self.jitter["in"].add(float(rows.jitter_ns[row]) / NS_PER_S)

    # --- theirs

    def receive(self, row: int, data: bytes, source: int, arrived_ns: int) -> None:
        """One datagram of the row's RTCP socket."""
        rows = self._rows
        if not rows.opened[row] or not self._known(row, source):
            self._rejected["rtcp_source"] += 1
            return
        report = rtcp.parse(data)
        if report is None:
            self._rejected["rtcp_format"] += 1
            return
        pinned = int.from_bytes(int(rows.ssrc[row]).to_bytes(4, "little"), "big")
        if rows.pinned[row] and report.ssrc not in {0, pinned}:
            self._rejected["rtcp_ssrc"] += 1
            return
        rows.rtcp_to[row] = source
        if report.sender:
            rows.sr_middle[row] = rtcp.middle(report.sender.ntp)
            rows.sr_arrived_ns[row] = arrived_ns
        for block in report.blocks:
            if block.ssrc == int(rows.out_ssrc[row]):
                self._told(row, block, arrived_ns)

    def _known(self, row: int, source: int) -> bool:
        """RTCP comes from where RTP comes from, or from the address negotiated for it."""
        rows = self._rows
        media = int(rows.source[row]) or int(rows.negotiated[row])
        return source == int(rows.rtcp_to[row]) or (
            same_host(source, media) and port_of(source) == min(port_of(media) + 1, 65_535)
        )

    def _told(self, row: int, block: rtcp.Block, arrived_ns: int) -> None:
        rows = self._rows
        rows.jitter_out_ms[row] = block.jitter / 8
        rows.loss_out[row] = block.fraction_lost / 256
        rows.lost_out[row] = block.lost
        self.jitter["out"].add(block.jitter / 8_000)
        self.loss["out"].add(block.fraction_lost / 256)
        now = rtcp.middle(rtcp.ntp_time(arrived_ns + self.wall_offset_ns))
        rtt = rtcp.round_trip_ms(now, block)
        if rtt is not None:
            rows.rtt_ms[row] = rtt
