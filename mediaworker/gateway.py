"""RTP without SIP, in the caller's own process: legs from addresses, a payload type and a clock rate.

For bridges, tests and programs that do their own signalling. A gateway is the farm's media engine, its sockets and its
20 ms schedule in a thread of their own; it needs no Redis, no farm and no event loop beside the caller's. Why not a worker
of the farm: a program that brings its own PCM would send it twice through Redis, and could not run alone; who wants a leg
of the farm without SIP sends `MediaOpen` (docs/rtp-gateway.md). Everything between the caller's loop and the thread is
bounded. Sources: RFC 3550, RFC 3551 table 4.
"""

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec
import numpy as np

from mediaworker.core import codecs
from mediaworker.core.address import address_key, host_of, port_of
from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup, LegStats, Samples, TickResult
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.socket_pairs import SocketPairs
from mediaworker.io.sockets import open_sockets
from shared.config import parse_port_range
from shared.contracts import CodecName, MediaFormat, RtpEndpoint
from shared.errors import ConfigError, Refused
from shared.log import get_log

log = get_log(__name__)

T = TypeVar("T")
Address = tuple[str, int]

STATIC: Final[dict[int, tuple[CodecName, int]]] = {
    0: ("PCMU", 8_000), 8: ("PCMA", 8_000), 9: ("G722", 8_000), 11: ("L16", 44_100),
}  # fmt: skip
"""Payload types that need no agreement (RFC 3551 table 4), of those that are spoken here."""
MEANT_OTHERWISE: Final = frozenset({*range(35), *range(72, 77)}) - STATIC.keys()
"""Assigned to what is not spoken here, or reserved (RFC 3551 tables 4 and 5): no agreement gives them another meaning."""
NOWHERE: Final = RtpEndpoint(host="240.0.0.1", rtp_port=9)
"""Where a leg without a remote sends, which it does not, and whom it takes packets from: nobody has this address
(RFC 1112 section 4).
"""
WAITING_S: Final = 5
"""Of what is to be sent; `send` waits for room."""
RECEIVED_FRAMES: Final = 250
"""Of what came and was not yet taken: 5 s; then the oldest goes."""
THREAD_S: Final = 5.0
_LARGEST_PAYLOAD: Final = 1_400
_PORTS_TRIED: Final = 64


class Frame(NamedTuple):
    """20 ms that a leg received, holes concealed."""

    pcm: Samples
    """160 samples at 8 kHz, or 320 at 16 kHz: `RtpLeg.rate_hz`."""
    number: int
    """Counts the 20 ms since the leg began."""


