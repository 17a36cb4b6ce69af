"""The TTS worker's hooks without a Redis: engines of the test, and what would go to the media workers."""

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from aiworker.core.failover import StreamCut
from aiworker.core.frames import Samples
from aiworker.io.tts_worker import TtsWorker, _loaded
from aiworker.tts.port import Sentence
from shared.config import Config
from shared.contracts import PcmToMedia, ReplyFrame, Speak, SpeakCancel, StageTimes, decode
from shared.errors import EngineMissing
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from tests.support.waiting import eventually

pytestmark = pytest.mark.unit

MEDIA = "media-0.aa"


class Engine:
    """Speaks a frame per letter, fails at `!`, and waits at `_` until it is let go."""

    def __init__(self, name: str = "test", parallel: int = 2, *, fails: bool = False) -> None:
        self.name = name
        self.parallel = parallel
        self.fails = fails
        self.spoken: list[str] = []
        self.go_on = asyncio.Event()
        self.closed = 0

    async def load(self) -> None:
        if self.fails:
            raise EngineMissing(f"{self.name} is not installed")

    async def synthesise(self, sentence: Sentence) -> AsyncGenerator[Samples, None]:
        self.spoken.append(sentence.text)
        if self.fails:
            raise StreamCut("broken from the start")
        try:
            for letter in sentence.text:
                if letter == "!":
                    raise StreamCut("broken in the middle")
                if letter == "_":
                    await self.go_on.wait()
                yield np.full(1_600, ord(letter) * 10, np.int16)
        finally:
            self.closed += 1

    async def close(self) -> None:
        """Nothing is held."""


class Bench:
    def __init__(self, *engines: Engine) -> None:
        self.shell = Shell(Config(), Identity(role="tts", name="tts-0", capacity=5), Metrics("tts"))
        self.engines = engines
        self.worker = TtsWorker(self.shell, list(engines))

    async def say(self, text: str, *, call: str = "c1", turn: int = 1, segment: int = 0, media: str = MEDIA,
                  rate_hz: int = 8_000, times: StageTimes | None = None) -> None:  # fmt: skip
        await self.worker.on_message(
            Speak(call_id=call, epoch=1, turn=turn, segment=segment, text=text, media=media, rate_hz=rate_hz,
                  times=times or StageTimes())
        )  # fmt: skip

    async def cancel(self, turn: int, call: str = "c1") -> None:
        await self.worker.on_message(SpeakCancel(call_id=call, turn=turn))

    def entries(self, media: str = MEDIA) -> list[PcmToMedia]:
        self.worker._sender.flush()
        waiting = self.shell.pcm_outbox._live
        found = [decode(item.payload) for item in waiting if item.stream == self.shell.keys.pcm(media)]
        return [entry for entry in found if isinstance(entry, PcmToMedia)]

    def frames(self, call: str = "c1", segment: int = 0, media: str = MEDIA) -> list[ReplyFrame]:
        frames = [frame for entry in self.entries(media) for frame in entry.frames]
        return [frame for frame in frames if (frame.call_id, frame.segment) == (call, segment)]

    async def ended(self, call: str = "c1", segment: int = 0) -> list[ReplyFrame]:
        await eventually(lambda: [frame for frame in self.frames(call, segment) if frame.last], 5)
        return self.frames(call, segment)

    def counted(self, name: str, **labels: str) -> float:
        return self.shell.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def bench() -> Bench:
    return Bench(Engine())


def heard(frames: list[ReplyFrame]) -> str:
    """The letters whose audio is in frames."""
    pcm = np.frombuffer(b"".join(frame.pcm for frame in frames), np.int16)
    return "".join(chr(round(value / 10)) for value in pcm[800::1_600])


