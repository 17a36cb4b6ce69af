"""Free and taken ports of this machine, blocks for farms, and the ground a plan is made on."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from voicefarm.core.plan import BLOCK_PORTS, FIRST_PORT
from voicefarm.io.ports import claim_block, find_redis_server, ground, is_free, tcp_free, udp_free

pytestmark = pytest.mark.unit


@contextmanager
def taken(kind: socket.SocketKind, host: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            holder.listen(1)
        yield int(holder.getsockname()[1])


@pytest.mark.parametrize(("kind", "check"), [(socket.SOCK_STREAM, tcp_free), (socket.SOCK_DGRAM, udp_free)])
def test_taken_port_is_not_free_and_is_again_afterwards(kind: socket.SocketKind, check: object) -> None:
    with taken(kind) as port:
        assert not check(port)  # type: ignore[operator]
    assert check(port)  # type: ignore[operator]


def test_asking_does_not_take_the_port() -> None:
    with taken(socket.SOCK_DGRAM) as port:
        pass
    assert all(udp_free(port) for _ in range(3))


def test_udp_and_tcp_ports_are_different_things() -> None:
    with taken(socket.SOCK_STREAM) as port:
        assert udp_free(port)


def test_address_that_is_not_ours_has_no_free_port() -> None:
    assert not is_free(5_060, socket.SOCK_DGRAM, "192.0.2.1")


def test_every_claim_is_another_block_and_held_while_it_is_open() -> None:
    with ExitStack() as stack:
        claims = [stack.enter_context(claim_block()) for _ in range(3)]
        ports = [claim.getsockname()[1] for claim in claims]
        assert len(set(ports)) == 3
        assert all((port - FIRST_PORT) % BLOCK_PORTS == 0 for port in ports)
        assert not any(is_free(port, socket.SOCK_STREAM, "127.0.0.1") for port in ports)


def test_ground_is_absolute_and_of_the_claimed_block(tmp_path: Path) -> None:
    with claim_block() as claim:
        found = ground(str(tmp_path / "var"), claim)
        assert found.first_port == claim.getsockname()[1]
    assert found.var == str(tmp_path / "var")
    assert found.redis_server == find_redis_server()
    assert found.udp_free is udp_free
