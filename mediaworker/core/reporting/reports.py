"""RTCP of the legs: what we report and what we are told (RFC 3550 section 6, RFC 3611).

A leg reports every 2.5 to 7.5 s (6.2: the least interval of 5 s, randomised by half; half of it before the first one), at its
own time. Two members share the 5 % of RTCP: above 12 kbit/s of media the least interval is always the longer one, so
neither the membership nor the mean packet size is kept, timer reconsideration (6.3.3) would compute what it has, and
its compensation of e - 3/2 is left out with it. A packet is written when it is sent, so that its times are those of its
sending. Must not read a clock: the wall clock is `now_ns` plus an offset that the shell sets once, so that a step of the
wall clock never reaches a round trip.
"""

from collections import Counter
from typing import Final, NamedTuple

import numpy as np

from mediaworker.core.address import address_key, host_of, port_of, same_host
from mediaworker.core.inbound import sequence
from mediaworker.core.inbound.quality import Histogram
from mediaworker.core.reporting import rtcp, xr
from mediaworker.core.reporting.voip import voip_metrics
from mediaworker.core.rows import UNSET, Rows
from mediaworker.core.srtp import SrtpLegs
from shared.contracts import RtpEndpoint
from shared.metrics import JITTER_BUCKETS, LOSS_BUCKETS, RTT_BUCKETS
from shared.units import FRAME_SAMPLES, NS_PER_MS, NS_PER_S, TICK_MS

INTERVAL_NS = 5 * NS_PER_S
TICKS_PER_S: Final = 1_000 // TICK_MS
JUDGED_PACKETS: Final = 25
"""A report that comes after fewer packets of ours says nothing about whether they arrive."""


class RtcpPacket(NamedTuple):
    """A packet for the RTCP socket of a row, or for its RTP socket (`mux`)."""

    row: int
    data: bytes
    to: int
    """Address number of the peer's RTCP port."""
    mux: bool = False