class RtpLeg:
    """One RTP session of a gateway. Made by `RtpGateway.start`; its methods are for the event loop of that call."""

    def __init__(
        self, gateway: "RtpGateway", row: int, local: Address, wanted: MediaFormat, remote: Address | None
    ) -> None:
        self._gateway = gateway
        self.row = row
        self.local = local
        self.format = wanted
        self.rate_hz = gateway.engine.rate_hz(row)
        """Of the PCM given to `send` and got from `frames`."""
        self.dropped_frames = 0
        """Received frames that nobody took in time."""
        self._remote = remote
        self._received: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self.outgoing: deque[Samples] = deque()
        """Written by `send`, taken by the gateway's thread."""
        self.taken_samples = 0
        self._given_samples = 0
        self._closed = False

    @property
    def remote(self) -> Address | None:
        """Where packets go; None while it is not known."""
        return self._remote

    async def send(self, pcm: bytes | Samples) -> None:
        """Queues audio, int16 mono at `rate_hz`; waits while `WAITING_S` are queued. ValueError: no remote is known, or the
        leg is stopped.
        """
        if self._closed:
            raise ValueError("the leg is stopped")
        if self.remote is None:
            raise ValueError(f"no remote address is known for the RTP leg at {self.local[0]}:{self.local[1]}")
        samples = np.frombuffer(pcm, "<i2") if isinstance(pcm, bytes) else np.asarray(pcm)
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise ValueError("PCM is mono int16")
        while self.waiting_samples > WAITING_S * self.rate_hz and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise ValueError("the leg is stopped")
        self._given_samples += len(samples)
        self.outgoing.append(samples.astype(np.int16))

    @property
    def waiting_samples(self) -> int:
        """Given to `send` and not yet cut into packets, one frame aside."""
        return self._given_samples - self.taken_samples

    async def frames(self) -> AsyncIterator[Frame]:
        """What the leg receives, frame by frame, until it is stopped."""
        while (frame := await self._received.get()) is not None:
            yield frame
        self._received.put_nowait(None)  # for who asks again

    async def set_remote(self, remote: Address) -> None:
        """Another peer from now on: packets go there and are taken from there."""
        endpoint = _endpoint(remote)
        engine = self._gateway.engine
        try:
            await self._gateway.call(lambda _: engine.update(self.row, endpoint, self.format))
        except Refused as refused:
            raise ValueError(str(refused)) from None
        self._remote = remote

    async def stop(self) -> LegStats | None:
        """Ends the leg with an RTCP BYE and closes its ports; its figures, None where it was stopped before."""
        return await self._gateway.stop(self)

    # --- for the gateway

    def deliver(self, frame: Frame) -> None:
        """In the event loop."""
        if self._received.qsize() >= RECEIVED_FRAMES:
            self._received.get_nowait()
            self.dropped_frames += 1
        self._received.put_nowait(frame)

    def learn(self, remote: Address) -> None:
        """In the event loop: someone who may has sent a packet."""
        if self._remote is None:
            self._remote = remote

    def took(self, samples: int) -> None:
        """In the event loop: the thread took so many samples."""
        self.taken_samples += samples
        self._room.set()

    def end(self) -> None:
        """In the event loop: nothing comes any more."""
        if not self._closed:
            self._closed = True
            self._room.set()
            self._received.put_nowait(None)


class _Sending:
    """What the thread knows of a leg."""

    __slots__ = ("homeless", "leg", "number", "segment", "tail")

    def __init__(self, leg: RtpLeg, *, homeless: bool) -> None:
        self.leg = leg
        self.homeless = homeless
        """No remote is known yet."""
        self.number = 0
        self.segment = 0
        self.tail = False
        """Less than a frame may wait for the rest of it."""


