"""An STT worker as a process, a real Redis, the tone-language model, and this test as the media worker of every call."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from shared.bus import Append, RedisBus, connect
from shared.contracts import (
    CallEvent,
    Mark,
    Message,
    PcmToStt,
    SttAttach,
    SttDetach,
    Transcript,
    UtteranceFrame,
    decode,
    encode,
)
from shared.errors import BusError
from shared.keys import BEAT_MS, CTL_MAXLEN, INBOX_TTL_MS, PCM_MAXLEN, Keys
from shared.registry import Registry, WorkerRecord
from tests.support.processes import answers, free_port, redis_command, running, stop, wait_until
from tests.support.tone_whisper import TONES, cached_model, speak
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

RATE = 8_000
FRAME = 160
LLM = "llm-test.0"


@contextmanager
def stt_process(url: str, tmp_path: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        "VOICEFARM_REDIS_URL": url, "VOICEFARM_STT__ENGINE": "faster-whisper", "VOICEFARM_WORKER_NAME": "stt-0",
        "VOICEFARM_STT__MODEL": str(cached_model()), "VOICEFARM_STT__DEVICE": "cpu", "VOICEFARM_OPS__DRAIN_S": "20",
        "VOICEFARM_STT__COMPUTE_TYPE": "float32", **{key: str(value) for key, value in settings.items()},
    }  # fmt: skip
    with running([sys.executable, "-m", "aiworker", "stt"], env=env, log=tmp_path / "stt.log") as process:
        yield process


class Media:
    """The media worker's and the LLM worker's side of the bus."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self.bus = RedisBus(self.client)
        self.keys = Keys("vf")
        self.registry = Registry(self.client, self.keys)
        self.inbox = self.bus.reader(self.keys.ctl(LLM))
        self.record = WorkerRecord(
            worker_id="media-test.0", role="media", host="h", http_port=0, capacity=100
        )

    async def beat(self) -> None:
        while True:
            with suppress(BusError):
                await self.registry.beat(self.record)
            await asyncio.sleep(BEAT_MS / 1_000)

    async def worker(self, other_than: str = "") -> WorkerRecord:
        async def look() -> list[WorkerRecord]:
            try:
                live = (await self.registry.live("stt")).values()
            except BusError:  # Redis is just restarting
                return []
            return [one for one in live if one.worker_id != other_than]

        found = await eventually(look, 30)
        assert isinstance(found, list)
        return found[0]

    async def attach(self, worker: WorkerRecord, *calls: str, epoch: int = 1, llm: str = LLM) -> None:
        for call in calls:
            message = SttAttach(call_id=call, tenant="t", epoch=epoch, media=self.record.worker_id, llm=llm)
            await self.tell(worker, message)

    async def tell(self, worker: WorkerRecord, message: Message) -> None:
        await self.bus.append(
            [Append(self.keys.ctl(worker.worker_id), encode(message), CTL_MAXLEN, INBOX_TTL_MS)]
        )

    async def say(self, worker: WorkerRecord, *frames: UtteranceFrame) -> None:
        payload = encode(PcmToStt(rate_hz=RATE, frames=list(frames)))
        await self.bus.append([Append(self.keys.pcm(worker.worker_id), payload, PCM_MAXLEN, INBOX_TTL_MS)])

    async def transcripts(
        self, number: int, kind: str = "final", timeout_s: float = 40.0
    ) -> list[Transcript]:
        found: list[Transcript] = []
        async with asyncio.timeout(timeout_s):
            while sum(one.kind == kind for one in found) < number:
                batch = await self.inbox.read(count=64, block_ms=500)
                found += [
                    one
                    for one in (decode(entry.payload) for entry in batch.entries)
                    if isinstance(one, Transcript)
                ]
        return [one for one in found if one.kind == kind]

    async def logged(self, call: str) -> list[CallEvent]:
        batch = await self.bus.reader(self.keys.events(call)).read(block_ms=0)
        return [
            one for one in (decode(entry.payload) for entry in batch.entries) if isinstance(one, CallEvent)
        ]


