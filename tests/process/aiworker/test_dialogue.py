"""LLM and TTS workers as processes with a real Redis: a call from greeting to goodbye, interruptions and deaths."""

import signal
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from shared.contracts import DialogueUpdate, ReplyEnd, Speak, decode
from tests.support.ai_farm import AiFarm, ai_farm
from tests.support.lateness import Lateness
from tests.support.openai_server import openai_server

pytestmark = pytest.mark.process

AGENT = """
name: tones
greeting: hello. please say yes or no.
apology: sorry about that.
unheard: please please say it again.
script:
  intents:
    - {name: help, keywords: [help], reply: ["hello hello yes no. help help billing. weather stop stop. thanks agent please."]}
    - {name: bye, keywords: [bye], reply: [thanks thanks stop.], hangup: true}
  otherwise: ["you said {text}, thanks."]
"""


@pytest.fixture
async def farm(redis_url: str, tmp_path: Path) -> AsyncIterator[AiFarm]:
    async with ai_farm(redis_url, tmp_path) as found:
        yield found


def agents(folder: Path, **files: str) -> dict[str, str]:
    """Environment that makes these the agents."""
    where = folder / "agents"
    where.mkdir(exist_ok=True)
    for name, text in {"tones": AGENT, **files}.items():
        (where / f"{name}.yaml").write_text(textwrap.dedent(text))
    return {"VOICEFARM_LLM__AGENTS_DIR": str(where)}


async def started(farm: AiFarm, env: dict[str, str]) -> tuple[str, str]:
    tts, _ = await farm.start("tts", "tts-0", VOICEFARM_TTS__ENGINE="tones")
    llm, _ = await farm.start("llm", "llm-0", **env)
    return llm, tts


async def test_call_goes_from_greeting_to_goodbye_when_everybody_lives(
    farm: AiFarm, tmp_path: Path, late: Lateness
) -> None:
    llm, tts = await started(farm, agents(tmp_path))
    await farm.attach("c1", llm, tts, "tones")
    assert await farm.play_out("c1", 0) == "hello. please say yes or no."
    spectrum = np.abs(np.fft.rfft(farm.audio("c1", 0, 0)[:4000]))
    assert abs(np.argmax(spectrum) * 2 - 420) <= 4  # the word hello, 2 Hz a bin
    await farm.caller_says("c1", 1, "good day")
    assert await farm.play_out("c1", 1) == "you said good day, thanks."
    times = [entry.times["c1"] for entry in farm.pcm if "c1" in entry.times]
    assert [t.stt_decode_ms for t in times] == [-1.0, 2.0]
    assert 0 <= times[1].llm_first_token_ms <= times[1].llm_first_segment_ms < 1_000 + late.worst_ms
    assert 0 <= times[1].tts_first_frame_ms < 1_000 + late.worst_ms
    await farm.caller_says("c1", 2, "bye")
    await farm.play_out("c1", 2)
    assert [end.hangup for end in farm.got(ReplyEnd, "c1")] == [False, False, True]
    heard = await farm.until(lambda: _heard(farm, "c1", 3), what="three replies heard")
    assert [(data["turn"], data["interrupted"]) for data in heard] == [(0, False), (1, False), (2, False)]


async def _heard(farm: AiFarm, call_id: str, count: int) -> list[dict[str, object]]:
    found = await farm.events(call_id, "agent.heard")
    return found if len(found) >= count else []


async def test_history_holds_what_was_played_when_caller_interrupts(farm: AiFarm, tmp_path: Path) -> None:
    async with openai_server() as server:
        server.reply = (
            "hello hello yes no help. billing billing weather. stop stop please please. thanks thanks thanks."
        )
        agent = f"{{name: model, prompt: Be kind., llm: {{engine: openai, model: ok, base_url: '{server.base_url}'}}}}"
        llm, tts = await started(farm, agents(tmp_path, model=agent))
        await farm.attach("c1", llm, tts, "model")
        await farm.until(lambda: farm.got(ReplyEnd, "c1"), what="no greeting")
        await farm.caller_says("c1", 1, "tell me")
        await farm.until(lambda: farm.whole("c1", 1, 1), what="two sentences")
        await farm.played("c1", 1, 0)
        await farm.until(lambda: farm.whole("c1", 1, 2), what="the third, as the first was played")
        assert farm.frames("c1", 1, 3) == []  # at most two sentences ahead
        total = farm.audio("c1", 1, 1).size
        await farm.caller_says(
            "c1", 2, "wait", barge_in=True, heard_turn=1, heard_segment=1, heard_samples=total * 2 // 3,
            heard_of_samples=total,
        )  # fmt: skip
        await farm.until(lambda: len(server.requests) == 2, what="the second question")
        assert server.requests[1]["messages"] == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "tell me"},
            {"role": "assistant", "content": "hello hello yes no help. billing billing…"},
            {"role": "user", "content": "wait"},
        ]
        heard = await farm.until(lambda: _heard(farm, "c1", 1), what="what was heard")
        assert heard[0] == {
            "turn": 1,
            "text": "hello hello yes no help. billing billing",
            "interrupted": True,
        }


