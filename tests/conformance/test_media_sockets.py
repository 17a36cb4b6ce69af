"""What media sockets do, whichever they are: real ones on loopback, with sources, lengths, bursts, peers that are gone."""

import resource
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.outbound.transmit import LoosePacket
from mediaworker.core.reporting import rtcp
from mediaworker.io.linux_sockets import SHORT_BYTES, LinuxSockets
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.socket_pairs import DATAGRAM_BYTES, MAX_ROUNDS, SocketPairs
from mediaworker.io.sockets import KINDS, able_here
from shared.contracts import RtpEndpoint
from shared.errors import Refused
from tests.support.engine_caller import leg_setup, rtp
from tests.support.processes import wait_until

pytestmark = pytest.mark.conformance

MISSING = able_here()
KINDS_HERE = {
    name: pytest.param(
        kind, id=name, marks=pytest.mark.skipif(bool(MISSING[name]), reason=MISSING[name] or "none")
    )
    for name, kind in KINDS.items()
}
LINUX = [KINDS_HERE[name] for name in ("uring", "compiled", "ctypes")]
EVERYWHERE = list(KINDS_HERE.values())


def udp(port: int = 0) -> socket.socket:
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", port))
    peer.setblocking(False)
    return peer


def even_port() -> int:
    """An even port whose neighbour is free too."""
    while True:
        with udp() as first:
            port = first.getsockname()[1] & ~1
        try:
            with udp(port), udp(port + 1):
                return port
        except OSError:
            continue


class Bed:
    """An engine with sockets and one phone."""

    def __init__(self, kind: type[SocketPairs]) -> None:
        self.engine = Engine(4, seed=1, phases=1)
        self.sockets = kind(self.engine, "127.0.0.1")
        self.loop = MediaLoop(self.engine, self.sockets)
        self.phone = udp()
        self.port = even_port()

    def open(self, **changes: object) -> int:
        host, port = self.phone.getsockname()
        row = self.engine.open(leg_setup(port, host=host, **changes), time.monotonic_ns())
        self.sockets.bind_pair(self.port, row)
        self.engine.start(row, time.monotonic_ns())
        return row

    def say(self, number: int, *, sender: socket.socket | None = None, ssrc: int = 77) -> None:
        data = rtp(number, 160 * number, bytes([0x90]) * 160, ssrc=ssrc)
        (sender or self.phone).sendto(data, ("127.0.0.1", self.port))

    def run(self, slots: int = 1) -> None:
        for _ in range(slots):
            self.loop.run_slot()

    def hear(self, peer: socket.socket | None = None) -> list[bytes]:
        found = []
        while True:
            try:
                found.append((peer or self.phone).recv(2_000))
            except BlockingIOError:
                return found


@pytest.fixture(params=EVERYWHERE)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Every implementation behaves alike."""
    bed = Bed(request.param)
    yield bed
    bed.sockets.close_all()
    bed.phone.close()


@pytest.fixture(params=LINUX)
def linux_bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """What needs the kernel's help."""
    bed = Bed(request.param)
    yield bed
    bed.sockets.close_all()
    bed.phone.close()


def test_what_is_said_comes_back(bed: Bed):
    row = bed.open(echo=True)
    for number in range(10):
        bed.say(number)
        bed.run()
    heard = bed.hear()
    assert len(heard) == 10
    assert heard[-1][12:] == bytes([0x90]) * 160
    assert bed.engine.stats(row).packets_in == 10
    assert bed.engine.send_errors == 0


def test_more_than_one_packet_of_a_socket_is_taken_at_once(bed: Bed):
    row = bed.open()
    for number in range(7):
        bed.say(number)
    bed.run()
    assert bed.engine.stats(row).packets_in == 7


def test_a_port_that_a_stranger_has_is_refused_and_nothing_is_left(bed: Bed):
    with udp(bed.port + 1):
        with pytest.raises(Refused) as refused:
            bed.sockets.bind_pair(bed.port, 0)
        assert refused.value.reason == "port_busy"
    bed.sockets.bind_pair(bed.port, 0)
    with pytest.raises(Refused):
        bed.sockets.bind_pair(bed.port, 1)
    assert len(bed.sockets) == 1


def test_a_closed_pair_can_be_bound_by_others(bed: Bed):
    row = bed.open()
    bed.engine.close(row)
    bed.sockets.close(row)
    bed.sockets.close(row)
    with udp(bed.port), udp(bed.port + 1):
        assert len(bed.sockets) == 0


def test_strangers_are_counted_before_the_pin_and_kept_out_by_the_kernel_after_it(linux_bed: Bed):
    bed = linux_bed
    row = bed.open(echo=True)
    with udp() as stranger:
        bed.say(1, sender=stranger)
        bed.run()
        assert bed.engine.rejected == {"source": 1}
        bed.say(1)
        bed.run()
        for number in range(50):
            bed.say(number, sender=stranger)
        bed.say(2)
        bed.run()
        assert bed.engine.rejected == {"source": 1}
        assert bed.engine.stats(row).packets_in == 2
        assert bed.hear(stranger) == []
    assert len(bed.hear()) == 3


