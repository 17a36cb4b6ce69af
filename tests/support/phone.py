"""A telephone for tests: SIP over UDP and G.711 over RTP, written apart from the farm's own code.

It speaks just what a caller needs, keeps every packet it got with its arrival time, and can be told to misbehave. One
asyncio loop carries a hundred of them.
"""

import asyncio
import itertools
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]
FRAME = 160
_numbers = itertools.count(1)


def mulaw_tables() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Decode [256] and encode [65536] tables of G.711 mu-law, by the formula of the recommendation."""
    codes = np.arange(256)
    inverted = ~codes & 0xFF
    magnitude = (((inverted & 15) * 2 + 33) << ((inverted >> 4) & 7)) - 33
    decode = np.where(inverted & 0x80, -magnitude, magnitude) * 4
    order = np.argsort(decode, kind="stable")
    levels = decode[order]
    samples = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    right = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearer = np.where(samples - levels[right - 1] <= levels[right] - samples, right - 1, right)
    return decode.astype(np.int16), order[nearer].astype(np.uint8)


DECODE, ENCODE = mulaw_tables()
LONGEST_BURST_S = 1.0
"""A telephone whose host stood still for longer says the rest later: no caller says seconds at once."""
SILENCE = bytes([0xFF]) * FRAME


def tone(hz: float, seconds: float, amplitude: float = 0.3) -> Pcm:
    t = np.arange(int(seconds * 8_000)) / 8_000
    return (amplitude * 32_767 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def loudest_hz(pcm: Pcm) -> float:
    """Frequency of the strongest component."""
    spectrum = np.abs(np.fft.rfft(pcm.astype(np.float64) * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * 8_000 / len(pcm))


def level_at(pcm: Pcm, hz: float) -> float:
    """Share of the signal's power within 15 Hz of `hz` (0 when silent)."""
    spectrum = np.abs(np.fft.rfft(pcm.astype(np.float64) * np.hanning(len(pcm)))) ** 2
    bins = np.fft.rfftfreq(len(pcm), 1 / 8_000)
    total = float(spectrum.sum())
    return float(spectrum[np.abs(bins - hz) < 15].sum()) / total if total > 1e6 else 0.0


def even_pair() -> tuple[socket.socket, socket.socket]:
    """Two bound UDP sockets on an even port and the next (RFC 3550 section 11)."""
    while True:
        port = random.randrange(33_000, 60_000, 2)
        pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        try:
            for offset, made in enumerate(pair):
                made.bind(("127.0.0.1", port + offset))
        except OSError:
            for made in pair:
                made.close()
            continue
        return pair[0], pair[1]


class Packet(NamedTuple):
    at: float
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload_type: int
    payload: bytes


@dataclass
class Reply:
    """A SIP response or request as received."""

    first: str
    headers: dict[str, list[str]]
    body: str

    @property
    def status(self) -> int:
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0") else 0

    def one(self, name: str) -> str:
        return self.headers.get(name.lower(), [""])[0]


def parse(data: bytes) -> Reply:
    head, _, body = data.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    return Reply(first, headers, body)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, sink: "asyncio.Queue[bytes] | None", on_rtp: "Phone | None" = None) -> None:
        self.sink = sink
        self.on_rtp = on_rtp

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.on_rtp is not None:
            self.on_rtp.rtp_arrived(data)
        elif (
            self.sink is not None and data[0] >> 6 != 2
        ):  # late RTP for a telephone that had this port before
            self.sink.put_nowait(data)