class RtpGateway:
    """`async with RtpGateway() as gateway: leg = await gateway.start(...)`. Any number of legs up to `capacity`."""

    def __init__(self, host: str = "127.0.0.1", *, ports: str = "24000-27999", capacity: int = 100) -> None:
        """`host` is the local address of all legs, `ports` where even ones are looked for when none is asked for."""
        try:
            self._ports = deque(parse_port_range(ports))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        self.host = host
        self.engine = Engine(capacity, rtp_timeout_s=float("1e9"), rtp_never_s=float("1e9"))
        self._calls: deque[tuple[Callable[[SocketPairs], Any], asyncio.Future[Any]]] = deque()
        self._sending: dict[int, _Sending] = {}
        self._legs: set[RtpLeg] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtp gateway", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops every leg and the thread."""
        for leg in list(self._legs):
            with contextlib.suppress(RuntimeError):  # the thread has failed: its legs have ended
                await self.stop(leg)
        self._ending.set()
        await asyncio.to_thread(self._thread.join, THREAD_S)

    async def start(
        self,
        *,
        local_port: int = 0,
        remote: Address | None = None,
        payload_type: int = 0,
        clock_rate: int | None = None,
        codec: CodecName | None = None,
        ptime_ms: int | None = None,
        learn_from: Iterable[str] = (),
    ) -> RtpLeg:
        """A leg at `host`:`local_port` (even; 0: any free one), RTCP one above. `payload_type` names codec and clock rate
        where it is a static one. Without a remote only networks in `learn_from` may become one, with their first packet.

        ValueError for what makes no sense, OSError where the port is taken, Refused where the gateway is full.
        """
        if local_port % 2 or not 0 <= local_port < 65_535:
            raise ValueError(
                f"RTP port {local_port}: RTP takes an even port, RTCP the next (RFC 3550 section 11)"
            )
        wanted = format_of(payload_type, clock_rate, codec, ptime_ms)
        if remote is None:
            wanted = msgspec.structs.replace(wanted, direction="recvonly")
        setup = LegSetup(
            rtp_port=local_port, remote=_endpoint(remote) if remote else NOWHERE, format=wanted,
            media_cidrs=tuple(learn_from),
        )  # fmt: skip
        opening = asyncio.ensure_future(self.call(lambda sockets: self._open(sockets, setup, remote)))
        try:
            leg = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._abandon)
            raise
        self._legs.add(leg)
        return leg

    def _abandon(self, opening: asyncio.Future[RtpLeg]) -> None:
        """Whoever asked for a leg waits no more: it is closed as soon as it is open."""
        if not opening.cancelled() and opening.exception() is None and self._loop:
            row = opening.result().row
            self._calls.append((lambda sockets: self._close(sockets, row), self._loop.create_future()))

    async def stop(self, leg: RtpLeg) -> LegStats | None:
        if leg not in self._legs:
            return None
        self._legs.discard(leg)
        stats = await self.call(lambda sockets: self._close(sockets, leg.row))
        leg.end()
        return stats

    async def call(self, act: Callable[[SocketPairs], T]) -> T:
        """Runs something in the thread that owns the engine, between two ticks; what it returns or raises."""
        if not self._thread.is_alive() or self._loop is None:
            raise RuntimeError("the gateway is not running")
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.append((act, future))
        if self._ending.is_set() and not future.done():  # the thread may not look any more
            future.set_exception(RuntimeError("the gateway ended"))
        return await future

    # --- the gateway's thread

    def _run(self) -> None:
        # A ring of the kernel's serves the thread that made it, and no other.
        sockets = open_sockets(self.engine, self.host)
        loop = MediaLoop(self.engine, sockets)
        try:
            while not self._ending.is_set():
                result = loop.step()
                self._carry_out(sockets)
                self._after_tick(result)
        finally:
            self._ending.set()
            sockets.close_all()
            while self._calls:
                _, future = self._calls.popleft()
                self._tell(partial(_fail, future, RuntimeError("the gateway ended")))
            for sending in self._sending.values():
                self._tell(sending.leg.end)

    def _carry_out(self, sockets: SocketPairs) -> None:
        while self._calls:
            # What fails unforeseen stays in the queue, and whoever asked for it hears of it with the thread's end.
            act, future = self._calls[0]
            try:
                result = act(sockets)
            except (Refused, ValueError, OSError) as error:
                self._tell(partial(_fail, future, error))
            else:
                self._tell(partial(_succeed, future, result))
            self._calls.popleft()

    def _tell(self, say: Callable[[], None]) -> None:
        if self._loop:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed
                self._loop.call_soon_threadsafe(say)

    def _open(self, sockets: SocketPairs, setup: LegSetup, remote: Address | None) -> RtpLeg:
        now_ns = time.monotonic_ns()
        try:
            row = self.engine.open(setup, now_ns)
        except Refused as refused:
            raise refused if refused.reason == "full" else ValueError(str(refused)) from None
        try:
            port = self._bind(sockets, row, setup.rtp_port)
        except OSError:
            self.engine.close(row, now_ns)
            raise
        self.engine.start(row, now_ns)
        both_ways = msgspec.structs.replace(setup.format, direction="sendrecv")
        leg = RtpLeg(self, row, (self.host, port), both_ways, remote)
        self._sending[row] = _Sending(leg, homeless=remote is None)
        return leg

    def _bind(self, sockets: SocketPairs, row: int, port: int) -> int:
        """The port asked for, or the next one that is free."""
        for _ in range(1 if port else min(_PORTS_TRIED, len(self._ports))):
            if not port:
                self._ports.rotate(-1)
            tried = port or self._ports[-1]
            try:
                sockets.bind_pair(tried, row)
            except Refused:
                continue
            return tried
        raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: RTP port {port or 'any'}")

    def _close(self, sockets: SocketPairs, row: int) -> LegStats:
        self._sending.pop(row, None)
        stats = self.engine.close(row, time.monotonic_ns())
        sockets.close(row)
        return stats

    def _after_tick(self, result: TickResult) -> None:
        rows = self.engine.rows
        received: list[tuple[RtpLeg, Frame]] = []
        for row, sending in self._sending.items():
            if rows.phase_of(row) != self.engine.last_phase:
                continue
            sending.number += 1
            if sending.homeless:
                self._settle(row, sending)
            self._top_up(row, sending)
            if rows.flowing[row]:
                pcm = result.caller_wide[row] if rows.wide[row] else result.caller_pcm[row]
                received.append((sending.leg, Frame(pcm.copy(), sending.number)))
        if received:
            self._tell(partial(_deliver, received))

    def _settle(self, row: int, sending: _Sending) -> None:
        """A leg that was told no remote sends to the first who was allowed to become one."""
        rows = self.engine.rows
        source = int(rows.source[row])
        if rows.sends[row]:
            sending.homeless = False
        elif rows.pinned[row] and source:
            sending.homeless = False
            rows.sends[row] = True
            self.engine.take_part(row)
            self._tell(partial(sending.leg.learn, (host_of(source), port_of(source))))

    def _top_up(self, row: int, sending: _Sending) -> None:
        """From the leg's queue into the engine's; a rest shorter than a frame is sent when nothing follows it."""
        waiting, taken = sending.leg.outgoing, 0
        while waiting and (room := self.engine.room(row)):
            piece = waiting.popleft()
            if len(piece) > room:
                waiting.appendleft(piece[room:])
            taken += self.engine.queue(row, 0, sending.segment, piece[:room], last=False)
            sending.tail = True
        if taken:
            self._tell(partial(sending.leg.took, taken))
        elif sending.tail and not waiting and not self.engine.playing(row):
            self.engine.queue(row, 0, sending.segment, np.zeros(0, np.int16), last=True)
            sending.segment += 1
            sending.tail = False


