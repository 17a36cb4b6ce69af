"""Remote speech: what is asked, WAV headers that lie, samples split anywhere, and the ways a server fails."""

import struct

import numpy as np
import pytest

from aiworker.core.failover import StreamCut
from aiworker.tts.openai import OpenAiSpeech, _Decoder
from aiworker.tts.port import Sentence
from shared.errors import EngineError
from tests.support.openai_server import openai_server

pytestmark = pytest.mark.conformance


def wav(
    pcm: bytes, *, kind: int = 1, channels: int = 1, rate_hz: int = 8_000, bits: int = 16, extra: bytes = b""
) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate_hz, rate_hz * 2, 2, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", 36, b"WAVE")
        + form
        + extra
        + struct.pack("<4sI", b"data", len(pcm))
        + pcm
    )


def decoded(data: bytes, *, step: int = 10_000, rate_hz: int = 8_000) -> np.ndarray:
    decoder = _Decoder(rate_hz)
    parts = [decoder.feed(data[at : at + step]) for at in range(0, len(data), step)]
    return np.concatenate([*parts, decoder.finish()])


RAMP = np.arange(-1_000, 1_000, dtype="<i2")


@pytest.mark.parametrize("step", [1, 3, 7, 44, 45, 10_000])
def test_samples_survive_being_split_anywhere(step: int) -> None:
    assert np.allclose(decoded(wav(RAMP.tobytes()), step=step), RAMP, atol=2)  # the resampler dithers


def test_header_decides_the_rate_and_its_absence_means_24_khz() -> None:
    second = np.zeros(24_000, "<i2").tobytes()
    assert decoded(second).size == pytest.approx(8_000, abs=2)
    assert decoded(wav(second, rate_hz=48_000)).size == pytest.approx(4_000, abs=2)
    assert decoded(wav(second, rate_hz=24_000), rate_hz=16_000).size == pytest.approx(16_000, abs=2)


def test_chunk_between_format_and_data_is_passed_over() -> None:
    extra = struct.pack("<4sI", b"LIST", 4) + b"INFO"
    assert np.allclose(decoded(wav(RAMP.tobytes(), extra=extra)), RAMP, atol=2)


def test_odd_byte_at_the_end_is_dropped() -> None:
    assert np.allclose(decoded(wav(RAMP.tobytes() + b"\x07")), RAMP, atol=2)


@pytest.mark.parametrize("size", [0, 1, 2, 43])
def test_less_than_a_header_of_plain_samples_is_no_error(size: int) -> None:
    assert decoded(b"\x00" * size).size <= size // 2


@pytest.mark.parametrize(
    "data",
    [
        wav(b"", channels=2),
        wav(b"", kind=3),
        wav(b"", bits=8),
        wav(b"", rate_hz=0),
        wav(b"", rate_hz=1),
        wav(b"", rate_hz=4_000_000_000 // 2),
        wav(b"")[:20],
        wav(b"").replace(b"data", b"atad"),
    ],
)
def test_header_that_cannot_be_played_is_an_engine_error(data: bytes) -> None:
    with pytest.raises(StreamCut, match="WAV"):
        decoded(data)


async def test_request_names_model_voice_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sesame")
    async with openai_server() as server:
        engine = OpenAiSpeech(server.base_url + "/", "ok", "alloy", "SOME_KEY")
        for sentence in (Sentence("good day"), Sentence("bye", voice="nova")):
            assert [chunk async for chunk in engine.synthesise(sentence)]
        await engine.close()
        await engine.close()  # twice is as good as once
        asked = [(r["model"], r["voice"], r["input"], r["authorization"]) for r in server.requests]
        assert len(server.connections) == 1
    assert asked == [("ok", "alloy", "good day", "Bearer sesame"), ("ok", "nova", "bye", "Bearer sesame")]


async def test_key_that_is_not_set_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    async with openai_server() as server:
        engine = OpenAiSpeech(server.base_url, "ok", "alloy", "SOME_KEY")
        assert [chunk async for chunk in engine.synthesise(Sentence("x"))]
        await engine.close()
        assert server.requests[0]["authorization"] == ""


async def test_server_that_is_not_there_is_an_engine_error() -> None:
    engine = OpenAiSpeech("http://127.0.0.1:1/v1", "ok", "alloy")
    with pytest.raises(EngineError):
        await anext(engine.synthesise(Sentence("x")))
    await engine.close()


async def test_engine_can_be_used_again_after_it_was_closed() -> None:
    async with openai_server() as server:
        engine = OpenAiSpeech(server.base_url, "ok", "alloy")
        for _ in range(2):
            assert [chunk async for chunk in engine.synthesise(Sentence("x"))]
            await engine.close()
