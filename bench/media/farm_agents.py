"""A whole media worker with agents: Redis, recordings, callers whose speech goes to Redis 40 % of the time and who hear
a reply 40 % of it.

`python -m mediaworker` runs as it does in a farm. This program plays the front and the AI workers: it reads the speech that
comes over Redis, and answers the end of every utterance with four seconds of audio, in frames and entries like a TTS worker's.
What counts is the processor time of the worker's process: tick, bus thread, recording thread.
"""

import asyncio
import json
import os
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench.media.tables import table
from bench.media.under_load import BASE_PORT, PRIORITY, core, cpu_seconds
from mediaworker.core.g711 import MU_LAW
from shared.config import Config, RedisConfig
from shared.contracts import (
    AiWorkers,
    AppSpec,
    Mark,
    MediaAnswer,
    MediaFormat,
    MediaOpen,
    MediaStart,
    Message,
    PcmToMedia,
    PcmToStt,
    ReplyEnd,
    ReplyFrame,
    RtpEndpoint,
)
from shared.ids import new_call_id, new_message_id
from shared.metrics import Metrics
from shared.registry import CallRecord, Role
from shared.shell import Identity, Shell
from tests.support.processes import free_port, redis_server, running, wait_until
from tests.support.waiting import eventually

CALLERS_PORT = 14_100
"""Not a number that is a port of the worker's: it sends nothing to those, whatever the address."""
CYCLE_PACKETS, SPEECH_PACKETS = 500, 175
"""Ten seconds, of which 3.5 are speech: with the endpoint's half second an utterance is 40 % of the time."""
FRAME_SAMPLES = 1_600
REPLY_FRAMES = 20
ENTRY_FRAMES = 128
GATHER_S = 0.005
TALKING_S = 11.0
"""Before anything is measured: a whole cycle, so that speech and replies of the calls overlap as they will."""


class Played:
    """A process of the farm that the bench plays."""

    def __init__(self, url: str, role: Role) -> None:
        identity = Identity(
            role=role, name=f"{role}-bench", capacity=10_000, takes_pcm=role in {"stt", "tts"}
        )
        self.shell = Shell(Config(redis=RedisConfig(url=url)), identity, Metrics(role))
        self.answers: dict[str, MediaAnswer] = {}
        self.speech_frames = 0
        self.ended: list[tuple[str, int]] = []

    async def on_message(self, message: Message) -> None:
        if isinstance(message, PcmToStt):
            self.speech_frames += len(message.frames)
            self.ended += [(f.call_id, f.turn) for f in message.frames if f.mark is Mark.END]
        elif isinstance(message, MediaAnswer):
            self.answers[message.msg_id] = message

    async def on_beat(self, *, forgotten: bool) -> None:
        """Nothing to write again."""

    def calls(self) -> int:
        return 0


