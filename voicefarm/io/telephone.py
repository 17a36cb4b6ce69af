"""A telephone on real sockets: the shell around the caller's cores. One call at a time.

Packets leave on an absolute 20 ms schedule: a late one is followed at once by the next, and none is sent early.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiosipua.header_codec import parse_uri

from shared.errors import FarmError
from voicefarm.core.offer import Offer, Remote
from voicefarm.core.rtp_stream import TICK_NS, Ear, Mouth
from voicefarm.core.uac import Answered, Effect, Ended, Identity, Moved, Ringing, Send, Uac
from voicefarm.core.uac_table import State

_RTP_FIRST, _RTP_LAST = 26_000, 31_998
"""Ports tried for our own audio: below the ephemeral range, above the farm's."""


class NoCall(FarmError):
    """The call could not be placed."""


@dataclass(slots=True)
class CallFacts:
    """How a call went, as its caller saw it; times on the monotonic clock."""

    invited_ns: int = 0
    answered_ns: int = 0
    ended_ns: int = 0
    ringing: list[int] = field(default_factory=list)
    call_id: str = ""
    by_farm: bool = False
    code: int = 0
    reason: str = ""


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, addr)


class Telephone:
    """Places one call. `on_tick` is called every 20 ms while it stands."""

    def __init__(
        self, target: str, *, user: str = "caller", headers: Mapping[str, str] | None = None
    ) -> None:
        self._target = target
        self._user = user
        self._headers = dict(headers or {})
        self.mouth = Mouth(secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
        self.ear: Ear | None = None
        self.facts = CallFacts()
        self.remote: Remote | None = None
        self.answered = asyncio.Event()
        self.over = asyncio.Event()
        self.on_tick: Callable[[int], None] | None = None
        self._uac: Uac | None = None
        self._sip: asyncio.DatagramTransport | None = None
        self._rtp: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._talk: asyncio.Task[None] | None = None

    async def call(self) -> None:
        """Sends the INVITE; `answered` or `over` tell what came of it. Raises NoCall."""
        loop = asyncio.get_running_loop()
        host, port = _address_of(self._target)
        local = _local_address(host, port)
        self._sip, _ = await loop.create_datagram_endpoint(lambda: _Udp(self._on_sip), local_addr=(local, 0))
        rtp = _bind_rtp(local)
        self._rtp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self._on_rtp), sock=rtp)
        identity = Identity(
            target=self._target, user=self._user, host=local, port=self._sip.get_extra_info("sockname")[1],
            call_id=secrets.token_hex(12), tag=secrets.token_hex(6), branch=secrets.token_hex(8), headers=self._headers,
        )  # fmt: skip
        self._uac = Uac(
            identity, Offer(host=local, rtp_port=rtp.getsockname()[1], session=secrets.randbits(31))
        )
        self.facts.invited_ns = time.monotonic_ns()
        self._perform(self._uac.call(self.facts.invited_ns))

    def hang_up(self) -> None:
        """Ends the call from our side, in whatever state it is."""
        if self._uac and self._uac.state is not State.ENDED:
            self._perform(self._uac.hang_up(time.monotonic_ns()))

    async def close(self) -> None:
        """Frees the sockets; the call should be over."""
        if self._timer:
            self._timer.cancel()
        if self._talk:
            self._talk.cancel()
            await asyncio.gather(self._talk, return_exceptions=True)
        for transport in (self._sip, self._rtp):
            if transport:
                transport.close()

    # --- SIP

    def _on_sip(self, data: bytes, source: tuple[str, int]) -> None:
        if self._uac:
            self._perform(self._uac.receive(data, source[:2], time.monotonic_ns()))

    def _on_timer(self) -> None:
        if self._uac:
            self._perform(self._uac.tick(time.monotonic_ns()))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(data=data, host=host, port=port) if self._sip:
                    self._sip.sendto(data, (host, port))
                case Ringing(code=code):
                    self.facts.ringing.append(code)
                case Answered(remote=remote, call_id=call_id):
                    self._begin_talking(remote, call_id)
                case Moved(remote=remote):
                    self.remote = remote
                case Ended():
                    self._end(effect)
                case _:
                    pass
        self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due_ns = self._uac.due_ns if self._uac else None
        if due_ns is not None:
            delay_s = max(0, due_ns - time.monotonic_ns()) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _begin_talking(self, remote: Remote, call_id: str) -> None:
        now_ns = time.monotonic_ns()
        self.remote, self.facts.call_id, self.facts.answered_ns = remote, call_id, now_ns
        self.ear = Ear(now_ns)
        self._talk = asyncio.create_task(self._keep_talking(now_ns), name="rtp")
        self.answered.set()

    def _end(self, ended: Ended) -> None:
        facts = self.facts
        if not self.over.is_set():
            facts.by_farm, facts.code, facts.reason = ended.by_farm, ended.code, ended.reason
            facts.ended_ns = time.monotonic_ns()
        if self._talk:
            self._talk.cancel()
        self.over.set()

    # --- audio

    def _on_rtp(self, data: bytes, _source: tuple[str, int]) -> None:
        if self.ear and self.remote:
            self.ear.receive(data, self.remote, time.monotonic_ns())

    async def _keep_talking(self, started_ns: int) -> None:
        """One tick every 20 ms of absolute time; after a stall the missed ones follow at once."""
        tick = 0
        while True:
            due_ns = started_ns + tick * TICK_NS
            wait_ns = due_ns - time.monotonic_ns()
            if wait_ns > 0:
                await asyncio.sleep(wait_ns / 1e9)
            if self.on_tick:
                self.on_tick(time.monotonic_ns())
            if self.remote and self._rtp:
                for packet in self.mouth.packets(self.remote):
                    self._rtp.sendto(packet, (self.remote.host, self.remote.port))
            tick += 1


def _address_of(target: str) -> tuple[str, int]:
    """Host and port of a SIP URI. Raises NoCall for anything else."""
    try:
        uri = parse_uri(target)
        if uri.scheme != "sip" or not uri.host:
            raise NoCall(f"{target!r} is not a SIP URI like sip:agent@127.0.0.1:5060")
        return socket.gethostbyname(uri.host), uri.port or 5060
    except (ValueError, OSError) as error:
        raise NoCall(f"{target!r}: {error}") from error


def _local_address(host: str, port: int) -> str:
    """The address of ours that packets to `host` leave from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError as error:
            raise NoCall(f"{host}:{port} cannot be reached: {error.strerror}") from error
        return str(probe.getsockname()[0])


def _bind_rtp(host: str) -> socket.socket:
    """An even port of ours, kept bound (a port that is closed and bound again may be somebody else's)."""
    first = _RTP_FIRST + 2 * secrets.randbelow((_RTP_LAST - _RTP_FIRST) // 2)
    for port in [*range(first, _RTP_LAST, 2), *range(_RTP_FIRST, first, 2)]:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.bind((host, port))
        except OSError:
            made.close()
            continue
        made.setblocking(False)  # noqa: FBT003  the socket API
        return made
    raise NoCall(f"no port for audio is free between {_RTP_FIRST} and {_RTP_LAST}")