@asynccontextmanager
async def media(url: str) -> AsyncIterator[Media]:
    """The worker gives up the calls of a media worker without a lease, so this one beats like any other."""
    made = Media(url)
    beats = asyncio.create_task(made.beat())
    try:
        yield made
    finally:
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
        await made.client.aclose()


def utterance(call: str, words: list[str], turn: int = 1, epoch: int = 1) -> list[UtteranceFrame]:
    """Frames of 20 ms as the media worker sends them: a PAUSE 200 ms after the last word, END 500 ms after it."""
    sound = speak(words)
    speech, pause = len(sound) // FRAME, 10
    pcm = sound.tobytes() + bytes(2 * FRAME * 25)
    frames = []
    for n in range(speech + 25):
        mark, silence_ms = Mark.AUDIO, 0
        if n == 0:
            mark = Mark.START
        elif n == speech + pause - 1:
            mark, silence_ms = Mark.PAUSE, 200
        elif n == speech + 24:
            mark, silence_ms = Mark.END, 500
        part = pcm[2 * FRAME * n : 2 * FRAME * (n + 1)]
        frames.append(UtteranceFrame(call, epoch, turn, n * FRAME, mark, part, silence_ms))
    return frames


async def speak_all(
    farm: Media, worker: WorkerRecord, said: dict[str, list[str]], turn: int = 1, epoch: int = 1
) -> None:
    """All calls at once, an entry per tick for all of them, as fast as the bus takes it."""
    streams = [utterance(call, words, turn, epoch) for call, words in said.items()]
    for tick in range(max(map(len, streams))):
        await farm.say(worker, *(stream[tick] for stream in streams if tick < len(stream)))


def page(worker: WorkerRecord, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.http_port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not exported"
    return float(found[1])


async def test_fifty_calls_at_once_hear_every_word_of_their_own(redis_url: str, tmp_path: Path) -> None:
    draw = random.Random(50)
    said = {f"call-{n}": draw.choices(list(TONES), k=draw.randint(1, 5)) for n in range(50)}
    with stt_process(redis_url, tmp_path):
        async with media(redis_url) as farm:
            worker = await farm.worker()
            assert worker.engine.startswith("faster-whisper")
            await farm.attach(worker, *said)
            await speak_all(farm, worker, said)
            finals = await farm.transcripts(len(said))
            assert {one.call_id: one.text.split() for one in finals} == said
            assert len(finals) == len(said)
            for call, words in said.items():
                (event,) = await farm.logged(call)
                assert (event.kind, event.data["text"].split(), event.data["kind"]) == (
                    "transcript",
                    words,
                    "final",
                )
            exported = page(worker, "/metrics")
            assert metric(exported, "voicefarm_calls_active") == 50
            # The calls spoke together, so the model decoded them together.
            assert metric(exported, "voicefarm_stt_batch_size_count") < 50
            assert metric(exported, 'voicefarm_stt_batch_size_bucket{le="8.0"}') < metric(
                exported, "voicefarm_stt_batch_size_count"
            )
            for call in said:
                await farm.tell(worker, SttDetach(call_id=call))
            await eventually(lambda: metric(page(worker, "/metrics"), "voicefarm_calls_active") == 0)


async def test_guess_at_the_pause_is_the_final_at_the_endpoint(redis_url: str, tmp_path: Path) -> None:
    with stt_process(redis_url, tmp_path):
        async with media(redis_url) as farm:
            worker = await farm.worker()
            await farm.attach(worker, "a")
            frames = utterance("a", ["help", "billing"])
            await farm.say(worker, *frames[:-14])
            (guess,) = await farm.transcripts(1, "speculative")
            await farm.say(worker, *frames[-14:])
            (final,) = await farm.transcripts(1)
            assert guess.text == final.text == "help billing"
            assert (final.wait_ms, final.decode_ms) == (0.0, 0.0)
            assert final.confidence > 0.9


async def test_silence_is_an_empty_final(redis_url: str, tmp_path: Path) -> None:
    with stt_process(redis_url, tmp_path):
        async with media(redis_url) as farm:
            worker = await farm.worker()
            await farm.attach(worker, "a")
            await farm.say(worker, UtteranceFrame("a", 1, 1, 0, Mark.START, bytes(6_400), 0))
            await farm.say(worker, UtteranceFrame("a", 1, 1, 3_200, Mark.END, bytes(640), 0))
            assert [one.text for one in await farm.transcripts(1)] == [""]


async def test_drain_decodes_what_was_said_and_ends_well(redis_url: str, tmp_path: Path) -> None:
    with stt_process(redis_url, tmp_path) as process:
        async with media(redis_url) as farm:
            worker = await farm.worker()
            await farm.attach(worker, "a")
            await farm.say(worker, *utterance("a", ["no", "stop"])[:-1])
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: "voicefarm_worker_draining 1.0" in page(worker, "/metrics"))
            await farm.say(worker, utterance("a", ["no", "stop"])[-1])
            await farm.tell(worker, SttDetach(call_id="a"))
            assert [one.text for one in await farm.transcripts(1)] == ["no stop"]
            wait_until(lambda: process.poll() is not None, 15)
            assert process.returncode == 0
            assert await farm.registry.live("stt") == {}
            assert not await farm.client.exists(
                farm.keys.worker(worker.worker_id),
                farm.keys.pcm(worker.worker_id),
                farm.keys.ctl(worker.worker_id),
            )


