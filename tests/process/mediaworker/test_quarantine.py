"""What is sent to a port between two calls reaches neither: no socket is there, and a new one begins empty."""

import time

import pytest

from mediaworker.core.engine import Engine
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.sockets import open_sockets
from tests.support.engine_caller import leg_setup, rtp
from tests.support.rtp_peer import RtpPeer

pytestmark = pytest.mark.process


@pytest.mark.parametrize("cidrs", [(), ("127.0.0.0/8",)], ids=["one address", "a network"])
def test_packets_between_two_calls_are_nobodys(cidrs: tuple[str, ...]) -> None:
    """Even from an address that the second call takes media from: they were sent to the first one."""
    engine = Engine(2, seed=1, phases=1)
    sockets = open_sockets(engine, "127.0.0.1")
    loop = MediaLoop(engine, sockets)
    peer, farm = RtpPeer(0), RtpPeer(0)
    port = farm.port
    farm.socket.close()
    farm.rtcp.close()
    setup = leg_setup(peer.port, host="127.0.0.1", media_cidrs=cidrs, echo=True)

    def call() -> int:
        row = engine.open(setup, time.monotonic_ns())
        sockets.bind_pair(port, row)
        engine.start(row, time.monotonic_ns())
        return row

    def say(number: int) -> None:
        try:
            peer.socket.sendto(rtp(number, 160 * number, bytes(160)), ("127.0.0.1", port))
        except ConnectionRefusedError:
            say(number)

    try:
        first = call()
        say(1)
        loop.run_slot()
        assert engine.stats(first).packets_in == 1
        for number in range(2, 20):
            say(number)  # still on their way when the call ends
        engine.close(first)
        sockets.close(first)
        for number in range(20, 60):
            say(number)
        second = call()
        for _ in range(3):
            loop.run_slot()
        assert engine.stats(second).packets_in == 0
        assert engine.rejected == {}
        say(60)
        loop.run_slot()
        assert engine.stats(second).packets_in == 1
    finally:
        sockets.close_all()
        peer.socket.close()
        peer.rtcp.close()
