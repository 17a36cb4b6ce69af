"""The socket: nothing that is sent or asked for ends it."""

import asyncio
import socket

import pytest

from sipfront.io.udp import UdpSocket

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "to",
    [("127.0.0.1", 0), ("127.0.0.1", 99_999), ("127.0.0.1", -1), ("not an address", 5060), ("a\0b", 5060)],
)
async def test_address_that_cannot_be_sent_to_is_counted_and_the_socket_lives(to):
    udp = UdpSocket("127.0.0.1", 0, 65_536)
    got: asyncio.Queue[tuple[bytes, tuple[str, int], str]] = asyncio.Queue()
    udp.listen(lambda *datagram: got.put_nowait(datagram))
    try:
        assert udp.send(b"x", to) is False
        assert udp.send_failures == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            peer.sendto(b"hello", ("127.0.0.1", udp.port))
            data, source, local = await asyncio.wait_for(got.get(), 5)
            assert (data, source, local) == (b"hello", peer.getsockname(), "127.0.0.1")
            assert udp.send(b"back", source)
            assert peer.recv(10) == b"back"
    finally:
        udp.close()


async def test_socket_bound_to_all_says_the_address_of_the_route():
    udp = UdpSocket("0.0.0.0", 0, 65_536)
    try:
        assert udp.local_host("127.0.0.1") == "127.0.0.1"
        assert udp.local_host("127.0.0.1") == "127.0.0.1"
        assert udp.local_host("no address") == "127.0.0.1"
    finally:
        udp.close()
    fixed = UdpSocket("0.0.0.0", 0, 65_536, "sip.example")
    assert fixed.local_host("127.0.0.1") == "sip.example"
    fixed.close()


async def test_burst_larger_than_a_wake_up_is_read_to_its_end():
    udp = UdpSocket("127.0.0.1", 0, 4_194_304)
    seen: list[bytes] = []
    udp.listen(lambda data, _source, _local: seen.append(data))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for number in range(200):
                peer.sendto(str(number).encode(), ("127.0.0.1", udp.port))
        async with asyncio.timeout(5):
            while len(seen) < 200:
                await asyncio.sleep(0)
        assert seen == [str(number).encode() for number in range(200)]
    finally:
        udp.close()


async def test_socket_of_both_families_answers_an_ipv4_peer():
    try:
        udp = UdpSocket("::", 0, 65_536)
    except OSError:
        pytest.skip("no IPv6 here")
    got: asyncio.Queue[tuple[bytes, tuple[str, int], str]] = asyncio.Queue()
    udp.listen(lambda *datagram: got.put_nowait(datagram))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(5)
            peer.bind(("127.0.0.1", 0))
            peer.sendto(b"hello", ("127.0.0.1", udp.port))
            _, source, _ = await asyncio.wait_for(got.get(), 5)
            assert source == peer.getsockname()
            assert udp.send(b"back", source)
            assert peer.recv(10) == b"back"
    finally:
        udp.close()