def test_media_from_behind_a_nat_is_followed_when_its_network_is_known(bed: Bed):
    bed.open(echo=True, media_cidrs=("127.0.0.0/8",))
    with udp() as moved:
        for number in range(3):
            bed.say(number, sender=moved)
            bed.run()
        assert len(bed.hear(moved)) == 3
    assert bed.hear() == []


def test_after_a_reinvite_another_address_is_taken(bed: Bed):
    row = bed.open(echo=True)
    bed.say(1)
    bed.run()
    with udp() as other:
        host, port = other.getsockname()
        bed.engine.update(row, RtpEndpoint(host=host, rtp_port=port), leg_setup().format)
        bed.run()
        bed.say(1, sender=other, ssrc=5)
        bed.run()
        bed.say(2, sender=other, ssrc=5)
        bed.run(2)
        assert len(bed.hear(other)) == 4
    assert bed.engine.stats(row).packets_in == 3


def test_a_peer_that_is_gone_costs_no_neighbour(bed: Bed):
    row = bed.open(echo=True)
    bed.say(1)
    bed.run()
    bed.phone.close()
    bed.run(5)
    bed.phone = udp()
    bed.port = even_port()
    neighbour = bed.open(echo=True)
    for number in range(5):
        bed.say(number)
        bed.run()
    assert bed.engine.stats(neighbour).packets_in == 5
    assert len(bed.hear()) == 5
    assert bed.engine.stats(row).packets_in == 1


def test_a_datagram_too_long_is_refused_and_the_longest_is_not(bed: Bed):
    row = bed.open()
    bed.phone.sendto(rtp(1, 1, bytes(DATAGRAM_BYTES - 11)), ("127.0.0.1", bed.port))
    bed.phone.sendto(rtp(1, 1, bytes(DATAGRAM_BYTES - 12)), ("127.0.0.1", bed.port))
    bed.say(2)
    bed.run()
    assert bed.engine.rejected == {"long": 1}
    assert bed.engine.stats(row).packets_in == 2


def test_datagrams_arrive_as_they_were_sent_whatever_their_length(bed: Bed):
    """Lengths on both sides of where a datagram is split between two memories."""
    bed.open()
    taken: list[bytes] = []

    def receive(rows: object, packets: np.ndarray, lengths: np.ndarray, *_: object) -> None:
        assert packets.flags.c_contiguous
        assert packets.shape[1] % 8 == 0
        taken.extend(packets[i, : lengths[i]].tobytes() for i in range(len(lengths)))

    bed.engine.receive = receive
    random = np.random.default_rng(5)
    sizes = [1, 12, 172, SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, 652, 1_472, DATAGRAM_BYTES]
    said = [random.bytes(size) for size in sizes]
    for data in said:
        bed.phone.sendto(data, ("127.0.0.1", bed.port))
    bed.run()
    assert taken == said


def test_long_and_short_packets_of_one_drain_find_their_own_rows(bed: Bed):
    """Sixty milliseconds in one packet beside twenty, and a leg that says nothing."""
    phones, rows = [bed.phone], [bed.open(echo=True)]
    ports = [bed.port]
    for _ in range(2):
        bed.phone, bed.port = udp(), even_port()
        rows.append(bed.open(echo=True))
        phones.append(bed.phone)
        ports.append(bed.port)
    for number in range(3):
        phones[0].sendto(rtp(number, 160 * number, bytes([0x90]) * 160), ("127.0.0.1", ports[0]))
        if number == 0:
            phones[2].sendto(rtp(0, 0, bytes([0x80]) * 480, ssrc=9), ("127.0.0.1", ports[2]))
        bed.run()
    bed.run(2)
    assert [bed.engine.stats(row).packets_in for row in rows] == [3, 0, 1]
    assert bytes([0x90]) * 160 in {packet[12:] for packet in bed.hear(phones[0])}
    assert bytes([0x80]) * 160 in {packet[12:] for packet in bed.hear(phones[2])}
    for phone in phones[:2]:
        phone.close()


def test_flood_of_one_leg_takes_a_bounded_number_per_drain(bed: Bed):
    row = bed.open()
    for number in range(MAX_ROUNDS + 5):
        bed.say(number)
    bed.run()
    assert bed.engine.stats(row).packets_in == MAX_ROUNDS
    bed.run()
    assert bed.engine.stats(row).packets_in == MAX_ROUNDS + 5


def test_a_packet_that_came_late_is_taken_with_the_one_after_it(bed: Bed):
    """No packet stays behind for ever after one drain without any: the delay would stay with it."""
    row = bed.open()
    for number in range(20):
        bed.say(number)
        bed.run()
    bed.run()
    bed.say(20)
    bed.say(21)
    bed.run()
    assert bed.engine.stats(row).packets_in == 22


def test_two_packets_at_once_are_one_again_soon(bed: Bed):
    """Two came in one drain, then one in each: the spare one is found within a few drains."""
    row = bed.open()
    for number in range(20):
        bed.say(number)
        bed.run()
    bed.say(20)
    for number in range(21, 45):
        bed.say(number)
        bed.run()
    assert bed.engine.stats(row).packets_in == 45


