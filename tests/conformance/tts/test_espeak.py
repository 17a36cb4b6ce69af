"""espeak-ng in this process: rates, speeds, voices, texts that are no sentences, and leaving in the middle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from aiworker.tts.espeak import EspeakEngine
from aiworker.tts.port import Sentence

pytest.importorskip("espeakng_loader", reason="pip install 'voicefarm[embedded]'")
pytestmark = pytest.mark.conformance


@pytest.fixture
async def engine() -> AsyncIterator[EspeakEngine]:
    made = EspeakEngine("en-us", 165)
    await made.load()
    yield made
    await made.close()


async def spoken(engine: EspeakEngine, sentence: Sentence) -> np.ndarray:
    async with aclosing(engine.synthesise(sentence)) as chunks:
        return np.concatenate([np.zeros(0, np.int16), *[chunk async for chunk in chunks]])


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "...", "\0", "hello\0there", "<speak>hi</speak>", "Zoë 😀 日本"]
)
async def test_any_text_is_spoken_or_silent_and_the_next_one_works(engine: EspeakEngine, text: str) -> None:
    assert (await spoken(engine, Sentence(text))).size < 8_000 * 5
    assert (await spoken(engine, Sentence("hello"))).size > 1_000


async def test_zero_byte_does_not_end_the_sentence(engine: EspeakEngine) -> None:
    whole = await spoken(engine, Sentence("hello there my friend"))
    split = await spoken(engine, Sentence("hello\0there my friend"))
    assert split.size == pytest.approx(whole.size, rel=0.15)


async def test_audio_comes_in_pieces_while_the_sentence_is_made(engine: EspeakEngine) -> None:
    async with aclosing(engine.synthesise(Sentence("one two three four five six seven"))) as chunks:
        sizes = [chunk.size async for chunk in chunks]
    assert len(sizes) > 10
    assert max(sizes) < 8_000


@pytest.mark.parametrize(("slow", "fast"), [(100, 300)])
async def test_faster_speech_is_shorter(slow: int, fast: int) -> None:
    lengths = []
    for rate_wpm in (slow, fast):
        engine = EspeakEngine("en-us", rate_wpm)
        await engine.load()
        lengths.append((await spoken(engine, Sentence("this is a sentence of some length"))).size)
        await engine.close()
    assert lengths[0] > 1.7 * lengths[1]


@pytest.mark.parametrize("voice", ["../../etc/passwd", "x" * 400, "no-such", "a b", "de\0", "-"])
async def test_voice_from_outside_is_a_name_or_the_default(engine: EspeakEngine, voice: str) -> None:
    plain = await spoken(engine, Sentence("good morning"))
    odd = await spoken(engine, Sentence("good morning", voice=voice))
    assert odd.size == pytest.approx(plain.size, abs=160)


async def test_voice_of_one_sentence_does_not_stay_for_the_next(engine: EspeakEngine) -> None:
    text = "ich habe heute leider keine zeit"
    before = await spoken(engine, Sentence(text))
    german = await spoken(engine, Sentence(text, voice="de"))
    after = await spoken(engine, Sentence(text))
    assert abs(before.size - after.size) < 160
    assert not np.array_equal(german[:4_000], before[:4_000])


async def test_many_sentences_at_once_come_out_whole(engine: EspeakEngine) -> None:
    alone = (await spoken(engine, Sentence("please"))).size
    many = await asyncio.gather(*[spoken(engine, Sentence("please")) for _ in range(10)])
    assert [audio.size for audio in many] == pytest.approx([alone] * 10, abs=160)


async def test_waiting_sentence_that_is_left_is_never_spoken(engine: EspeakEngine) -> None:
    async with aclosing(engine.synthesise(Sentence("one two three four. " * 20))) as first:
        await anext(first)
        waiting = asyncio.ensure_future(spoken(engine, Sentence("never " * 500)))
        await asyncio.sleep(0)
        waiting.cancel()
    assert (await spoken(engine, Sentence("yes"))).size < 8_000
    assert waiting.cancelled()
