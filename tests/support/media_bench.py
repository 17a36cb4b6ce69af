"""A real media worker process with a front, AI workers and callers that are the test's."""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, TypeVar

from shared.config import Config, RedisConfig
from shared.contracts import (
    AiWorkers,
    AppKind,
    AppSpec,
    CallEvent,
    MediaAnswer,
    MediaClose,
    MediaFormat,
    MediaOpen,
    MediaStart,
    Message,
    RtpEndpoint,
    TurnSettings,
    decode,
)
from shared.ids import new_call_id, new_message_id
from shared.metrics import Metrics
from shared.registry import CallRecord, Placement, Role
from shared.shell import Identity, Shell
from tests.support.farm import rtp_block
from tests.support.processes import running
from tests.support.rtp_peer import RtpPeer
from tests.support.waiting import eventually

M = TypeVar("M", bound=Message)

PORT_PAIRS = 30

NEEDS: dict[AppKind, tuple[Role, ...]] = {"agent": ("stt", "llm", "tts"), "transcribe": ("stt",)}


@contextlib.contextmanager
def media_worker(redis_url: str, directory: Path, **settings: str) -> Iterator[Popen[bytes]]:
    """`python -m mediaworker`; `settings` are environment variables without their prefix."""
    env = {
        "VOICEFARM_REDIS_URL": redis_url,
        "VOICEFARM_MEDIA__PORTS": rtp_block(2 * PORT_PAIRS),
        "VOICEFARM_MEDIA__CAPACITY": "20",
        "VOICEFARM_MEDIA__QUARANTINE_S": "0.5",
        "VOICEFARM_MEDIA__RECORD_DIR": str(directory / "recordings"),
        "VOICEFARM_OPS__EVENTS_LINGER_S": "30",
        "VOICEFARM_OPS__LOG_FORMAT": "text",
    } | {f"VOICEFARM_{name}": value for name, value in settings.items()}
    with running([sys.executable, "-m", "mediaworker"], env=env, log=directory / "media.txt") as process:
        yield process


@dataclass
class Member:
    """A process of the farm that the test plays; `messages` is everything it was sent."""

    shell: Shell
    messages: list[Message] = field(default_factory=list)
    busy: int = 0

    async def on_message(self, message: Message) -> None:
        self.messages.append(message)

    async def on_beat(self, *, forgotten: bool) -> None:
        """Nothing to write again."""

    def calls(self) -> int:
        return self.busy

    @property
    def id(self) -> str:
        return self.shell.worker_id

    def got(self, kind: type[M], call_id: str | None = None) -> list[M]:
        return [
            m for m in self.messages if isinstance(m, kind) and call_id in {None, getattr(m, "call_id", None)}
        ]

    async def await_one(
        self, kind: type[M], check: Callable[[M], bool] = lambda _: True, timeout_s: float = 10.0
    ) -> M:
        """The first message of a kind that passes the check."""
        await eventually(lambda: any(check(m) for m in self.got(kind)), timeout_s)
        return next(m for m in self.got(kind) if check(m))


@contextlib.asynccontextmanager
async def member(redis_url: str, role: Role, *, capacity: int = 100, name: str = "") -> AsyncIterator[Member]:
    """Registers a worker of the test's for as long as the block runs."""
    config = Config(redis=RedisConfig(url=redis_url))
    identity = Identity(
        role=role, name=name or f"{role}-test", capacity=capacity, takes_pcm=role in {"stt", "tts"}
    )
    shell = Shell(config, identity, Metrics(role))
    played = Member(shell)
    task = asyncio.create_task(shell.run(played, signals=False, serve_pages=False))
    try:
        await eventually(lambda: shell.state == "ready")
        yield played
    finally:
        shell.stop()
        await task


@dataclass
class PlacedCall:
    call_id: str
    placement: Placement
    peer: RtpPeer
    opened: MediaOpen