class Reports:
    """Builds and reads reports; keeps the histograms of their figures. `extended`: whether XR is sent."""

    def __init__(
        self,
        rows: Rows,
        rejected: Counter[str],
        random: np.random.Generator,
        *,
        srtp: SrtpLegs | None = None,
        extended: bool = True,
        buffer_limit_ms: int = 0,
    ) -> None:
        self._rows = rows
        self._rejected = rejected
        self._random = random
        self._srtp = srtp
        self._extended = extended
        self._limit_ms = buffer_limit_ms
        self._cname = f"{int(random.integers(1 << 62)):x}@voicefarm"
        self.wall_offset_ns = 0
        self._out: list[RtcpPacket] = []
        self._due: list[int] = []
        self._tick_ns = 0
        self.jitter = Histogram(JITTER_BUCKETS)
        """As the peers report it."""
        self.loss = Histogram(LOSS_BUCKETS)
        self.round_trips = Histogram(RTT_BUCKETS)
        self.counts: Counter[tuple[str, str]] = Counter()
        """Packets by direction and kind: sr, rr, xr, bye."""

    @staticmethod
    def address(remote: RtpEndpoint, *, mux: bool = False) -> int:
        """Where reports go until the peer's real address is known. Raises Refused."""
        if mux:
            return address_key(remote.host, remote.rtp_port)
        return address_key(remote.host, remote.rtcp_port or min(remote.rtp_port + 1, 65_535))

    def aim(self, row: int, to: int, *, mux: bool) -> None:
        """What was negotiated; an address learnt since stays unless the negotiated one changed."""
        rows = self._rows
        if to != int(rows.rtcp_negotiated[row]) or mux != bool(rows.mux[row]):
            rows.rtcp_to[row] = rows.rtcp_negotiated[row] = to
        rows.mux[row] = mux

    def start(self, row: int, now_ns: int) -> None:
        self._rows.report_due_ns[row] = now_ns + self._interval() // 2

    def follow(self, row: int) -> None:
        """The row's source is another one than negotiated: its RTCP is taken to be one port above it, or there too."""
        rows = self._rows
        source = int(rows.source[row])
        if rows.mux[row]:
            rows.rtcp_to[row] = source
        elif not same_host(source, int(rows.rtcp_to[row])):
            rows.rtcp_to[row] = address_key(host_of(source), min(port_of(source) + 1, 65_535))

    def due(self, span: slice, now_ns: int) -> None:
        """Notes the rows whose time has come; `take` writes their reports."""
        self._tick_ns = now_ns
        due = self._rows.report_due_ns[span]
        for row in (np.flatnonzero((due > UNSET) & (due <= now_ns)) + span.start).tolist():
            self._due.append(row)
            self._rows.report_due_ns[row] = now_ns + self._interval()

    def renamed(self, row: int, before: int, now_ns: int) -> None:
        """The row may send under another SSRC than `before`: that one says goodbye and the counts begin anew (8.2)."""
        rows = self._rows
        if before == int(rows.out_ssrc[row]):
            return
        if rows.report_due_ns[row] > UNSET:
            self._seal(row, rtcp.compound(before, self._cname, None, None, bye=True))
            self._count("out", "rr", extended=False, bye=True)
        rows.octets_base[row] += self._octets(row)
        rows.packets_base[row] = rows.sent_before_report[row] = rows.sent_at_report[row] = rows.packets_out[
            row
        ]
        rows.told_highest[row], rows.deaf_reports[row] = -1, 0
        rows.report_due_ns[row] = min(int(rows.report_due_ns[row]), now_ns + self._interval() // 2)

    def farewell(self, row: int, now_ns: int) -> None:
        """The last report of a started row, with BYE (6.3.7: at once, there are only two of us)."""
        if row in self._due:
            self._due.remove(row)
        if self._rows.report_due_ns[row] > UNSET:
            self._write(row, now_ns, bye=True)

    def take(self, now_ns: int) -> list[RtcpPacket]:
        """What is to be sent now."""
        due, self._due = self._due, []
        for row in due:
            self._write(row, now_ns, bye=False)
        out, self._out = self._out, []
        return out

    def take_of(self, row: int) -> list[RtcpPacket]:
        mine = [packet for packet in self._out if packet.row == row]
        self._out = [packet for packet in self._out if packet.row != row]
        return mine

    def _interval(self) -> int:
        return int(INTERVAL_NS * (0.5 + self._random.random()))

    # --- ours

    def _write(self, row: int, now_ns: int, *, bye: bool) -> None:
        rows = self._rows
        sender = self._sender(row, now_ns)
        extended = self._extension(row, now_ns, sends=sender is not None) if self._extended else None
        data = rtcp.compound(
            int(rows.out_ssrc[row]), self._cname, sender, self._block(row, now_ns), extended=extended, bye=bye
        )
        self._count("out", "sr" if sender else "rr", extended=extended is not None, bye=bye)
        self._seal(row, data)

    def _seal(self, row: int, data: bytes) -> None:
        """The way out of every packet. A held leg may have no address (0.0.0.0, which the kernel takes for this machine)."""
        rows = self._rows
        data = self._srtp.seal_rtcp(row, data) if self._srtp else data
        if data and int(rows.rtcp_to[row]) >> 32:
            self._out.append(RtcpPacket(row, data, int(rows.rtcp_to[row]), bool(rows.mux[row])))

    def _count(self, direction: str, kind: str, *, extended: bool, bye: bool) -> None:
        self.counts[direction, kind] += 1
        self.counts[direction, "xr"] += extended
        self.counts[direction, "bye"] += bye

    def _ntp(self, now_ns: int) -> int:
        return rtcp.ntp_time(now_ns + self.wall_offset_ns)

    def _sender(self, row: int, now_ns: int) -> rtcp.SenderInfo | None:
        rows = self._rows
        packets = int(rows.packets_out[row])
        sent = packets > int(rows.sent_before_report[row])
        rows.sent_before_report[row] = packets
        if not sent:
            return None
        # The stream's clock at this moment: it was moved on to the next 20 ms by the tick.
        since_tick = max(0, now_ns - self._tick_ns) * int(rows.clock[row]) * TICKS_PER_S // NS_PER_S
        return rtcp.SenderInfo(
            ntp=self._ntp(now_ns), rtp_time=int(rows.out_time[row]) + since_tick,
            packets=packets - int(rows.packets_base[row]), octets=self._octets(row),
        )  # fmt: skip

    def _octets(self, row: int) -> int:
        """Of payload, without headers (RFC 3550 section 6.4.1)."""
        rows = self._rows
        plain = int(rows.packets_out[row] - rows.loose_packets[row])
        return plain * FRAME_SAMPLES + int(rows.loose_octets[row] - rows.octets_base[row])

    def _block(self, row: int, now_ns: int) -> rtcp.Block | None:
        rows = self._rows
        if not rows.received[row]:
            return None
        at = np.array([row])
        expected, received = (
            int(sequence.expected(rows, at)[0]),
            int(rows.received[row] - rows.duplicate[row]),
        )
        expected_now = expected - int(rows.expected_prior[row])
        lost_now = expected_now - (received - int(rows.received_prior[row]))
        rows.expected_prior[row], rows.received_prior[row] = expected, received
        fraction = 0 if expected_now <= 0 or lost_now <= 0 else min(255, (lost_now << 8) // expected_now)
        heard_of_sr = int(rows.sr_arrived_ns[row])
        return rtcp.Block(
            ssrc=self._peer(row), fraction_lost=fraction, lost=expected - received, highest=int(rows.ext_max[row]),
            jitter=int(rows.jitter_ns[row] * int(rows.clock[row]) * TICKS_PER_S / NS_PER_S),
            lsr=int(rows.sr_middle[row]), dlsr=0 if heard_of_sr == UNSET else rtcp.since(heard_of_sr, now_ns),
        )  # fmt: skip

    def _peer(self, row: int) -> int:
        return int.from_bytes(int(self._rows.ssrc[row]).to_bytes(4, "little"), "big")

    def _extension(self, row: int, now_ns: int, *, sends: bool) -> xr.Extended | None:
        """Reference time where no SR asks for a round trip, the answer to the peer's, and how its stream sounds."""
        rows = self._rows
        extended = xr.Extended(ssrc=int(rows.out_ssrc[row]))
        if not sends:
            extended.reference_time = self._ntp(now_ns)
        if int(rows.receiver_time_ns[row]) != UNSET:
            extended.delays.append(xr.DelaySince(
                ssrc=int(rows.receiver_ssrc[row]), last=int(rows.receiver_time[row]),
                delay=rtcp.since(int(rows.receiver_time_ns[row]), now_ns),
            ))  # fmt: skip
        if rows.received[row]:
            extended.metrics.append(voip_metrics(rows, row, self._peer(row), limit_ms=self._limit_ms))
        return extended

    # --- theirs

    def receive(self, row: int, data: bytes, source: int, arrived_ns: int) -> None:
        """One datagram of the row's RTCP socket, or one that looks like RTCP of its RTP socket."""
        rows = self._rows
        if not rows.opened[row] or not self._known(row, source):
            self._rejected["rtcp_source"] += 1
            return
        plain = self._srtp.unseal_rtcp(row, data, arrived_ns) if self._srtp else data
        if plain is None:
            return
        report = rtcp.parse(plain)
        if report is None:
            self._rejected["rtcp_format"] += 1
            return
        if rows.pinned[row] and report.ssrc not in {0, self._peer(row)}:
            self._rejected["rtcp_ssrc"] += 1
            return
        rows.rtcp_to[row] = source
        rows.rtcp_arrived_ns[row] = arrived_ns
        self._count(
            "in", "sr" if report.sender else "rr", extended=report.extended is not None, bye=bool(report.bye)
        )
        self._read(row, report, arrived_ns)

    def _known(self, row: int, source: int) -> bool:
        """RTCP comes from where RTP comes from, or from the address negotiated for it."""
        rows = self._rows
        media = int(rows.source[row]) or int(rows.negotiated[row])
        if source == int(rows.rtcp_to[row]) or (rows.mux[row] and source == media):
            return True
        return same_host(source, media) and port_of(source) == min(port_of(media) + 1, 65_535)

    def _read(self, row: int, report: rtcp.Report, arrived_ns: int) -> None:
        rows = self._rows
        ours = int(rows.out_ssrc[row])
        arrived = rtcp.middle(self._ntp(arrived_ns))
        if report.sender:
            rows.sr_middle[row] = rtcp.middle(report.sender.ntp)
            rows.sr_arrived_ns[row] = arrived_ns
        block = next((block for block in report.blocks if block.ssrc == ours), None)
        if block:
            self._told(row, block, arrived)
        self._heard_of(row, block)
        if report.extended:
            self._more(row, report.extended, arrived, arrived_ns)

    def _told(self, row: int, block: rtcp.Block, arrived: int) -> None:
        rows = self._rows
        seconds = block.jitter / (int(rows.clock[row]) * TICKS_PER_S)
        rows.jitter_out_ms[row] = seconds * 1_000
        rows.loss_out[row] = block.fraction_lost / 256
        rows.lost_out[row] = block.lost
        self.jitter.add(seconds)
        self.loss.add(block.fraction_lost / 256)
        self._travelled(row, rtcp.round_trip_ms(arrived, block.lsr, block.dlsr))

    def _travelled(self, row: int, rtt_ms: float | None) -> None:
        if rtt_ms is not None:
            self._rows.rtt_ms[row] = rtt_ms
            self.round_trips.add(rtt_ms * NS_PER_MS / NS_PER_S)

    def _heard_of(self, row: int, block: rtcp.Block | None) -> None:
        """Whether the peer gets our packets: a report without a block about us, or whose highest number stands still,
        says that it does not (6.4.1: a block for every source heard since the last report).
        """
        rows = self._rows
        if rows.packets_out[row] - rows.sent_at_report[row] < JUDGED_PACKETS:
            return
        rows.sent_at_report[row] = rows.packets_out[row]
        moved = block is not None and block.highest != int(rows.told_highest[row])
        rows.deaf_reports[row] = 0 if moved else rows.deaf_reports[row] + 1
        if block:
            rows.told_highest[row] = block.highest

    def _more(self, row: int, extended: xr.Extended, arrived: int, arrived_ns: int) -> None:
        rows = self._rows
        ours = int(rows.out_ssrc[row])
        if extended.reference_time is not None:
            rows.receiver_ssrc[row] = extended.ssrc
            rows.receiver_time[row] = rtcp.middle(extended.reference_time)
            rows.receiver_time_ns[row] = arrived_ns
        for answer in extended.delays:
            if answer.ssrc == ours:
                self._travelled(row, rtcp.round_trip_ms(arrived, answer.last, answer.delay))
        for metrics in extended.metrics:
            if metrics.ssrc == ours:
                rows.discard_out[row] = metrics.discard_rate / 256
                rows.delay_out_ms[row] = metrics.end_delay_ms
