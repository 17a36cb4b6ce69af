"""What every TTS engine must do; the openai one talks to a real HTTP server with faults."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from aiworker.core.failover import HttpRefused, StreamCut
from aiworker.core.frames import Samples
from aiworker.tts.espeak import EspeakEngine
from aiworker.tts.openai import OpenAiSpeech
from aiworker.tts.port import Sentence, TtsEngine
from aiworker.tts.tones import WORDS_HZ, TonesEngine
from shared.errors import EngineError, EngineMissing, EngineTimeout
from tests.support.openai_server import TONE_HZ, OpenAiServer, openai_server

pytestmark = pytest.mark.conformance


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as found:
        yield found


@pytest.fixture(params=["espeak", "openai", "tones"])
async def engine(request: pytest.FixtureRequest, server: OpenAiServer) -> AsyncIterator[TtsEngine]:
    made: dict[str, TtsEngine] = {
        "espeak": EspeakEngine(),
        "openai": OpenAiSpeech(server.base_url, "ok", "alloy"),
        "tones": TonesEngine(),
    }
    found = made[request.param]
    await found.load()
    yield found
    for each in made.values():
        await each.close()


async def spoken(engine: TtsEngine, sentence: Sentence) -> list[Samples]:
    async with aclosing(engine.synthesise(sentence)) as chunks:
        return [chunk async for chunk in chunks]


def frequency_hz(audio: Samples, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(audio))) * rate_hz / audio.size)


async def test_speech_is_audible_int16_when_words_are_given(engine: TtsEngine) -> None:
    chunks = await spoken(engine, Sentence("hello please stop"))
    audio = np.concatenate(chunks)
    assert audio.dtype == np.int16
    assert 0.6 < audio.size / 8_000 < 4
    assert 1_000 < np.abs(audio.astype(int)).max() <= 32_767


async def test_longer_text_is_longer_speech(engine: TtsEngine) -> None:
    short = sum(len(chunk) for chunk in await spoken(engine, Sentence("hello")))
    long = sum(len(chunk) for chunk in await spoken(engine, Sentence("hello please stop hello please stop")))
    assert long > 2 * short


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
async def test_duration_is_the_same_at_every_rate(engine: TtsEngine, rate_hz: int) -> None:
    samples = sum(len(chunk) for chunk in await spoken(engine, Sentence("hello please", rate_hz=rate_hz)))
    reference = sum(len(chunk) for chunk in await spoken(engine, Sentence("hello please", rate_hz=24_000)))
    assert samples / rate_hz == pytest.approx(reference / 24_000, abs=0.01)


async def test_text_without_words_makes_no_error(engine: TtsEngine) -> None:
    await spoken(engine, Sentence("..."))
    assert await spoken(engine, Sentence("hello"))


async def test_engine_speaks_again_when_listener_left(engine: TtsEngine) -> None:
    async with aclosing(engine.synthesise(Sentence("hello please stop " * 10))) as chunks:
        await anext(chunks)
    again = sum(len(chunk) for chunk in await spoken(engine, Sentence("hello")))
    assert 0 < again < 8_000 * 1.5


async def test_sentences_do_not_mix_when_two_are_spoken_at_once(engine: TtsEngine) -> None:
    alone = [np.concatenate(await spoken(engine, Sentence(text))) for text in ("hello stop", "please")]
    both = await asyncio.gather(spoken(engine, Sentence("hello stop")), spoken(engine, Sentence("please")))
    for chunks, reference in zip(both, alone, strict=True):
        assert abs(np.concatenate(chunks).size - reference.size) <= 160


async def test_voice_that_does_not_exist_does_not_silence_a_call(engine: TtsEngine) -> None:
    assert await spoken(engine, Sentence("hello", voice="no-such-voice"))


async def test_espeak_changes_its_voice_when_language_changes() -> None:
    engine = EspeakEngine()
    await engine.load()
    english = np.concatenate(
        await spoken(engine, Sentence("ich habe heute leider keine zeit, aber morgen", language="en"))
    )
    german = np.concatenate(
        await spoken(engine, Sentence("ich habe heute leider keine zeit, aber morgen", language="de"))
    )
    again = np.concatenate(
        await spoken(engine, Sentence("ich habe heute leider keine zeit, aber morgen", language="en"))
    )
    assert abs(english.size - again.size) < 80  # 10 ms
    assert abs(english.size - german.size) > 800
    with pytest.raises(EngineError):
        await spoken(EspeakEngine(), Sentence("not loaded"))
    await engine.close()


async def test_espeak_stops_inside_a_sentence_when_left() -> None:
    engine = EspeakEngine()
    await engine.load()
    async with aclosing(engine.synthesise(Sentence("one two three four five. " * 30))) as chunks:
        first = await anext(chunks)
    queued = await spoken(engine, Sentence("yes"))
    assert first.size < 8_000
    assert sum(len(chunk) for chunk in queued) < 8_000
    await engine.close()


async def test_tones_are_the_words_frequencies() -> None:
    engine = TonesEngine()
    for word, wanted in WORDS_HZ.items():
        audio = np.concatenate(await spoken(engine, Sentence(word.upper())))
        assert audio.size == 4_000
        assert frequency_hz(audio, 8_000) == pytest.approx(wanted, abs=2)


@pytest.mark.parametrize("model", ["ok", "wav"])
async def test_remote_audio_keeps_its_pitch_when_resampled(server: OpenAiServer, model: str) -> None:
    engine = OpenAiSpeech(server.base_url, model, "alloy")
    audio = np.concatenate(await spoken(engine, Sentence("one two three")))
    assert frequency_hz(audio, 8_000) == pytest.approx(TONE_HZ, abs=2)
    assert audio.size == pytest.approx(0.9 * 8_000, abs=8)
    assert server.requests[0]["response_format"] == "pcm"
    await engine.close()


@pytest.mark.parametrize(
    ("model", "error"),
    [("500", HttpRefused), ("429", HttpRefused), ("hang", EngineTimeout), ("stall", EngineTimeout),
     ("cut", StreamCut), ("stereo", StreamCut)],
)  # fmt: skip
async def test_failure_is_an_engine_error_when_speech_server_is_bad(
    server: OpenAiServer, model: str, error: type[EngineError]
) -> None:
    engine = OpenAiSpeech(server.base_url, model, "alloy", first_audio_s=0.2)
    with pytest.raises(error):
        await spoken(engine, Sentence("one two three"))
    await engine.close()


async def test_missing_espeak_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    engine = EspeakEngine()
    with pytest.raises(EngineMissing, match=r"voicefarm\[embedded\]"):
        await engine.load()
    await engine.close()