class Front:
    """Places calls on media workers as a front does, and is their callers too."""

    __test__ = False

    def __init__(self, played: Member) -> None:
        self.member = played
        self.registry = played.shell.registry
        self._callers = contextlib.ExitStack()
        self._names = itertools.count()
        self._up: dict[str, PlacedCall] = {}

    async def close(self) -> None:
        """Hangs up what is still up, so that no stream of this test meets a caller of the next."""
        for call in list(self._up.values()):
            with contextlib.suppress(TimeoutError):
                await self.hang_up(call, 2.0)
        await asyncio.to_thread(self._callers.close)

    async def media(self) -> str:
        """The media worker, once it is there and offers ports."""

        async def found() -> str:
            for worker_id in await self.registry.live("media"):
                if await self.registry.free_ports(worker_id):
                    return worker_id
            return ""

        return str(await eventually(found, 15.0))

    async def reserve(self, kind: AppKind, room: str = "") -> tuple[str, Placement]:
        call_id = new_call_id()
        record = CallRecord(
            call_id=call_id, sip_call_id=f"sip-{call_id}", tenant="acme", room_id=room or f"room-{call_id}",
            session_id="s", app=kind, agent="", front=self.member.id, caller="sip:a@test", callee="sip:b@test", started_ms=1,
        )  # fmt: skip
        return call_id, await self.registry.reserve(record, NEEDS.get(kind, ()))

    async def call(
        self, kind: AppKind, *, room: str = "", start: bool = True, turn: TurnSettings | None = None,
        record: bool = False, mute: bool = False, **options: Any,
    ) -> PlacedCall:  # fmt: skip
        """A call that is up, with its caller sending."""
        call_id, placement = await self.reserve(kind, room)
        peer = RtpPeer(placement.port, ssrc=0x1000 + next(self._names))
        peer.mute = mute
        self._callers.enter_context(peer)
        opened = MediaOpen(
            msg_id=new_message_id(), reply_to=self.member.id, call_id=call_id, sip_call_id=f"sip-{call_id}",
            tenant="acme", room_id=room or f"room-{call_id}", session_id="s", rtp_port=placement.port,
            remote=RtpEndpoint(host="127.0.0.1", rtp_port=peer.port),
            format=MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=101),
            app=AppSpec(kind=kind, agent="demo" if kind == "agent" else "", turn=turn or TurnSettings(), options=options),
            ai=AiWorkers(stt=placement.stt, llm=placement.llm, tts=placement.tts), record=record,
        )  # fmt: skip
        answer = await self.ask(placement.worker, opened)
        assert answer.ok, answer.reason
        if start:
            started = await self.ask(
                placement.worker,
                MediaStart(msg_id=new_message_id(), reply_to=self.member.id, call_id=call_id),
            )
            assert started.ok
        self._up[call_id] = PlacedCall(call_id, placement, peer, opened)
        return self._up[call_id]

    async def hang_up(self, call: PlacedCall, timeout_s: float = 10.0) -> MediaAnswer:
        self._up.pop(call.call_id, None)
        close = MediaClose(
            msg_id=new_message_id(), reply_to=self.member.id, call_id=call.call_id, reason="bye"
        )
        return await self.ask(call.placement.worker, close, timeout_s)

    async def ask(self, worker: str, request: Any, timeout_s: float = 10.0) -> MediaAnswer:
        """Sends a request and awaits its answer."""
        self.member.shell.send(worker, request)
        return await self.member.await_one(
            MediaAnswer, lambda answer: answer.msg_id == request.msg_id, timeout_s
        )

    async def events(self, call_id: str, kind: str) -> list[dict[str, Any]]:
        """Data of the entries of a kind in a call's event log."""
        entries = await self.member.shell.client.xrange(self.member.shell.keys.events(call_id))
        found = [decode(fields[b"m"]) for _, fields in entries]
        return [event.data for event in found if isinstance(event, CallEvent) and event.kind == kind]


@contextlib.asynccontextmanager
async def front(redis_url: str) -> AsyncIterator[Front]:
    async with member(redis_url, "front") as played:
        placed = Front(played)
        try:
            yield placed
        finally:
            await placed.close()
