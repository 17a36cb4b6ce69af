"""Those who attack: sockets that send a tone nobody may hear, and keep whatever reaches them, which must be nothing.

Their tone is 1,900 Hz, callers' and agents' tones are others, so that one frame of 20 ms tells whose it is.
"""

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np

from tests.support.rtp_peer import FRAME, Pcm, level_at, to_ulaw, tone

ATTACK_HZ = 1_900.0
LOUD = 1_000.0
"""Of the attackers' 8,000: what a frame with their tone in it has, also after a fade."""
GOODBYE = 203
HOST = "127.0.0.1"

Make = Callable[[int], bytes]
"""The datagram with a number."""


def tone_frames(pcm: Pcm, hz: float) -> int:
    """Frames of 20 ms in which a tone is."""
    whole = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    return sum(level_at(frame, hz) > LOUD for frame in whole)


def attack_frames(pcm: Pcm) -> int:
    """Frames in which the attackers' tone is."""
    return tone_frames(pcm, ATTACK_HZ)


_TONE = to_ulaw(tone(ATTACK_HZ, 20))


def rtp_tone(ssrc: int, *, first: int = 0, stamp: int = 0) -> Make:
    """A stream of the attackers' tone."""

    def make(number: int) -> bytes:
        seq, time_ = (first + number) & 0xFFFF, (stamp + FRAME * number) & 0xFFFF_FFFF
        return struct.pack("!BBHII", 0x80, 0, seq, time_, ssrc) + _TONE

    return make


def rtp_of_many(seed: int) -> Make:
    """Another SSRC, sequence number and time in every packet: a spray that hopes to be first somewhere."""
    random = np.random.default_rng(seed)

    def make(_: int) -> bytes:
        ssrc, seq, stamp = (int(value) for value in random.integers(0, (1 << 32, 1 << 16, 1 << 32)))
        return struct.pack("!BBHII", 0x80, 0, seq, stamp, ssrc) + _TONE

    return make


def rtcp_forgeries(ssrc: int, about: int = 0) -> Make:
    """BYE, sender reports that lie about time, receiver reports that say all is lost; compound and bare."""
    head = struct.pack("!I", ssrc)
    report = struct.pack("!IIIIII", about, 0xFF7F_FFFF, 0, 0xFFFF_FFFF, 1, 1)
    sender = struct.pack("!QIII", 1 << 63, 7, 7, 7)
    kinds = [
        _rtcp(201, 0, head) + _rtcp(GOODBYE, 1, head),
        _rtcp(200, 1, head + sender + report) + _rtcp(GOODBYE, 1, head),
        _rtcp(201, 1, head + report),
        _rtcp(GOODBYE, 1, head),
        _rtcp(201, 0, head) + _rtcp(207, 0, head + struct.pack("!BBHI", 4, 0, 2, 1) + bytes(4)),
    ]
    return lambda number: kinds[number % len(kinds)]


def _rtcp(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


class Attacker:
    """Sends to the farm's ports, from `with` on, `rate` datagrams a second in turns to each; counts what it hears."""

    def __init__(
        self, ports: list[int], makes: list[Make], *, rate: float = 200.0, bind: tuple[str, int] = ("127.0.0.2", 0),
        sender: socket.socket | None = None,
    ) -> None:  # fmt: skip
        self._own = sender is None
        self._socket = sender or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if self._own:
            self._socket.bind(bind)
            self._socket.settimeout(0)
        self.ports = ports
        self._plan: Iterator[Make] = itertools.cycle(makes)
        self._makes = len(makes)
        self._pause_s = 1.0 / rate
        self.sent = 0
        self.heard = 0
        """Datagrams that came to the attacker's own socket."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attacker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._own:
            self._listen()
            self._socket.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            data = next(self._plan)(self.sent // self._makes)
            for port in self.ports:
                self._send(data, port)
            self.sent += 1
            if self._own:
                self._listen()

    def _send(self, data: bytes, port: int) -> None:
        while True:
            try:
                self._socket.sendto(data, (HOST, port))
            except ConnectionRefusedError:
                continue  # an answer of the kernel to the datagram before: nobody listens there
            except BlockingIOError:
                time.sleep(0.001)
                continue
            return

    def _listen(self) -> None:
        while True:
            try:
                self._socket.recv(2_048)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            self.heard += 1
