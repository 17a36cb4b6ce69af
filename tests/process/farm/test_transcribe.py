"""Fifty callers speak the tone language at once; every word arrives, each with its own caller."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.events import finals
from tests.support.farm import Farm, farm
from tests.support.phone import Phone, phones
from tests.support.tone_whisper import TONES, cached_model, speak
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

CALLERS = 50
UTTERANCES = 2
PRE_ROLL_S = 0.2
"""Default of turn.pre_roll_ms: silence before the first word of an utterance."""


def script(rng: random.Random) -> list[str]:
    words = list(TONES)
    return [" ".join(rng.choice(words) for _ in range(rng.randint(1, 4))) for _ in range(UTTERANCES)]


async def converse(phone: Phone, lines: list[str], running: Farm) -> tuple[list[str], list[str]]:
    """Says each line, waits until it was transcribed; gives what was said and what was understood."""
    answer = await phone.call("transcribe")
    assert answer.status == 200
    call_id = answer.one("x-call-id")
    with running.redis() as client:
        for n, line in enumerate(lines, 1):
            phone.play(speak(line.split(), lead_s=0.5))  # the model counts its slots from a whole pre-roll
            await eventually(lambda n=n: _spoken_of(client, call_id, n), 40)
        understood = finals(client, call_id)
    await phone.bye()
    return lines, understood


async def _spoken_of(client: "redis.Redis[Any]", call_id: str, count: int) -> bool:
    """Asked ten times a second: Redis is asked in the loop that also sends fifty telephones' packets."""
    await asyncio.sleep(0.1)
    return len(finals(client, call_id)) >= count


@pytest.mark.timeout(180)
async def test_fifty_callers_are_each_understood_word_for_word(tmp_path: Path) -> None:
    config = {
        "stt": {
            "engine": "faster-whisper",
            "model": str(cached_model(lead_s=PRE_ROLL_S)),
            "threads": 1,
            "device": "cpu",
        }
    }
    rng = random.Random(5)
    with farm(tmp_path, ai=("stt-0",), config=config) as running:
        async with phones(running.sip, CALLERS) as callers:
            done = await asyncio.gather(*(converse(phone, script(rng), running) for phone in callers))
        for said, understood in done:
            assert understood == said
        assert running.metric("stt-0", "voicefarm_stt_batch_size_count") < CALLERS * UTTERANCES
