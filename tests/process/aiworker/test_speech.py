"""The TTS worker as a process with a real Redis: audio of many calls, cancelling, fallback, death."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from aiworker.core.frames import PEAK
from shared.contracts import Speak, SpeakCancel
from tests.support.ai_farm import MEDIA, AiFarm, ai_farm
from tests.support.openai_server import openai_server

pytestmark = pytest.mark.process

LONG = "This is a rather long sentence of an agent who likes to hear itself speak on the telephone."


@pytest.fixture
async def farm(redis_url: str, tmp_path: Path) -> AsyncIterator[AiFarm]:
    async with ai_farm(redis_url, tmp_path) as found:
        yield found


def speak(call: str, segment: int = 0, turn: int = 1, text: str = LONG) -> Speak:
    return Speak(call_id=call, epoch=1, turn=turn, segment=segment, text=text, media=MEDIA)


async def test_fifty_calls_get_their_own_audio_in_order(farm: AiFarm) -> None:
    tts, _ = await farm.start("tts", "tts-0", VOICEFARM_TTS__ENGINE="espeak")
    for segment in range(2):
        for call in range(50):
            await farm.send(tts, speak(f"c{call}", segment))
    await farm.until(
        lambda: all(farm.whole(f"c{call}", 1, segment) for call in range(50) for segment in range(2)),
        what="every sentence", timeout_s=20,
    )  # fmt: skip
    for call in range(50):
        for segment in range(2):
            frames = farm.frames(f"c{call}", 1, segment)
            sizes = [len(frame.pcm) // 2 for frame in frames]
            assert [frame.offset for frame in frames] == [sum(sizes[:n]) for n in range(len(sizes))]
            assert [frame.last for frame in frames] == [False] * (len(frames) - 1) + [True]
            assert max(sizes) <= 1_600
            assert 4 < sum(sizes) / 8_000 < 9
        times = [entry.times[f"c{call}"] for entry in farm.pcm if f"c{call}" in entry.times]
        assert len(times) == 1
        assert times[0].tts_first_frame_ms > 0
    audio = farm.audio("c7", 1, 0).astype(int)
    assert 4_000 < np.abs(audio).max() <= PEAK
    assert len(farm.pcm) < sum(
        len(entry.frames) for entry in farm.pcm
    )  # frames of several calls travel together


async def test_cancelled_sentence_stops_and_the_next_turn_speaks(farm: AiFarm) -> None:
    async with openai_server() as server:
        env = {
            "VOICEFARM_TTS__ENGINE": "openai",
            "VOICEFARM_TTS__BASE_URL": server.base_url,
            "VOICEFARM_TTS__MODEL": "stall",
        }
        tts, _ = await farm.start("tts", "tts-0", **env)
        await farm.send(tts, speak("c1"))
        await farm.until(lambda: farm.frames("c1", 1), what="its beginning")
        await farm.send(tts, speak("c1", 1))
        await farm.send(tts, SpeakCancel(call_id="c1", turn=2))
        await farm.send(tts, speak("c1", 2, turn=1, text="too late"))
        await farm.send(tts, speak("c1", 0, turn=2, text="stop"))
        await farm.until(lambda: farm.frames("c1", 2), what="the new turn")
        assert not farm.whole("c1", 1, 0)
        assert farm.frames("c1", 1, 1) == farm.frames("c1", 1, 2) == []
        assert [request["input"] for request in server.requests] == [LONG, "stop"]


async def test_local_engine_speaks_when_the_remote_one_refuses(farm: AiFarm) -> None:
    async with openai_server() as server:
        env = {
            "VOICEFARM_TTS__ENGINE": "openai",
            "VOICEFARM_TTS__BASE_URL": server.base_url,
            "VOICEFARM_TTS__MODEL": "'500'",
        }
        tts, _ = await farm.start("tts", "tts-0", **env)
        await farm.send(tts, speak("c1", text="hello there my friend"))
        await farm.until(lambda: farm.whole("c1", 1, 0), what="speech all the same")
        assert farm.audio("c1", 1, 0).size > 4_000
        record = (await farm.registry.live("tts"))[tts]
        url = f"http://127.0.0.1:{record.http_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            page = await response.text()
        assert 'voicefarm_engine_failures_total{engine="openai",reason="http"} 1.0' in page
        assert "voicefarm_tts_audio_seconds_total" in page


async def test_sentence_ends_without_audio_when_the_engine_breaks_in_the_middle(farm: AiFarm) -> None:
    async with openai_server() as server:
        env = {
            "VOICEFARM_TTS__ENGINE": "openai",
            "VOICEFARM_TTS__BASE_URL": server.base_url,
            "VOICEFARM_TTS__MODEL": "cut",
        }
        tts, _ = await farm.start("tts", "tts-0", **env)
        await farm.send(tts, speak("c1", text="one two three four five"))
        await farm.until(lambda: farm.whole("c1", 1, 0), what="its end")
        assert 0 < farm.audio("c1", 1, 0).size < 8_000  # 1.5 s were asked for; none of it is said twice
        assert len(server.requests) == 1


async def test_successor_speaks_when_the_worker_was_killed(farm: AiFarm) -> None:
    tts, process = await farm.start("tts", "tts-0", VOICEFARM_TTS__ENGINE="tones")
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    successor, _ = await farm.start("tts", "tts-0", VOICEFARM_TTS__ENGINE="tones")
    assert successor != tts
    await farm.send(successor, speak("c1", text="hello"))
    await farm.until(lambda: farm.whole("c1", 1, 0), what="speech")
    assert farm.audio("c1", 1, 0).size == 4_000
