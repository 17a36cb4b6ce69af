"""RTCP through real sockets: round trips from the kernel's times, and one port for both."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.reporting import rtcp
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.socket_pairs import SocketPairs
from mediaworker.io.sockets import KINDS, able_here
from shared.contracts import RtpEndpoint
from shared.units import NS_PER_MS, NS_PER_S
from tests.support.engine_caller import leg_setup, rtp
from tests.support.processes import wait_until

pytestmark = pytest.mark.process

HERE = [kind for name, kind in KINDS.items() if not able_here()[name]]
SO_TIMESTAMPNS = 35
WAY_MS = 60


class Phone:
    """A pair of ports whose second one knows when the kernel got a packet."""

    def __init__(self) -> None:
        self.rtp = self._socket()
        self.rtcp = self._socket()
        self.rtcp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    @staticmethod
    def _socket() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        return made

    def report(self) -> tuple[rtcp.Report, int] | None:
        """A report of the farm's and its arrival on the wall clock."""
        try:
            data, extras, _, _ = self.rtcp.recvmsg(1_500, 64)
        except BlockingIOError:
            return None
        seconds, rest = struct.unpack("@qq", extras[0][2])
        report = rtcp.parse(data)
        assert report is not None
        return report, seconds * NS_PER_S + rest

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class Bed:
    def __init__(self, kind: type[SocketPairs]) -> None:
        self.engine = Engine(2, seed=1, phases=1)
        self.sockets = kind(self.engine, "127.0.0.1")
        self.loop = MediaLoop(self.engine, self.sockets)
        self.phone = Phone()
        self.port = 0

    def open(self, *, mux: bool = False) -> int:
        port = self.phone.rtp.getsockname()[1]
        remote = RtpEndpoint(host="127.0.0.1", rtp_port=port, rtcp_port=self.phone.rtcp.getsockname()[1])
        row = self.engine.open(leg_setup(remote=remote, rtcp_mux=mux), time.monotonic_ns())
        self.port = self._bind(row)
        self.engine.start(row, time.monotonic_ns())
        return row

    def _bind(self, row: int) -> int:
        for port in range(28_000, 29_000, 2):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                try:
                    one.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.sockets.bind_pair(port, row)
            return port
        raise AssertionError("no free port")

    def say(self, number: int) -> None:
        self.phone.rtp.sendto(rtp(number, 160 * number, bytes([0x90]) * 160), ("127.0.0.1", self.port))

    def ask(self, row: int) -> None:
        """The row's next report is due now."""
        self.engine.rows.report_due_ns[row] = 0

    def close(self) -> None:
        self.sockets.close_all()
        self.phone.close()


@pytest.fixture(params=HERE, ids=lambda kind: kind.__name__)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    made = Bed(request.param)
    yield made
    made.close()


def measure(bed: Bed, row: int) -> float:
    """One round trip to a phone that is `WAY_MS` away there and back: it keeps a report longer and says less."""
    got = []

    def reported() -> bool:
        bed.loop.run_slot()
        found = bed.phone.report()
        got.extend([found] if found and found[0].sender else [])
        return bool(got)

    bed.engine.rows.rtt_ms[row] = -1
    bed.ask(row)
    wait_until(reported, 10, "a sender report")
    report, arrived_ns = got[0]
    assert report.sender is not None
    wait_until(
        lambda: bed.loop.run_slot() and time.time_ns() - arrived_ns > WAY_MS * NS_PER_MS, 10, "the way"
    )
    held = rtcp.since(arrived_ns + WAY_MS * NS_PER_MS, time.time_ns())
    block = rtcp.Block(
        ssrc=report.ssrc, fraction_lost=0, lost=0, highest=1, jitter=0,
        lsr=rtcp.middle(report.sender.ntp), dlsr=held,
    )  # fmt: skip
    bed.phone.rtcp.sendto(rtcp.compound(77, "phone", None, block), ("127.0.0.1", bed.port + 1))
    wait_until(lambda: bed.loop.run_slot() and bed.engine.rows.rtt_ms[row] >= 0, 10, "the answer")
    return float(bed.engine.rows.rtt_ms[row])


def test_a_round_trip_is_the_networks_and_not_the_ticks(bed: Bed) -> None:
    """The best of a few: nobody promises that a busy machine sends at once what was stamped."""
    row = bed.open()
    found: list[float] = []
    wait_until(lambda: found.append(measure(bed, row)) or abs(found[-1] - WAY_MS) <= 0.05 * WAY_MS, 30, found)
    assert min(found) >= WAY_MS - 0.5


def test_on_one_port_reports_pass_between_packets(bed: Bed) -> None:
    row = bed.open(mux=True)
    target = ("127.0.0.1", bed.port)
    bed.say(1)
    bed.say(2)
    block = rtcp.Block(
        ssrc=int(bed.engine.rows.out_ssrc[row]), fraction_lost=64, lost=9, highest=1, jitter=80
    )
    bed.phone.rtp.sendto(rtcp.compound(77, "phone", None, block), target)
    wait_until(lambda: bed.loop.run_slot() and bed.engine.stats(row).lost_out == 9, 10, "the phone's report")
    assert bed.engine.stats(row).packets_in == 2
    bed.ask(row)
    heard: list[bytes] = []

    def reported() -> bool:
        bed.loop.run_slot()
        try:
            heard.append(bed.phone.rtp.recv(2_048))
        except BlockingIOError:
            return False
        return heard[-1][1] in {rtcp.SR, rtcp.RR}

    wait_until(reported, 10, "our report on the RTP port")
    bed.engine.close(row, time.monotonic_ns())
    bed.sockets.close(row)

    def parted() -> bool:
        data = bed.phone.rtp.recv(2_048)
        report = rtcp.parse(data) if data[1] in {rtcp.SR, rtcp.RR} else None
        return report is not None and report.bye != []

    wait_until(parted, 10, "goodbye on the RTP port")
    assert bed.engine.rejected == {}
