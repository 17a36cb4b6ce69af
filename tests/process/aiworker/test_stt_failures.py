"""An STT worker whose engine fails, inside this process: no call pays for another's trouble, and each is told."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from aiworker.io.engine_thread import EngineThread
from aiworker.io.stt_worker import SttWorker
from aiworker.stt.port import Hypothesis, Utterance
from shared.bus import Append, Reader
from shared.config import Config, OpsConfig, RedisConfig
from shared.contracts import Mark, PcmToStt, SttAttach, SttDetach, Transcript, UtteranceFrame, decode, encode
from shared.errors import EngineError
from shared.keys import INBOX_TTL_MS, PCM_MAXLEN
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

POISON, ODD = 666, 555


class Brittle:
    """An engine that says the number it hears, breaks on one number and complains about another."""

    name = "brittle 1"
    sample_rate = 8_000
    batch_max = 8

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.batches: list[int] = []

    def load(self) -> None:
        """Nothing to load."""

    def bucket(self, _utterance: Utterance) -> Hashable:
        return 0

    def decode(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        self.batches.append(len(utterances))
        assert self.free.wait(10)
        heard = [int(one.samples[0]) for one in utterances]
        if POISON in heard:
            raise EngineError("poison")
        return [Hypothesis("", problem="odd") if n == ODD else Hypothesis(str(n), 1.0) for n in heard]


@dataclass
class Bench:
    shell: Shell
    worker: SttWorker
    engine: Brittle
    inbox: Reader
    heard: list[Transcript] = field(default_factory=list)

    async def say(self, call: str, number: int, *marks: Mark, turn: int = 1) -> None:
        frames = [
            UtteranceFrame(
                call,
                1,
                turn,
                n * 160,
                mark,
                np.full(160, number, np.int16).tobytes(),
                500 * (mark is Mark.END),
            )
            for n, mark in enumerate(marks)
        ]
        payload = encode(PcmToStt(rate_hz=8_000, frames=frames))
        stream = self.shell.keys.pcm(self.shell.worker_id)
        await self.shell.pcm_bus.append([Append(stream, payload, PCM_MAXLEN, INBOX_TTL_MS)])

    async def finals(self, number: int) -> dict[str, str]:
        async def enough() -> bool:
            batch = await self.inbox.read(block_ms=50)
            self.heard += [m for m in (decode(e.payload) for e in batch.entries) if isinstance(m, Transcript)]
            return sum(one.kind == "final" for one in self.heard) >= number

        await eventually(enough)
        return {one.call_id: one.text for one in self.heard if one.kind == "final"}

    def failures(self, reason: str) -> float:
        return sample(
            self.shell.metrics.registry, "voicefarm_engine_failures_total", engine="brittle", reason=reason
        )


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def bench(
    url: str, *, capacity: int = 8, calls: Sequence[str] = ("a", "b", "c")
) -> AsyncIterator[Bench]:
    config = Config(redis=RedisConfig(url=url), ops=OpsConfig(drain_s=5.0))
    identity = Identity(role="stt", name="stt-t", capacity=capacity, engine="brittle", takes_pcm=True)
    shell = Shell(config, identity, Metrics("stt"))
    thread = EngineThread("stt")
    engine = Brittle()
    worker = SttWorker(shell, engine, thread)
    worker.start()
    running = asyncio.create_task(shell.run(worker, signals=False, serve_pages=False))
    try:
        for call in calls:
            await worker.on_message(
                SttAttach(call_id=call, tenant="t", epoch=1, media="media-t.0", llm="llm-t.0")
            )
        yield Bench(shell, worker, engine, shell.bus.reader(shell.keys.ctl("llm-t.0")))
    finally:
        engine.free.set()
        shell.stop()
        await running
        thread.close()


async def test_utterance_that_breaks_the_engine_takes_no_neighbour_with_it(redis_url: str) -> None:
    async with bench(redis_url) as farm:
        farm.engine.free.clear()
        await farm.say("a", 1, Mark.START, Mark.END)
        await eventually(lambda: farm.engine.batches == [1])
        await farm.say("a", 2, Mark.START, Mark.END, turn=2)
        await farm.say("b", POISON, Mark.START, Mark.END)
        await farm.say("c", 3, Mark.START, Mark.END)
        await eventually(lambda: len(farm.worker._batcher) == 3)
        farm.engine.free.set()
        assert await farm.finals(4) == {"a": "2", "b": "", "c": "3"}
        assert farm.engine.batches == [1, 3, 1, 1, 1]
        assert farm.failures("error") == 1


async def test_row_with_a_problem_is_told_and_counted(redis_url: str) -> None:
    async with bench(redis_url) as farm:
        await farm.say("a", ODD, Mark.START, Mark.END)
        assert await farm.finals(1) == {"a": ""}
        assert farm.failures("odd") == 1


async def test_speculation_that_waited_too_long_is_dropped_and_the_endpoint_decodes(redis_url: str) -> None:
    async with bench(redis_url) as farm:
        farm.engine.free.clear()
        await farm.say("a", 1, Mark.START, Mark.END)
        await eventually(lambda: farm.engine.batches == [1])
        await farm.say("b", 2, Mark.START, Mark.PAUSE)
        await eventually(lambda: len(farm.worker._batcher) == 1)
        since = time.monotonic()
        await eventually(lambda: time.monotonic() - since > 0.6)
        farm.engine.free.set()
        await eventually(lambda: farm.failures("stale") == 1)
        await farm.say("b", 2, Mark.START, Mark.PAUSE, Mark.END)
        assert await farm.finals(2) == {"a": "1", "b": "2"}
        assert [one.kind for one in farm.heard if one.call_id == "b"] == ["final"]


async def test_losses_of_the_stream_are_exported(redis_url: str) -> None:
    async with bench(redis_url) as farm:
        await farm.say("a", 1, Mark.START, Mark.END)
        await farm.say("a", 1, Mark.START)
        registry = farm.shell.metrics.registry
        await eventually(lambda: sample(registry, "voicefarm_bus_dropped_total", kind="late") == 1)


async def test_call_beyond_twice_the_capacity_is_refused_and_counted(redis_url: str) -> None:
    async with bench(redis_url, capacity=1, calls=("a", "b", "c")) as farm:
        assert farm.worker.calls() == 2
        await eventually(lambda: farm.failures("full") == 1)


async def test_message_for_somebody_else_harms_nothing(redis_url: str) -> None:
    async with bench(redis_url) as farm:
        await farm.worker.on_message(Transcript(call_id="a", epoch=1, turn=1, kind="final", text="x"))
        await farm.say("a", 4, Mark.START, Mark.END)
        assert await farm.finals(1) == {"a": "4"}


async def test_last_words_of_a_caller_who_hung_up_are_decoded(redis_url: str) -> None:
    async with bench(redis_url) as farm:
        await farm.say("a", 5, Mark.START, Mark.AUDIO)
        await eventually(lambda: farm.worker._utterances._lanes["a"].open)
        await farm.worker.on_message(SttDetach(call_id="a"))
        assert await farm.finals(1) == {"a": "5"}
        await eventually(lambda: farm.worker.calls() == 2)