def format_of(
    payload_type: int, clock_rate: int | None, codec: CodecName | None, ptime_ms: int | None
) -> MediaFormat:
    """What a payload type means. ValueError where that is not known, or contradicts the rest."""
    if not 0 <= payload_type <= 127:
        raise ValueError(f"payload type {payload_type}")
    if payload_type in MEANT_OTHERWISE:
        raise ValueError(f"payload type {payload_type} means something else (RFC 3551 section 6)")
    name, rate = STATIC.get(payload_type, (codec, clock_rate))
    if name is None or rate is None:
        raise ValueError(
            f"payload type {payload_type} says nothing of itself: codec and clock_rate are needed"
        )
    if codec not in {None, name} or clock_rate not in {None, rate}:
        raise ValueError(f"payload type {payload_type} is {name}/{rate}, not {codec}/{clock_rate}")
    ptime = ptime_ms or (10 if name == "L16" and rate * 20 // 1_000 * 2 > _LARGEST_PAYLOAD else 20)
    wanted = MediaFormat(codec=name, payload_type=payload_type, clock_rate_hz=rate, ptime_ms=ptime)
    try:
        codecs.find(wanted)
    except Refused as refused:
        raise ValueError(str(refused)) from None
    return wanted


def _endpoint(remote: Address) -> RtpEndpoint:
    """ValueError where it is no IPv4 address and port."""
    host, port = remote
    try:
        address_key(host, port)
    except Refused as refused:
        raise ValueError(str(refused)) from None
    return RtpEndpoint(host=host, rtp_port=port)


def _deliver(received: list[tuple[RtpLeg, Frame]]) -> None:
    for leg, frame in received:
        leg.deliver(frame)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