async def test_killed_worker_leaves_nothing_but_leases_and_its_successor_takes_the_call(
    redis_url: str, tmp_path: Path
) -> None:
    async with media(redis_url) as farm:
        with stt_process(redis_url, tmp_path) as process:
            worker = await farm.worker()
            await farm.attach(worker, "a")
            await farm.say(worker, *utterance("a", ["agent", "please"])[:-5])
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
        with stt_process(redis_url, tmp_path):
            successor = await farm.worker(other_than=worker.worker_id)
            await farm.attach(successor, "a", epoch=2)
            await farm.say(successor, *utterance("a", ["agent", "please"], epoch=2))
            (final,) = await farm.transcripts(1)
            assert (final.text, final.epoch) == ("agent please", 2)

            async def gone() -> bool:
                return set(await farm.registry.live("stt")) == {successor.worker_id}

            await eventually(gone)
        left = [key async for key in farm.client.scan_iter("vf:*") if await farm.client.ttl(key) < 0]
        assert [key for key in left if worker.worker_id.encode() in key] == []


async def test_worker_goes_on_after_redis_restarts(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with running(redis_command(port)) as first:
        wait_until(lambda: answers(port))
        with stt_process(url, tmp_path):
            async with media(url) as farm:
                worker = await farm.worker()
                await farm.attach(worker, "a")
                await farm.say(worker, *utterance("a", ["yes"])[:10])
                stop(first)
                await eventually(lambda: not answers(port))
                with running(redis_command(port)):
                    wait_until(lambda: answers(port))
                    again = await farm.worker()
                    assert again.worker_id == worker.worker_id
                    await farm.attach(worker, "a", epoch=2)
                    await speak_all(farm, worker, {"a": ["thanks", "hello"]}, turn=1, epoch=2)
                    finals = await farm.transcripts(1)
                    assert [one.text for one in finals] == ["thanks hello"]


async def test_engine_that_is_missing_is_told_by_the_exit_status(redis_url: str, tmp_path: Path) -> None:
    with stt_process(redis_url, tmp_path, VOICEFARM_STT__MODEL=tmp_path / "no-model") as process:
        wait_until(lambda: process.poll() is not None, 30)
        assert process.returncode == 69
    assert "stt.model" in (tmp_path / "stt.log").read_text()
