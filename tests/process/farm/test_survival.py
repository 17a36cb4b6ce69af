"""Workers killed in the middle of calls, and Redis restarted: calls stay up, the next turn works (I10)."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import yaml

from tests.support.events import finals
from tests.support.farm import farm, rtp_block
from tests.support.phone import Packet, Phone, phones, tone
from tests.support.processes import free_port, running
from tests.support.tone_whisper import cached_model, speak
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

AGENT = {
    "name": "short",
    "greeting": "hello.",
    "script": {
        "intents": [{"name": "yes", "keywords": ["yes"], "reply": ["thanks please."]}],
        "otherwise": ["no."],
    },
}


def write_config(directory: Path, model: Path) -> Path:
    agents = directory / "agents"
    agents.mkdir()
    (agents / "short.yaml").write_text(yaml.safe_dump(AGENT))
    path = directory / "voicefarm.yaml"
    tree = {
        "sip": {"host": "127.0.0.1"},
        "media": {"host": "127.0.0.1", "capacity": 50},
        "stt": {"engine": "faster-whisper", "model": str(model), "threads": 1, "device": "cpu"},
        "tts": {"engine": "tones"},
        "llm": {"agents_dir": str(agents)},
        "routes": [{"user": "short", "app": "agent", "agent": "short"}, {"user": "echo", "app": "echo"}],
    }
    path.write_text(yaml.safe_dump(tree))
    return path


class Supervised:
    """A farm under `voicefarm up`."""

    def __init__(self, var: Path, redis_url: str) -> None:
        self.var = var
        self.redis_url = redis_url

    def record(self) -> dict[str, Any]:
        path = self.var / "run" / "farm.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def pid(self, role: str) -> int:
        return next((p["pid"] for p in self.record().get("processes", []) if p["role"] == role), 0)

    @property
    def sip(self) -> str:
        return f"127.0.0.1:{self.record()['sip_ports'][0]}"


@asynccontextmanager
async def supervised(directory: Path, model: Path) -> AsyncIterator[Supervised]:
    config = write_config(directory, model)
    var = directory / "var"
    command = [
        sys.executable, "-m", "voicefarm", "up", "--config", str(config), "--var", str(var), "--sip-port",
        str(free_port()), "--rtp-ports", rtp_block(), "--jobs", "0",
    ]  # fmt: skip
    with running(command, log=directory / "up.log") as process:
        made = Supervised(var, "")
        await eventually(lambda: made.record().get("ready") or process.poll() is not None, 60)
        assert process.poll() is None, (directory / "up.log").read_text()
        made.redis_url = made.record()["redis_url"]
        yield made


async def say_and_hear(phone: Phone, client: "redis.Redis[Any]", call_id: str, patience_s: float) -> bool:
    """Says "yes"; whether the agent's answer (its tones) came within `patience_s`."""
    count = len(finals(client, call_id))
    began = time.monotonic()
    phone.play(speak(["yes"]))
    try:
        await eventually(lambda: len(finals(client, call_id)) > count, patience_s)
        await eventually(lambda: any(p.at > began + 0.6 for p in phone.loud_packets()), patience_s)
    except TimeoutError:
        return False
    await quiet(phone)
    return True


async def say_again_and_hear(phone: Phone, client: "redis.Redis[Any]", call_id: str) -> bool:
    """A word said in the very second of the takeover may be lost with the dead worker; the next is not."""
    return await say_and_hear(phone, client, call_id, 20) or await say_and_hear(phone, client, call_id, 20)


async def quiet(phone: Phone, for_s: float = 0.6) -> None:
    """Until the agent has been silent for a while."""

    def silent() -> bool:
        loud = phone.loud_packets()
        return not loud or time.monotonic() - loud[-1].at > for_s

    await eventually(silent, 30)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", ["stt", "llm", "tts"])
async def test_next_turn_works_when_an_ai_worker_was_killed(tmp_path: Path, role: str) -> None:
    model = cached_model(lead_s=0.2)
    async with supervised(tmp_path, model) as farm_up, phones(farm_up.sip, 3) as callers:
        with redis.Redis.from_url(farm_up.redis_url, protocol=2) as client:
            ids = [(await phone.call("short")).one("x-call-id") for phone in callers]
            for phone in callers:
                await eventually(lambda p=phone: p.loud_packets(), 20)
                await quiet(phone)
            turns = await asyncio.gather(
                *(say_and_hear(p, client, i, 20) for p, i in zip(callers, ids, strict=True))
            )
            assert turns == [True] * 3
            before = farm_up.pid(role)
            os.kill(before, signal.SIGKILL)
            await eventually(lambda: farm_up.pid(role) not in {0, before}, 20)
            await eventually(lambda: farm_up.record().get("ready"), 30)
            turns = await asyncio.gather(
                *(say_again_and_hear(p, client, i) for p, i in zip(callers, ids, strict=True))
            )
            assert turns == [True] * 3
            assert not any(phone.hung_up.is_set() for phone in callers)
            assert [(await phone.bye()).status for phone in callers] == [200] * 3


def longest_gap_ms(packets: list[Packet], since: float, until: float) -> float:
    times = [p.at for p in packets if since <= p.at <= until]
    return float(np.diff(times).max() * 1_000)


@pytest.mark.timeout(180)
async def test_rtp_goes_on_when_redis_restarts_and_new_calls_work_again(tmp_path: Path) -> None:
    with farm(tmp_path) as running_farm:
        async with phones(running_farm.sip, 5) as callers:
            echo, *_ = callers[:1]
            room = callers[1:3]
            for phone in room:
                phone.headers["X-Room-ID"] = "r"
            assert (await echo.call("echo")).status == 200
            for phone, hz in zip(room, (500, 900), strict=True):
                assert (await phone.call("conf1")).status == 200
                phone.play(tone(hz, 60))
            echo.play(tone(700, 60))
            await eventually(lambda: all(len(p.loud_packets()) > 50 for p in (echo, *room)), 20)
            since = time.monotonic()
            await asyncio.to_thread(running_farm.restart_redis)
            for name in ("media-0", "front-0"):
                await eventually(lambda n=name: n in running_farm.workers(n.partition("-")[0]), 20)
            await eventually(lambda: len(running_farm.calls()) == 3, 20)
            until = time.monotonic()
            gaps = [longest_gap_ms(phone.packets, since, until) for phone in (echo, *room)]
            late = max(phone.late_s for phone in callers[:3]) * 1_000
            print(
                f"Redis was away; longest gaps {[round(g) for g in gaps]} ms, our own lateness {late:.0f} ms"
            )
            assert max(gaps) - late <= 100
            assert (await callers[3].call("echo")).status == 200
            assert [(await phone.bye()).status for phone in (echo, *room, callers[3])] == [200] * 4
        await eventually(lambda: running_farm.calls() == [], 20)