async def test_reply_comes_from_fallback_when_provider_hangs(
    farm: AiFarm, tmp_path: Path, late: Lateness
) -> None:
    async with openai_server() as server:
        agent = f"""
            name: chain
            llm: {{engine: openai, model: hang, base_url: '{server.base_url}'}}
            fallback: [{{engine: openai, model: "500", base_url: '{server.base_url}'}}, {{engine: script}}]
            script: {{otherwise: [yes yes no.]}}
        """
        env = agents(tmp_path, chain=agent) | {"VOICEFARM_LLM__FIRST_TOKEN_MS": "300"}
        llm, tts = await started(farm, env)
        await farm.attach("c1", llm, tts, "chain")
        await farm.caller_says("c1", 1, "anybody?")
        assert await farm.play_out("c1", 1) == "yes yes no."
        times = next(entry.times["c1"] for entry in farm.pcm if "c1" in entry.times)
        assert 300 <= times.llm_first_token_ms < 1_300 + late.worst_ms
        assert [request["model"] for request in server.requests] == ["hang", "500"]
        await farm.until(lambda: server.open_streams == 0, what="the hanging request is closed")


async def test_pending_question_is_answered_when_llm_worker_was_killed(farm: AiFarm, tmp_path: Path) -> None:
    tts, _ = await farm.start("tts", "tts-0", VOICEFARM_TTS__ENGINE="tones")
    env = agents(tmp_path)
    first, process = await farm.start("llm", "llm-0", **env)
    await farm.attach("c1", first, tts, "tones")
    await farm.play_out("c1", 0)
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    await farm.caller_says("c1", 1, "still there")  # to a dead worker's inbox, and to the event log
    second, _ = await farm.start("llm", "llm-0", **env)
    await farm.attach("c1", second, tts, "tones", epoch=2, turn=1, resumed=True)
    assert await farm.play_out("c1", 1) == "you said still there, thanks."
    await farm.caller_says("c1", 2, "and now")
    assert await farm.play_out("c1", 2) == "you said and now, thanks."


async def test_words_in_the_log_count_when_they_came_after_the_takeover(farm: AiFarm, tmp_path: Path) -> None:
    llm, tts = await started(farm, agents(tmp_path))
    await farm.log("c1", "agent.segment", turn=0, segment=0, text="hello. please say yes or no.", last=True)
    await farm.log("c1", "speech.started", turn=1)
    await farm.attach("c1", llm, tts, "tones", epoch=2, turn=1, resumed=True)
    await farm.log("c1", "transcript", turn=1, kind="final", text="late words")
    assert await farm.play_out("c1", 1) == "you said late words, thanks."


async def test_unplayed_sentences_go_to_another_tts_worker_when_the_first_is_killed(
    farm: AiFarm, tmp_path: Path
) -> None:
    env = agents(tmp_path)
    llm, _ = await farm.start("llm", "llm-0", **env)
    await farm.attach("c1", llm, "tts-dead.1", "tones", turn=0)
    await farm.until(
        lambda: farm.client.exists(farm.keys.ctl("tts-dead.1")), what="sentences for a dead worker"
    )
    tts, _ = await farm.start("tts", "tts-1", VOICEFARM_TTS__ENGINE="tones")
    workers = farm.calls["c1"]
    update = DialogueUpdate(call_id="c1", epoch=2, ai=type(workers)(llm=llm, tts=tts))
    await farm.send(llm, update)
    assert await farm.play_out("c1", 0) == "hello. please say yes or no."
    entries = await farm.client.xrange(farm.keys.ctl(tts))
    assert [m.epoch for _, fields in entries if isinstance(m := decode(fields[b"m"]), Speak)] == [2] * len(
        entries
    )


async def test_call_is_hung_up_when_its_agent_does_not_exist(farm: AiFarm, tmp_path: Path) -> None:
    llm, tts = await started(farm, agents(tmp_path))
    await farm.attach("c1", llm, tts, "nobody")
    end = await farm.until(lambda: farm.got(ReplyEnd, "c1"), what="an end")
    assert (end[0].segments, end[0].hangup) == (0, True)


async def test_workers_leave_at_once_when_drained_without_calls(farm: AiFarm, tmp_path: Path) -> None:
    env = agents(tmp_path)
    _, llm = await farm.start("llm", "llm-0", **env)
    _, tts = await farm.start("tts", "tts-0", VOICEFARM_TTS__ENGINE="espeak")
    for process in (llm, tts):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert await farm.registry.live("llm") == {}
    assert await farm.registry.live("tts") == {}
