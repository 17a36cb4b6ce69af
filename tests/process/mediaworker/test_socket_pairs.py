"""A pair's life: both ports or none, never a stranger's, and no descriptor that stays."""

import os
import socket
import time
from collections.abc import Iterator

import pytest

from mediaworker.core.engine import Engine
from mediaworker.io.portable_sockets import PortableSockets
from mediaworker.io.socket_pairs import SocketPairs
from mediaworker.io.sockets import KINDS as NAMED
from mediaworker.io.sockets import able_here
from shared.errors import Refused
from tests.support.engine_caller import leg_setup

pytestmark = pytest.mark.process

KINDS = [kind for name, kind in NAMED.items() if not able_here()[name]]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def pairs(request: pytest.FixtureRequest) -> Iterator[SocketPairs]:
    made: SocketPairs = request.param(Engine(8, seed=1, phases=1), "127.0.0.1")
    yield made
    made.close_all()


def opened(pairs: SocketPairs) -> int:
    row = pairs._engine.open(leg_setup(), time.monotonic_ns())
    pairs._engine.start(row, time.monotonic_ns())
    return row


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return made


def free_pair() -> int:
    for port in range(27_000, 28_000, 2):
        try:
            with bound(port), bound(port + 1):
                return port
        except OSError:
            continue
    raise AssertionError("no free pair")


@pytest.mark.parametrize("taken", [0, 1])
def test_one_taken_port_leaves_the_other_free_and_no_descriptor(pairs: SocketPairs, taken: int) -> None:
    port = free_pair()
    with bound(port + taken):
        before = descriptors()
        with pytest.raises(Refused) as caught:
            pairs.bind_pair(port, opened(pairs))
        assert caught.value.reason == "port_busy"
        assert descriptors() == before
        with bound(port + 1 - taken):
            assert len(pairs) == 0


def test_pair_is_held_against_others_until_it_is_closed(pairs: SocketPairs) -> None:
    port, row = free_pair(), opened(pairs)
    pairs.bind_pair(port, row)
    for each in (port, port + 1):
        with pytest.raises(OSError, match="in use"):
            bound(each)
    pairs.close(row)
    with bound(port), bound(port + 1):
        assert len(pairs) == 0


def test_many_pairs_come_and_go_and_no_descriptor_stays(pairs: SocketPairs) -> None:
    before = descriptors()
    for _ in range(20):
        port, row = free_pair(), opened(pairs)
        pairs.bind_pair(port, row)
        pairs.drain(time.monotonic_ns())
        pairs._engine.close(row, time.monotonic_ns())
        pairs.close(row)
    assert descriptors() == before


def test_row_without_a_pair_can_be_closed(pairs: SocketPairs) -> None:
    pairs.close(5)
    assert len(pairs) == 0


def test_address_of_another_machine_is_no_port_of_ours() -> None:
    elsewhere = PortableSockets(Engine(2, seed=1, phases=1), "192.0.2.1")
    with pytest.raises(Refused, match=r"192\.0\.2\.1"):
        elsewhere.bind_pair(20_000, 0)
    elsewhere.close_all()
