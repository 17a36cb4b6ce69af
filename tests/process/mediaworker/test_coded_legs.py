"""Coded legs over real sockets of every kind: long packets, short ones, several codecs in one process."""

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.socket_pairs import SocketPairs
from mediaworker.io.sockets import KINDS as SOCKETS
from mediaworker.io.sockets import able_here
from shared.contracts import MediaFormat, RtpEndpoint
from shared.errors import Refused
from tests.support.coded_caller import KINDS, coders
from tests.support.engine_caller import rtp
from tests.support.listening import loudest, share_above, tones

pytestmark = pytest.mark.process

HEARD_PACKETS = 60
DEADLINE_S = 30


@pytest.fixture(
    params=[kind for name, kind in SOCKETS.items() if not able_here()[name]], ids=lambda kind: kind.__name__
)
def sockets(request: pytest.FixtureRequest) -> Iterator[SocketPairs]:
    made: SocketPairs = request.param(Engine(8, seed=1), "127.0.0.1")
    yield made
    made.close_all()


class Phone:
    """A socket and the coders of one codec; sends a packet whenever it is told to."""

    def __init__(self, sockets: SocketPairs, wanted: MediaFormat, hz: tuple[float, ...]) -> None:
        self.format = wanted
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        remote = RtpEndpoint(host="127.0.0.1", rtp_port=self.socket.getsockname()[1])
        engine = sockets._engine
        self.row = engine.open(
            LegSetup(rtp_port=0, remote=remote, format=wanted, echo=True), time.monotonic_ns()
        )
        self.rate_hz = engine.rate_hz(self.row)
        self.clock = int(engine.rows.clock[self.row])
        self.farm = bind(sockets, self.row)
        engine.start(self.row, time.monotonic_ns())
        self.encoder, self.decoder = coders(wanted)
        self.wave = tones(self.rate_hz, 10, *hz)
        self.number = 0
        self.heard: list[bytes] = []

    def step(self) -> None:
        """20 ms of speech out, whatever came in."""
        size = self.rate_hz // 50
        at = self.number * size % (len(self.wave) - size)
        payload = self.encoder.encode(self.wave[at : at + size])
        data = rtp(self.number, self.number * self.clock, payload, kind=self.format.payload_type)
        self.socket.sendto(data, ("127.0.0.1", self.farm))
        self.number += 1
        while True:
            try:
                data = self.socket.recv(4_096)
            except BlockingIOError:
                return
            if data[1] & 0x7F == self.format.payload_type:
                self.heard.append(data[12:])

    def sound(self) -> np.ndarray:
        """The last second that was sent back."""
        return np.concatenate([self.decoder.decode(payload) for payload in self.heard])[-self.rate_hz // 2 :]


def bind(sockets: SocketPairs, row: int) -> int:
    for port in range(28_000, 29_000, 2):
        try:
            sockets.bind_pair(port, row)
        except Refused:
            continue
        return port
    raise AssertionError("no free pair")


def test_every_codec_comes_back_over_real_sockets(sockets: SocketPairs):
    names = ["PCMA", "G722", "OPUS", "L16/16000", "L16/44100"]
    phones = {name: Phone(sockets, KINDS[name], (700, 6_000) if name != "PCMA" else (700,)) for name in names}
    loop = MediaLoop(sockets._engine, sockets)

    def all_heard() -> bool:
        for _ in range(sockets._engine.phases):
            loop.step()
        for phone in phones.values():
            phone.step()
        return min(len(phone.heard) for phone in phones.values()) >= HEARD_PACKETS

    try:
        deadline = time.monotonic() + DEADLINE_S
        while not all_heard():
            assert time.monotonic() < deadline
        for name, phone in phones.items():
            sound = phone.sound()
            if name == "PCMA":
                assert loudest(sound, 8_000) == pytest.approx(700, abs=10)
            else:
                assert 0.2 < share_above(sound, 16_000, 4_000) < 0.8, name
        assert sockets._engine.send_errors == 0
        assert not sockets._engine.rejected
    finally:
        for phone in phones.values():
            phone.socket.close()
