"""LLM and TTS workers as real processes, and a media worker played by the test over a real Redis."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, TypeVar

import numpy as np

from shared.bus import Append, RedisBus, connect
from shared.contracts import (
    AiWorkers,
    CallEvent,
    DialogueAttach,
    DialogueDetach,
    Message,
    PcmToMedia,
    ReplyEnd,
    ReplyFrame,
    SegmentPlayed,
    SpeechStarted,
    Transcript,
    decode,
    encode,
)
from shared.keys import CTL_MAXLEN, EVENTS_MAXLEN, Keys
from shared.registry import Registry, Role
from tests.support.processes import running

M = TypeVar("M", bound=Message)
MEDIA = "media-test.00000000"


class AiFarm:
    """Starts workers, sends what a media and an STT worker would, collects what they get."""

    def __init__(self, redis_url: str, folder: Path, stack: ExitStack) -> None:
        self.client = connect(redis_url)
        self.bus = RedisBus(self.client)
        self.keys = Keys("vf")
        self.registry = Registry(self.client, self.keys)
        self.inbox: list[Message] = []
        self.pcm: list[PcmToMedia] = []
        self.calls: dict[str, AiWorkers] = {}
        self._url = redis_url
        self._folder = folder
        self._stack = stack
        self._readers: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._readers = [
            asyncio.create_task(self._read(self.keys.ctl(MEDIA), self.inbox)),
            asyncio.create_task(self._read(self.keys.pcm(MEDIA), self.pcm)),
        ]

    async def close(self) -> None:
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self.bus.close()

    async def start(self, role: Role, name: str, **env: str) -> tuple[str, "Popen[bytes]"]:
        """A worker process that is ready; its id and process."""
        env = {
            "VOICEFARM_REDIS_URL": self._url,
            "VOICEFARM_WORKER_NAME": name,
            "VOICEFARM_OPS__LOG_FORMAT": "text",
        } | env
        command = [sys.executable, "-m", "aiworker", role]
        process = self._stack.enter_context(running(command, env=env, log=self._folder / f"{name}.log"))

        async def ready() -> str:
            live = await self.registry.live(role)
            mine = (w for w, record in live.items() if record.pid == process.pid and record.state == "ready")
            return next(mine, "")

        try:
            return await self.until(ready, what=f"{name} ready", timeout_s=20), process
        except AssertionError as error:
            raise AssertionError(f"{error}: {(self._folder / f'{name}.log').read_text()[-2000:]}") from None

    async def until(self, check: Callable[[], Any], *, what: str = "", timeout_s: float = 10.0) -> Any:
        """Polls `check`, which may be a coroutine function, until it gives something true."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = check()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s: {what}")
            await asyncio.sleep(0.01)

    async def send(self, worker: str, message: Message) -> None:
        await self.bus.append([Append(self.keys.ctl(worker), encode(message), CTL_MAXLEN)])

    async def log(self, call_id: str, kind: str, /, **data: Any) -> None:
        event = CallEvent(call_id=call_id, kind=kind, at_ns=0, by="test", data=data)
        await self.bus.append([Append(self.keys.events(call_id), encode(event), EVENTS_MAXLEN)])

    async def attach(self, call_id: str, llm: str, tts: str, agent: str, **fields: Any) -> None:
        self.calls[call_id] = AiWorkers(llm=llm, tts=tts)
        values = {"epoch": 1} | fields
        await self.send(
            llm,
            DialogueAttach(
                call_id=call_id, tenant="t", room_id="r", session_id="s", agent=agent, media=MEDIA,
                ai=self.calls[call_id], **values,
            ),
        )  # fmt: skip

    async def caller_says(self, call_id: str, turn: int, text: str, **heard: Any) -> None:
        """The caller takes the floor and says something, as media and STT worker would report it."""
        llm = self.calls[call_id].llm
        await self.send(llm, SpeechStarted(call_id=call_id, epoch=1, turn=turn, **heard))
        await self.log(call_id, "speech.started", turn=turn, **heard)
        await self.final(call_id, turn, text)

    async def final(self, call_id: str, turn: int, text: str) -> None:
        said = Transcript(
            call_id=call_id, epoch=1, turn=turn, kind="final", text=text, wait_ms=1.0, decode_ms=2.0
        )
        await self.log(call_id, "transcript", turn=turn, kind="final", text=text)
        await self.send(self.calls[call_id].llm, said)

    async def played(self, call_id: str, turn: int, segment: int) -> None:
        samples = sum(len(frame.pcm) // 2 for frame in self.frames(call_id, turn, segment))
        message = SegmentPlayed(call_id=call_id, turn=turn, segment=segment, samples=samples)
        await self.send(self.calls[call_id].llm, message)

    async def play_out(self, call_id: str, turn: int) -> str:
        """Plays a reply like a media worker, only faster; gives what was said, from the event log."""
        segment = 0
        while True:
            end = await self.until(
                lambda n=segment: self.whole(call_id, turn, n) or self.end_of(call_id, turn, n),
                what=f"segment {segment} or the end of turn {turn}",
            )
            if isinstance(end, ReplyEnd):
                return " ".join(await self.said(call_id, turn))
            await self.played(call_id, turn, segment)
            segment += 1

    async def hang_up(self, call_id: str) -> None:
        await self.send(self.calls[call_id].llm, DialogueDetach(call_id=call_id, reason="bye"))

    def got(self, kind: type[M], call_id: str) -> list[M]:
        """Messages of one kind that the media worker's inbox received for a call."""
        return [m for m in self.inbox if isinstance(m, kind) and getattr(m, "call_id", "") == call_id]

    def end_of(self, call_id: str, turn: int, segments: int) -> ReplyEnd | None:
        ends = [end for end in self.got(ReplyEnd, call_id) if end.turn == turn]
        return ends[-1] if ends and ends[-1].segments <= segments else None

    def frames(self, call_id: str, turn: int, segment: int | None = None) -> list[ReplyFrame]:
        found = [f for entry in self.pcm for f in entry.frames if f.call_id == call_id and f.turn == turn]
        return [frame for frame in found if segment is None or frame.segment == segment]

    def whole(self, call_id: str, turn: int, segment: int) -> bool:
        return any(frame.last for frame in self.frames(call_id, turn, segment))

    def audio(self, call_id: str, turn: int, segment: int) -> "np.ndarray[Any, np.dtype[np.int16]]":
        frames = sorted(self.frames(call_id, turn, segment), key=lambda frame: frame.offset)
        return np.frombuffer(b"".join(frame.pcm for frame in frames), np.int16)

    async def events(self, call_id: str, kind: str) -> list[dict[str, Any]]:
        entries = await self.client.xrange(self.keys.events(call_id))
        found = [decode(fields[b"m"]) for _, fields in entries]
        return [event.data for event in found if isinstance(event, CallEvent) and event.kind == kind]

    async def said(self, call_id: str, turn: int) -> list[str]:
        return [data["text"] for data in await self.events(call_id, "agent.segment") if data["turn"] == turn]

    async def _read(self, stream: str, into: list[Any]) -> None:
        reader = self.bus.reader(stream)
        while True:
            batch = await reader.read(count=64, block_ms=200)
            into += [decode(entry.payload) for entry in batch.entries]


@asynccontextmanager
async def ai_farm(redis_url: str, folder: Path) -> AsyncIterator[AiFarm]:
    """A farm without workers yet; every process started in it ends with it."""
    with ExitStack() as stack:
        farm = AiFarm(redis_url, folder, stack)
        farm.begin()
        try:
            yield farm
        finally:
            await farm.close()
