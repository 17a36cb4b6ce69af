"""Barge-in on the wire: from the first loud packet of the caller to the last loud packet of the agent."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.events import call_events
from tests.support.farm import Farm, farm
from tests.support.lateness import lateness
from tests.support.phone import Phone, phones
from tests.support.tone_whisper import cached_model, speak
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

CALLS = 20
GREETING = " ".join(["hello help billing agent weather please thanks"] * 4) + "."
AGENT = {
    "name": "talker",
    "greeting": GREETING,
    "script": {
        "intents": [{"name": "stop", "keywords": ["stop"], "reply": ["yes yes."]}],
        "otherwise": ["no."],
    },
}


async def interrupt(phone: Phone, running: Farm, after_s: float) -> tuple[float, str]:
    """Speaks into the greeting; ms from our first loud packet to the agent's last, and the greeting as history has it."""
    answer = await phone.call("talker")
    assert answer.status == 200
    call_id = answer.one("x-call-id")
    await eventually(lambda: len(phone.loud_packets()) > 25, 20)
    await asyncio.sleep(after_s)  # each caller interrupts at another moment
    phone.sent_at.clear()
    phone.play(speak(["stop", "stop"]))
    first = await eventually(lambda: phone.sent_at and phone.sent_at[0])
    assert isinstance(first, float)
    await eventually(lambda: not phone.playing)
    stopped = [p.at for p in phone.loud_packets() if p.at < first + 0.8]
    with running.redis() as client:
        found = await eventually(lambda: call_events(client, call_id, "agent.heard"), 20)
    assert isinstance(found, list)
    await phone.bye()
    assert found[0].data["interrupted"]
    return (stopped[-1] - first) * 1_000, found[0].data["text"]


@pytest.mark.timeout(180)
async def test_agent_stops_when_the_caller_speaks_and_history_keeps_what_was_heard(tmp_path: Path) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    (agents / "talker.yaml").write_text(yaml.safe_dump(AGENT))
    config = {
        "stt": {
            "engine": "faster-whisper",
            "model": str(cached_model(lead_s=0.2)),
            "threads": 1,
            "device": "cpu",
        },
        "tts": {"engine": "tones"},
        "llm": {"agents_dir": str(agents)},
        "routes": [{"user": "talker", "app": "agent", "agent": "talker", "turn": {"barge_in_ms": 200}}],
    }
    with farm(tmp_path, ai=("stt-0", "llm-0", "tts-0"), config=config) as running:
        async with phones(running.sip, CALLS) as callers:
            with lateness() as late:
                results = []
                for group in range(0, CALLS, 5):  # few at a time: this is about delay, not load
                    batch = callers[group : group + 5]
                    results += await asyncio.gather(
                        *(interrupt(p, running, 0.3 + 0.17 * n) for n, p in enumerate(batch))
                    )
    late_ms = max(late.worst_ms, *(1_000 * phone.late_s for phone in callers))
    stops = sorted(ms for ms, _ in results)
    print(
        f"barge-in ms: p50 {np.percentile(stops, 50):.0f} p95 {np.percentile(stops, 95):.0f} max {stops[-1]:.0f}, "
        f"the machine was late by up to {late_ms:.0f} ms"
    )
    assert np.percentile(stops, 95) <= 300 + late_ms
    assert stops[0] > 40  # the agent falls silent when an utterance began (onset_ms), and not before
    for _, heard in results:
        assert GREETING.startswith(heard.rstrip(" .…"))
        assert 0 < len(heard) < len(GREETING) / 2