class Bench:
    """The front and the AI workers of `count` calls."""

    def __init__(self, url: str, count: int) -> None:
        self._count = count
        self._parts = {role: Played(url, role) for role in ("front", "stt", "llm", "tts")}
        reply = np.sin(np.arange(FRAME_SAMPLES) * 2 * np.pi * 300 / 8_000) * 6_000
        self._pcm = reply.astype("<i2").tobytes()
        self._worker = ""
        self.replies = 0

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(part.shell.run(part, signals=False, serve_pages=False))
            for part in self._parts.values()
        ]
        await eventually(lambda: all(p.shell.state == "ready" for p in self._parts.values()))
        self._tasks.append(asyncio.create_task(self._answer()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tasks.pop().cancel()
        for part in self._parts.values():
            part.shell.stop()
        await asyncio.gather(*self._tasks)

    async def open_calls(self) -> None:
        registry = self._parts["front"].shell.registry

        async def ready() -> int:
            for worker in await registry.live("media"):
                if await registry.free_ports(worker):
                    return 1
            return 0

        await eventually(ready, 15.0)
        for start in range(0, self._count, 100):
            await asyncio.gather(*(self._call() for _ in range(min(100, self._count - start))))

    async def _call(self) -> None:
        front = self._parts["front"].shell
        call_id = new_call_id()
        known: dict[str, Any] = {"tenant": "bench", "room_id": f"room-{call_id}", "session_id": "s"}
        placed = await front.registry.reserve(
            CallRecord(
                call_id=call_id, sip_call_id=f"sip-{call_id}", app="agent", agent="", front=front.worker_id,
                caller="sip:a@bench", callee="sip:b@bench", started_ms=1, **known,
            ),
            ("stt", "llm", "tts"),
        )  # fmt: skip
        self._worker = placed.worker
        await self._ask(MediaOpen(
            msg_id=new_message_id(), reply_to=front.worker_id, call_id=call_id, sip_call_id=f"sip-{call_id}",
            rtp_port=placed.port, remote=RtpEndpoint(host="127.0.0.2", rtp_port=CALLERS_PORT + placed.port - BASE_PORT),
            format=MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=101), app=AppSpec(kind="agent", agent="demo"),
            ai=AiWorkers(stt=placed.stt, llm=placed.llm, tts=placed.tts), record=True, **known,
        ))  # fmt: skip
        await self._ask(MediaStart(msg_id=new_message_id(), reply_to=front.worker_id, call_id=call_id))

    async def _ask(self, request: MediaOpen | MediaStart) -> None:
        front = self._parts["front"]
        front.shell.send(self._worker, request)
        await eventually(lambda: request.msg_id in front.answers, 20.0)
        answer = front.answers.pop(request.msg_id)
        assert answer.ok, answer.reason

    async def _answer(self) -> None:
        """Ends of utterances are answered, as many frames in an entry as a TTS worker puts into one."""
        stt, llm, tts = (self._parts[role] for role in ("stt", "llm", "tts"))
        while True:
            await asyncio.sleep(GATHER_S)
            ended, stt.ended = stt.ended, []
            frames = [
                ReplyFrame(call, turn, 0, number * FRAME_SAMPLES, self._pcm, number == REPLY_FRAMES - 1)
                for number in range(REPLY_FRAMES)
                for call, turn in ended
            ]
            for at in range(0, len(frames), ENTRY_FRAMES):
                part = frames[at : at + ENTRY_FRAMES]
                tts.shell.send_pcm(self._worker, PcmToMedia(rate_hz=8_000, frames=part))
            for call, turn in ended:
                llm.shell.send(self._worker, ReplyEnd(call_id=call, turn=turn, segments=1))
            self.replies += len(ended)

    @property
    def speech_frames(self) -> int:
        return self._parts["stt"].speech_frames


def write_talk(path: Path) -> None:
    """Mu-law payloads of a caller who speaks now and then: noise in syllables, then a quiet line."""
    random = np.random.default_rng(11)
    samples = np.arange(CYCLE_PACKETS * 160)
    loud = np.where(
        samples < SPEECH_PACKETS * 160, 3_000 * (0.3 + np.abs(np.sin(samples * np.pi / 1_600))), 6
    )
    pcm = (random.normal(0, 1, len(samples)) * loud).clip(-32_000, 32_000).astype(np.int16)
    octets = MU_LAW.encoder[pcm.view(np.uint16)].reshape(CYCLE_PACKETS, 160)
    path.write_bytes(b"".join(struct.pack("<H", 160) + row.tobytes() for row in octets))


def get(port: int, page: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def metric(text: str, name: str) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith((name + " ", name + "{"))
    )


@contextmanager
def worker(url: str, folder: Path, capacity: int) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """A media worker; its process, its page's port and how long it took to be ready."""
    port = free_port()
    env = {
        "VOICEFARM_REDIS_URL": url, "VOICEFARM_OPS__HTTP_PORT": str(port),
        "VOICEFARM_MEDIA__PORTS": f"{BASE_PORT}-{BASE_PORT + 2 * capacity - 1}", "VOICEFARM_MEDIA__CAPACITY": str(capacity),
        "VOICEFARM_MEDIA__RECORD_DIR": str(folder / "recordings"), "VOICEFARM_OPS__LOG_FORMAT": "text",
    }  # fmt: skip
    begun = time.monotonic()
    command = [sys.executable, "-m", "mediaworker"]
    with running(command, env=env, log=folder / "media.txt") as process:
        wait_until(lambda: get(port, "readyz"), 30.0)
        yield process, port, time.monotonic() - begun


def run(load: Path, folder: Path, count: int, seconds: float) -> list[str]:
    with redis_server() as url:
        with worker(url, folder, 2_000) as (_, _, started_s):
            pass
        rows = [asyncio.run(_agents(url, load, folder, count, seconds))]
    head = ["agent legs", "one core used", "of it: tick / bus / recording and other threads", "speech frames per s to Redis",
            "replies per s", "jitter back p50 / p99, ms", "gaps back", "overruns of slots", "given up", "MB resident",
            "late wake-ups of the load"]  # fmt: skip
    return [
        "## Agents", "", *table(head, rows),
        f"A worker with a capacity of 2,000 legs is ready {started_s:.2f} s after its process was started.", "",
    ]  # fmt: skip


async def _agents(url: str, load: Path, folder: Path, count: int, seconds: float) -> list[str]:
    talk = folder / "talk.payloads"
    write_talk(talk)
    with worker(url, folder, count) as (process, port, _):
        async with Bench(url, count) as bench:
            await bench.open_calls()
            command = [
                *PRIORITY, *core(1), str(load), str(BASE_PORT), "2", str(count), str(TALKING_S + seconds + 0.5), str(CALLERS_PORT),
                f"payloads={talk}",
            ]  # fmt: skip
            caller = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            await asyncio.sleep(TALKING_S)
            before, page, begun = (
                _threads(process.pid),
                await asyncio.to_thread(get, port, "metrics"),
                time.monotonic(),
            )
            cpu, heard, replies = cpu_seconds(process.pid), bench.speech_frames, bench.replies
            await asyncio.sleep(seconds)
            took = time.monotonic() - begun
            cpu = cpu_seconds(process.pid) - cpu
            heard, replies = bench.speech_frames - heard, bench.replies - replies
            after, later = _threads(process.pid), await asyncio.to_thread(get, port, "metrics")
            figures = json.loads((await caller.communicate())[0])
            resident = _resident_mb(process.pid)
    used = {tid: after[tid] - before.get(tid, 0.0) for tid in after}
    main = used.pop(process.pid)
    ranked = sorted(used.values(), reverse=True)
    slots, over = (
        metric(later, name) - metric(page, name)
        for name in ("voicefarm_tick_seconds_count", "voicefarm_tick_overruns_total")
    )
    given_up = {
        name.removeprefix("voicefarm_"): int(metric(later, name) - metric(page, name))
        for name in ("voicefarm_bus_dropped_total", "voicefarm_recording_dropped_frames_total")
    }
    row = [
        str(count), f"**{cpu / took:.0%}**", f"{main / took:.0%} / {ranked[0] / took:.0%} / {sum(ranked[1:]) / took:.0%}",
        f"{heard / took:.0f} ({heard / took / count / 50:.0%} of the time)", f"{replies / took:.0f}",
        f"{figures['jitter_p50_ms']:.2f} / {figures['jitter_p99_ms']:.2f}", str(figures["gaps"]), f"{over:.0f} of {slots:.0f}",
        ", ".join(f"{name} {value}" for name, value in given_up.items() if value) or "nothing", f"{resident:.0f}",
        str(figures["late"]),
    ]  # fmt: skip
    print(row, flush=True)
    return row


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _threads(pid: int) -> dict[int, float]:
    """Processor time of each thread so far, s."""
    times = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        words = (path / "schedstat").read_text().split()
        times[int(path.name)] = int(words[0]) / 1e9
    return times
