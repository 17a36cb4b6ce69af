"""The sockets for machines without Linux's calls, where they differ: bounded rounds, phases, bursts, oversize."""

import socket
import time
from collections.abc import Iterator

import pytest

from mediaworker.core.engine import PHASE_FILL, Engine
from mediaworker.io.portable_sockets import PortableSockets
from mediaworker.io.socket_pairs import DATAGRAM_BYTES, MAX_ROUNDS
from tests.support.engine_caller import leg_setup, rtp

pytestmark = pytest.mark.process


class Bed:
    """Two legs in two phases, with a phone each."""

    def __init__(self) -> None:
        self.engine = Engine(PHASE_FILL + 2, seed=1, phases=2)
        self.sockets = PortableSockets(self.engine, "127.0.0.1")
        self.phones: list[socket.socket] = []
        self.rows: list[int] = []
        self.ports: list[int] = []
        for leg in range(2):
            for _ in range(
                PHASE_FILL - 1 if leg else 0
            ):  # the second phone's leg shall be in the second phase
                self.engine.open(leg_setup(), time.monotonic_ns())
            phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            phone.bind(("127.0.0.1", 0))
            phone.setblocking(False)
            host, port = phone.getsockname()
            row = self.engine.open(leg_setup(port, host=host), time.monotonic_ns())
            own = self._bind(row)
            self.engine.start(row, time.monotonic_ns())
            self.phones.append(phone)
            self.rows.append(row)
            self.ports.append(own)

    def _bind(self, row: int) -> int:
        for port in range(26_000, 27_000, 2):
            try:
                self.sockets.bind_pair(port, row)
            except Exception as error:
                if getattr(error, "reason", "") != "port_busy":
                    raise
            else:
                return port
        raise AssertionError("no free pair")

    def say(self, leg: int, number: int, payload: bytes = bytes([0x90]) * 160) -> None:
        self.phones[leg].sendto(rtp(number, 160 * number, payload), ("127.0.0.1", self.ports[leg]))

    def slot(self) -> None:
        now_ns = time.monotonic_ns()
        self.sockets.drain(now_ns)
        self.engine.tick(now_ns)
        self.sockets.flush()

    def packets(self, leg: int) -> int:
        return self.engine.stats(self.rows[leg]).packets_in

    def close(self) -> None:
        self.sockets.close_all()
        for phone in self.phones:
            phone.close()


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.close()


def test_legs_are_served_in_their_own_phase(bed: Bed) -> None:
    assert {bed.engine.rows.phase_of(row) for row in bed.rows} == {0, 1}
    for leg in range(2):
        bed.say(leg, 0)
    seen = []
    for _ in range(2):
        bed.slot()
        seen.append((bed.packets(0), bed.packets(1)))
    assert sorted(seen[0]) == [0, 1], "one phase at a time"
    assert seen[1] == (1, 1)


def test_flood_of_one_leg_takes_a_bounded_number_per_round_and_harms_no_neighbour(bed: Bed) -> None:
    for number in range(MAX_ROUNDS * 2):
        bed.say(0, number)
    bed.say(1, 0)
    for _ in range(2):
        bed.slot()
    assert bed.packets(0) == MAX_ROUNDS
    assert bed.packets(1) == 1
    for _ in range(2):
        bed.slot()
    assert bed.packets(0) == MAX_ROUNDS * 2


def test_datagram_that_is_too_long_is_counted_and_the_next_one_is_read(bed: Bed) -> None:
    bed.say(0, 0, b"\x90" * DATAGRAM_BYTES)
    bed.say(0, 1)
    for _ in range(2):
        bed.slot()
    assert bed.engine.rejected["long"] == 1
    assert bed.packets(0) == 1


def test_longest_datagram_that_fits_is_looked_at(bed: Bed) -> None:
    bed.say(0, 0, b"\x90" * (DATAGRAM_BYTES - 12))
    for _ in range(2):
        bed.slot()
    assert bed.engine.rejected["long"] == 0


def test_closed_leg_is_asked_no_more(bed: Bed) -> None:
    bed.engine.close(bed.rows[0], time.monotonic_ns())
    bed.sockets.close(bed.rows[0])
    assert len(bed.sockets) == 1
    bed.say(1, 0)
    for _ in range(2):
        bed.slot()
    assert bed.packets(1) == 1
    bed.sockets.close(bed.rows[0])  # once more is nothing