def test_a_source_that_sends_too_much_does_not_keep_the_callers_packets_waiting(bed: Bed):
    """Four packets per drain: after the first look that found two, a drain leaves nothing behind."""
    row = bed.open()
    for number in range(4 * 40):
        bed.say(number)
        if number % 4 == 3:
            bed.run()
    assert bed.engine.stats(row).packets_in == 4 * 40


def test_what_a_stranger_sent_before_the_pin_is_refused_after_it(bed: Bed):
    """It lay in the socket's buffer when the socket was connected: only its source tells."""
    row = bed.open(echo=True)
    with udp() as stranger:
        bed.say(1)
        for number in range(2, 6):
            bed.say(number, sender=stranger, ssrc=77)
        bed.run()
        bed.run()
    assert bed.engine.stats(row).packets_in == 1
    assert bed.engine.rejected["source"] == 4


def test_loose_packets_leave_for_the_rows_destination(bed: Bed):
    """Before the pin and after it: an octet string of any length, sent from the leg's own port."""
    row = bed.open()
    bed.run()
    bed.hear()
    bed.engine._transmitter._loose += [LoosePacket(row, b"\x80\x00short"), LoosePacket(row, bytes(900))]
    bed.sockets.flush()
    bed.phone.recv(2_000)  # the leg's own packet, once more
    data, source = bed.phone.recvfrom(2_000)
    assert (data, source[1]) == (b"\x80\x00short", bed.port)
    assert bytes(900) in bed.hear()
    bed.say(1)
    bed.run()
    bed.hear()
    bed.engine._transmitter._loose += [LoosePacket(row, bytes(30))]
    bed.sockets.flush()
    assert bytes(30) in bed.hear()
    bed.engine.close(row)
    bed.sockets.close(row)
    bed.engine._transmitter._loose += [LoosePacket(row, bytes(30))]
    bed.sockets.flush()
    assert bed.hear() == []


def test_arrival_times_are_the_kernels(linux_bed: Bed):
    """The packets wait 50 ms for the drain, and their jitter is nevertheless that of their sending."""
    bed = linux_bed
    row = bed.open()
    for number in range(30):
        bed.phone.sendto(rtp(1 + number, 0, bytes(160)), ("127.0.0.1", bed.port))
    before = time.monotonic_ns()
    wait_until(lambda: time.monotonic_ns() - before > 50_000_000)
    bed.run(2)
    assert bed.engine.stats(row).packets_in == 30
    assert bed.engine.rows.arrived_ns[row] - before < 1_000_000


def test_reports_and_goodbye_reach_the_peers_rtcp_port(bed: Bed):
    port = even_port()
    with udp(port) as phone, udp(port + 1) as phone_rtcp, udp() as stranger:
        bed.phone.close()
        bed.phone = phone
        row = bed.open()
        bed.say(1)
        bed.run()
        ours = int.from_bytes(bed.hear()[0][8:12], "big")
        block = rtcp.Block(ssrc=ours, fraction_lost=64, lost=5, highest=9, jitter=80)
        report = rtcp.compound(77, "phone", None, block)
        stranger.sendto(report, ("127.0.0.1", bed.port + 1))
        phone_rtcp.sendto(report, ("127.0.0.1", bed.port + 1))
        phone_rtcp.sendto(b"nonsense", ("127.0.0.1", bed.port + 1))
        bed.run(3)
        stats = bed.engine.stats(row)
        assert (stats.jitter_out_ms, stats.loss_out_ratio, stats.lost_out) == (10.0, 0.25, 5)
        assert bed.engine.rejected == {"rtcp_source": 1, "rtcp_format": 1}
        bed.engine.close(row)
        bed.sockets.close(row)
        goodbye = rtcp.parse(bed.hear(phone_rtcp)[-1])
        assert goodbye is not None
        assert (goodbye.bye, goodbye.blocks[0].ssrc) == ([ours], 77)
    bed.phone = udp()


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_strangers_are_always_refused_where_the_kernel_does_not_help(kind: type[SocketPairs]):
    bed = Bed(kind)
    if isinstance(bed.sockets, LinuxSockets):
        bed.sockets._connect = False
    row = bed.open(echo=True)
    with udp() as stranger:
        for number in range(5):
            bed.say(number, sender=stranger)
            bed.say(number)
            bed.run()
        assert bed.engine.rejected == {"source": 5}
        assert bed.engine.stats(row).packets_in == 5
        assert bed.hear(stranger) == []
    bed.sockets.close_all()
    bed.phone.close()


def test_without_a_file_descriptor_left_the_leg_is_refused_and_the_port_is_not_at_fault(bed: Bed):
    row = bed.engine.open(leg_setup(), time.monotonic_ns())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with udp() as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, hard))
        try:
            with pytest.raises(Refused) as refused:
                bed.sockets.bind_pair(bed.port, row)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused.value.reason == "full"
    bed.sockets.bind_pair(bed.port, row)
    assert len(bed.sockets) == 1