@dataclass
class Phone:
    """One telephone with one call at a time."""

    target: tuple[str, int]
    headers: dict[str, str] = field(default_factory=dict)
    offer_codecs: str = "0 101"
    offer_extra: str = ""
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.number = next(_numbers)
        self.call_id = f"test-{self.number}-{random.getrandbits(48):x}"
        self.tag = f"{random.getrandbits(48):x}"
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.packets: list[Packet] = []
        self.sent_at: list[float] = []
        self.answer: Reply | None = None
        self.remote_rtp: tuple[str, int] | None = None
        self.hung_up = asyncio.Event()
        self._queue: list[bytes] = []
        self._cseq = 1
        self._branch = ""
        self._route: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sequence = random.randrange(65_536)
        self._timestamp = random.randrange(2**32)
        self.ssrc = random.getrandbits(32)
        self.late_s = 0.0

    # --- life

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._sip, _ = await loop.create_datagram_endpoint(
            lambda: _Udp(self.messages), local_addr=(self.host, 0)
        )
        rtp, rtcp = even_pair()
        self._rtp, _ = await loop.create_datagram_endpoint(lambda: _Udp(None, self), sock=rtp)
        self._rtcp, _ = await loop.create_datagram_endpoint(lambda: _Udp(None, self), sock=rtcp)
        self.sip_port = self._sip.get_extra_info("sockname")[1]
        self.rtp_port = self._rtp.get_extra_info("sockname")[1]

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._sip.close()
        self._rtp.close()
        self._rtcp.close()

    # --- SIP

    async def call(self, user: str, *, ack: bool = True, timeout_s: float = 10.0) -> Reply:
        """INVITE; returns the final response. An answered call starts its RTP pump."""
        self._user = user
        self._branch = self._new_branch()
        invite = self._request("INVITE", f"sip:{user}@{self.target[0]}:{self.target[1]}", self.sdp())
        final = await self._transact(invite, timeout_s)
        self.answer = final
        if final.status >= 300:
            self.send_raw(
                self._request("ACK", f"sip:{user}@{self.target[0]}:{self.target[1]}", to=final.one("to"))
            )
            return final
        self._route = list(reversed(final.headers.get("record-route", [])))
        self._contact = final.one("contact").strip("<>").split(">")[0]
        self.remote_rtp = self._media_of(final.body)
        if ack:
            self.ack()
            self._tasks += [asyncio.create_task(self._pump()), asyncio.create_task(self._serve())]
        return final

    def ack(self) -> None:
        self._branch = self._new_branch()
        self.send_raw(self._request("ACK", self._contact, to=self._to()))

    async def serve_until_bye(self, timeout_s: float) -> None:
        """Answers requests, acknowledging nothing, until the farm hangs up. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not self.hung_up.is_set():
                message = parse(await self.messages.get())
                if not message.status:
                    self._serve_one(message)

    async def cancel(self) -> None:
        self.send_raw(self._request("CANCEL", f"sip:{self._user}@{self.target[0]}:{self.target[1]}"))

    async def bye(self, timeout_s: float = 10.0) -> Reply:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._cseq += 1
        self._branch = self._new_branch()
        return await self._transact(self._request("BYE", self._contact, to=self._to()), timeout_s)

    def send_raw(self, text: str) -> None:
        self._sip.sendto(text.encode(), self.target)

    def sdp(self) -> str:
        return (
            f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp_port} RTP/AVP {self.offer_codecs}\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n{self.offer_extra}"
        )

    def _to(self) -> str:
        assert self.answer is not None
        return self.answer.one("to")

    def _new_branch(self) -> str:
        return f"z9hG4bK{random.getrandbits(64):x}"

    def _request(self, method: str, uri: str, body: str = "", to: str = "") -> str:
        extra = "".join(f"{k}: {v}\r\n" for k, v in self.headers.items()) if method == "INVITE" else ""
        routes = "".join(f"Route: {r}\r\n" for r in self._route) if to and method != "INVITE" else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        cseq = 1 if method == "ACK" else self._cseq
        return (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.host}:{self.sip_port};branch={self._branch};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:tester{self.number}@{self.host}>;tag={self.tag}\r\n"
            f"To: {to or f'<sip:{self._user}@{self.target[0]}>'}\r\nCall-ID: {self.call_id}\r\n"
            f"CSeq: {cseq} {method}\r\nContact: <sip:tester{self.number}@{self.host}:{self.sip_port}>\r\n"
            f"{routes}{extra}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )

    async def _transact(self, request: str, timeout_s: float) -> Reply:
        method = request.split(maxsplit=1)[0]
        deadline = time.monotonic() + timeout_s
        wait, provisional = 0.5, False
        self.send_raw(request)
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout(min(wait, deadline - time.monotonic())):
                    reply = parse(await self.messages.get())
            except TimeoutError:
                if not provisional:
                    self.send_raw(request)
                    wait = min(wait * 2, 4.0)
                continue
            if not reply.status:
                self._serve_one(reply)
            elif reply.one("cseq").endswith(method):
                if reply.status >= 200:
                    return reply
                provisional = True
        raise TimeoutError(f"no final response to {method} within {timeout_s} s")

    async def _serve(self) -> None:
        while True:
            message = parse(await self.messages.get())
            if message.status == 200 and message.one("cseq").endswith("INVITE"):
                self.ack()
            elif not message.status:
                self._serve_one(message)

    def _serve_one(self, request: Reply) -> None:
        method = request.first.split()[0]
        if method == "ACK":
            return
        if method == "BYE":
            self.hung_up.set()
        vias = "".join(f"Via: {v}\r\n" for v in request.headers["via"])
        self.send_raw(
            f"SIP/2.0 200 OK\r\n{vias}From: {request.one('from')}\r\nTo: {request.one('to')}\r\n"
            f"Call-ID: {request.one('call-id')}\r\nCSeq: {request.one('cseq')}\r\nContent-Length: 0\r\n\r\n"
        )

    def _media_of(self, body: str) -> tuple[str, int]:
        host, port = "", 0
        for line in body.splitlines():
            if line.startswith("c="):
                host = line.split()[-1]
            elif line.startswith("m=audio"):
                port = int(line.split()[1])
        return host, port

    # --- RTP

    def play(self, pcm: Pcm) -> None:
        """Queues audio; silence is sent when the queue is empty."""
        pad = -len(pcm) % FRAME
        encoded = ENCODE[np.pad(pcm, (0, pad)).view(np.uint16)].tobytes()
        self._queue += [encoded[i : i + FRAME] for i in range(0, len(encoded), FRAME)]

    @property
    def playing(self) -> bool:
        return bool(self._queue)

    def stop_playing(self) -> None:
        self._queue.clear()

    def stop_rtp(self) -> None:
        """Sends no more packets."""
        self._tasks[0].cancel()

    async def _pump(self) -> None:
        start = time.monotonic()
        for n in itertools.count():
            due = start + n * 0.02
            await asyncio.sleep(due - time.monotonic())
            late_s = time.monotonic() - due
            self.late_s = max(self.late_s, late_s)
            start += max(0.0, late_s - LONGEST_BURST_S)
            payload = self._queue.pop(0) if self._queue else SILENCE
            self.send_rtp(payload)
            if payload is not SILENCE:
                self.sent_at.append(time.monotonic())

    def send_rtp(self, payload: bytes, payload_type: int = 0, *, marker: bool = False) -> None:
        head = struct.pack(
            "!BBHII", 0x80, payload_type | marker << 7, self._sequence, self._timestamp, self.ssrc
        )
        assert self.remote_rtp is not None
        self._rtp.sendto(head + payload, self.remote_rtp)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF

    def rtp_arrived(self, data: bytes) -> None:
        first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        if 200 <= second <= 204:
            self._answer_report(data)
        elif first >> 6 == 2:
            self.packets.append(
                Packet(
                    time.monotonic(), sequence, timestamp, ssrc, bool(second >> 7), second & 0x7F, data[12:]
                )
            )

    def heard(self, since: float = 0.0, until: float = float("inf")) -> Pcm:
        """What arrived between two times of time.monotonic(), decoded, in order of arrival."""
        parts = [p.payload for p in self.packets if since <= p.at <= until and p.payload_type == 0]
        return DECODE[np.frombuffer(b"".join(parts), np.uint8)]

    def loud_packets(self, above: int = 500) -> list[Packet]:
        """Packets with a sample louder than `above`."""
        return [
            p
            for p in self.packets
            if np.abs(DECODE[np.frombuffer(p.payload, np.uint8)].astype(int)).max() > above
        ]

    def _answer_report(self, data: bytes) -> None:
        """A receiver report to every sender report, at once: LSR is its middle 32 bits, DLSR nought (section 6.4.1)."""
        if data[1] != 200 or self.remote_rtp is None:
            return
        sender, seconds, fraction = struct.unpack_from("!III", data, 4)
        highest = self.packets[-1].sequence if self.packets else 0
        middle = (seconds & 0xFFFF) << 16 | fraction >> 16
        block = struct.pack("!IIIIII", sender, 0, highest, 8, middle, 0)
        report = struct.pack("!BBHI", 0x81, 201, 7, self.ssrc) + block
        name = struct.pack("!BBHI", 0x81, 202, 3, self.ssrc) + b"\x01\x05phone\x00"
        self._rtcp.sendto(report + name, (self.remote_rtp[0], self.remote_rtp[1] + 1))


def address(sip: str) -> tuple[str, int]:
    host, _, port = sip.rpartition(":")
    return host, int(port)


@asynccontextmanager
async def phones(sip: str, count: int = 1, **fields: object) -> AsyncIterator[list[Phone]]:
    """Open telephones, closed when the block is left."""
    made = [Phone(address(sip), **fields) for _ in range(count)]  # type: ignore[arg-type]
    try:
        for phone in made:
            await phone.open()
        yield made
    finally:
        for phone in made:
            phone.close()