async def test_sentence_is_frames_without_a_gap_and_one_last_one(bench: Bench) -> None:
    await bench.say("abc")
    frames = await bench.ended()
    sizes = [len(frame.pcm) // 2 for frame in frames]
    assert [frame.offset for frame in frames] == [sum(sizes[:n]) for n in range(len(sizes))]
    assert [frame.last for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert sum(sizes) == 4_800
    assert bench.worker.calls() == 0


async def test_sentences_of_a_call_come_in_order_and_calls_do_not_wait_for_each_other() -> None:
    bench = Bench(Engine(parallel=2))
    await bench.say("a_", call="slow")
    await bench.say("b", call="slow", segment=1)
    await bench.say("c", call="quick")
    await bench.ended("quick")
    assert bench.engines[0].spoken == ["a_", "c"], "the second sentence waits for the first of its call"
    assert bench.worker.calls() == 1
    bench.engines[0].go_on.set()
    await bench.ended("slow", 1)
    assert bench.engines[0].spoken == ["a_", "c", "b"]


async def test_no_more_run_at_once_than_the_engine_takes_with_profit() -> None:
    bench = Bench(Engine(parallel=2))
    for n in range(5):
        await bench.say("a_", call=f"c{n}")
    await eventually(lambda: len(bench.engines[0].spoken) == 2, 5)
    assert bench.worker.calls() == 5
    bench.engines[0].go_on.set()
    for n in range(5):
        await bench.ended(f"c{n}")
    assert len(bench.engines[0].spoken) == 5


async def test_cancelled_sentence_stops_its_engine_and_what_waits_is_never_begun(bench: Bench) -> None:
    await bench.say("a_c")
    await bench.say("never", segment=1)
    await eventually(bench.frames, 5)
    await bench.cancel(turn=2)
    await eventually(lambda: bench.worker.calls() == 0, 5)
    assert bench.engines[0].closed == 1
    assert bench.engines[0].spoken == ["a_c"]
    assert not [frame for frame in bench.frames() if frame.last]
    await bench.say("late", segment=2)
    assert bench.counted("voicefarm_bus_dropped_total", kind="late") == 1
    await bench.say("x", turn=2, segment=5)
    assert len(await bench.ended(segment=5)) >= 1


async def test_second_engine_speaks_when_the_first_gave_nothing() -> None:
    bench = Bench(Engine("one", fails=True), Engine("two"))
    await bench.say("ab")
    assert heard(await bench.ended()) == "ab"
    assert bench.counted("voicefarm_engine_failures_total", engine="one", reason="cut") == 1


async def test_sentence_that_was_begun_is_never_begun_again() -> None:
    bench = Bench(Engine("one"), Engine("two"))
    await bench.say("abcdef!g")
    frames = await bench.ended()
    assert heard(frames) == "abcdef"
    assert bench.engines[1].spoken == []


async def test_sentence_that_nobody_can_speak_ends_with_an_empty_frame() -> None:
    bench = Bench(Engine("one", fails=True), Engine("two", fails=True))
    await bench.say("ab")
    assert [(f.offset, f.pcm, f.last) for f in await bench.ended()] == [(0, b"", True)]
    await bench.say("cd", segment=1)
    await bench.ended(segment=1)
    assert bench.worker.calls() == 0


async def test_first_frame_carries_the_times_of_its_stages_and_later_ones_none(bench: Bench) -> None:
    await bench.say("ab", times=StageTimes(llm_first_token_ms=12.0))
    await bench.ended()
    [times] = [entry.times["c1"] for entry in bench.entries() if "c1" in entry.times]
    assert times.llm_first_token_ms == 12.0
    assert times.tts_first_frame_ms >= 0
    await bench.say("cd", segment=1)
    await bench.ended(segment=1)
    assert len([entry for entry in bench.entries() if "c1" in entry.times]) == 1


async def test_frames_of_calls_travel_together_by_media_worker_and_rate(bench: Bench) -> None:
    await asyncio.gather(
        bench.say("a", call="c1"), bench.say("b", call="c2"), bench.say("c", call="c3", media="media-1.bb"),
    )  # fmt: skip
    await bench.say("d", call="c4", rate_hz=16_000)
    for call in ("c1", "c2", "c4"):
        await bench.ended(call)
    await eventually(lambda: bench.frames("c3", media="media-1.bb"), 5)
    assert {frame.call_id for entry in bench.entries() for frame in entry.frames} == {"c1", "c2", "c4"}
    for entry in bench.entries():
        assert {frame.call_id == "c4" for frame in entry.frames} == {entry.rate_hz == 16_000}


async def test_message_of_another_kind_is_passed_over(bench: Bench) -> None:
    await bench.worker.on_message(SpeakCancel(call_id="unknown", turn=3))
    assert bench.worker.calls() == 0


async def test_first_choice_must_be_there_and_the_second_need_not() -> None:
    with pytest.raises(EngineMissing, match="one is not installed"):
        await _loaded([Engine("one", fails=True), Engine("two")])
    usable = await _loaded([Engine("one"), Engine("two", fails=True), Engine("three")])
    assert [engine.name for engine in usable] == ["one", "three"]
