"""A caller's RTP side for tests: sends what it is told every 20 ms, keeps what it hears, knows its frequency.

Its G.711 and its RTP header are its own, written from ITU-T G.711 and RFC 3550, so that a mistake of ours does not
cancel out.
"""

import heapq
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]

FRAME = 160
TICK_NS = 20_000_000


def _ulaw_values() -> Pcm:
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


ULAW = _ulaw_values()
_ORDER = np.argsort(ULAW, kind="stable")
_SORTED = ULAW[_ORDER].astype(np.int32)


def to_ulaw(pcm: Pcm) -> bytes:
    """The nearest code of every sample."""
    wide = pcm.astype(np.int32)
    above = np.clip(np.searchsorted(_SORTED, wide), 1, 255)
    nearer = np.where(wide - _SORTED[above - 1] <= _SORTED[above] - wide, above - 1, above)
    return bytes(_ORDER[nearer].astype(np.uint8))


def tone(hz: float, ms: int, amplitude: int = 8_000) -> Pcm:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(ms * 8) / 8_000)).astype(np.int16)


def strongest_hz(pcm: Pcm) -> float:
    """The strongest frequency, 0 where it is silent."""
    if len(pcm) < FRAME or np.abs(pcm.astype(np.int32)).max() < 200:
        return 0.0
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * 8_000 / len(pcm))


def level_at(pcm: Pcm, hz: float) -> float:
    """Amplitude of one frequency."""
    turn = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / 8_000)
    return float(2 * np.abs(np.mean(pcm * turn)))


@dataclass(frozen=True)
class Heard:
    """A packet that arrived."""

    at_ns: int
    marker: bool
    payload_type: int
    seq: int
    timestamp: int
    ssrc: int
    pcm: Pcm

    @property
    def loud(self) -> bool:
        return bool(np.abs(self.pcm.astype(np.int32)).max() > 500)


class RtpPeer:
    """Runs in a thread of its own from `with` on. Sends silence when it has nothing to say, unless `mute`."""

    def __init__(self, farm_port: int, *, ssrc: int = 0x1234_5678, host: str = "127.0.0.1") -> None:
        self.socket, self.rtcp = _pair(host)
        self.socket.settimeout(0)
        self.port: int = self.socket.getsockname()[1]
        self.farm_port = farm_port
        self.ssrc = ssrc
        self.mute = False
        self.heard: list[Heard] = []
        self.sent_loud_ns: list[int] = []
        self.delay_ms: Callable[[int], float | None] | None = None
        """The network between us and the farm: how long packet n takes, None where it loses it."""
        self.dropped = 0
        self._sent = 0
        self._flight: list[tuple[int, int, bytes]] = []
        self._say: deque[Pcm] = deque()
        self._seq, self._timestamp = 7, 1_000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtp peer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.socket.close()
        self.rtcp.close()

    def say(self, pcm: Pcm) -> None:
        """Queues audio; the last frame is filled up with silence."""
        padded = np.concatenate([pcm, np.zeros(-len(pcm) % FRAME, np.int16)])
        self._say.extend(padded.reshape(-1, FRAME))

    @property
    def saying(self) -> bool:
        return bool(self._say)

    def pcm(self, since_ns: int = 0) -> Pcm:
        """What was heard, in order of arrival."""
        parts = [packet.pcm for packet in list(self.heard) if packet.at_ns >= since_ns]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def last(self, ms: int) -> Pcm:
        return self.pcm()[-ms * 8 :]

    def longest_gap_ms(self, since_ns: int) -> float:
        times = [packet.at_ns for packet in list(self.heard) if packet.at_ns >= since_ns]
        return float(np.diff(times).max() / 1e6) if len(times) > 1 else float("inf")

    def _run(self) -> None:
        due = time.monotonic_ns()
        while not self._stop.is_set():
            self._listen()
            now = time.monotonic_ns()
            self._deliver(now)
            if now >= due:
                due += TICK_NS
                if not self.mute:
                    self._send(now)
                continue
            time.sleep(min(due - now, 2_000_000) / 1e9)

    def _send(self, now_ns: int) -> None:
        pcm = self._say.popleft() if self._say else np.zeros(FRAME, np.int16)
        if np.abs(pcm.astype(np.int32)).max() > 500:
            self.sent_loud_ns.append(now_ns)
        header = struct.pack("!BBHII", 0x80, 0, self._seq & 0xFFFF, self._timestamp & 0xFFFF_FFFF, self.ssrc)
        self._seq += 1
        self._timestamp += FRAME
        self._through_network(now_ns, header + to_ulaw(pcm))

    def _through_network(self, now_ns: int, data: bytes) -> None:
        delay = self.delay_ms(self._sent) if self.delay_ms else 0.0
        self._sent += 1
        if delay is None:
            self.dropped += 1
        else:
            heapq.heappush(self._flight, (now_ns + int(delay * 1e6), self._sent, data))
            self._deliver(now_ns)

    def _deliver(self, now_ns: int) -> None:
        while self._flight and self._flight[0][0] <= now_ns:
            self.socket.sendto(heapq.heappop(self._flight)[2], ("127.0.0.1", self.farm_port))

    def _listen(self) -> None:
        while True:
            try:
                data, _ = self.socket.recvfrom(2_048)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            _, second, seq, timestamp, ssrc = struct.unpack_from("!BBHII", data)
            pcm = ULAW[np.frombuffer(data, np.uint8, offset=12)]
            self.heard.append(
                Heard(time.monotonic_ns(), bool(second & 0x80), second & 0x7F, seq, timestamp, ssrc, pcm)
            )


def _pair(host: str) -> tuple[socket.socket, socket.socket]:
    """An even port and the next one."""
    for port in range(44_000, 48_000, 2):
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            rtp.bind((host, port))
            rtcp.bind((host, port + 1))
        except OSError:
            rtp.close()
            rtcp.close()
            continue
        return rtp, rtcp
    raise OSError("no free port pair")
