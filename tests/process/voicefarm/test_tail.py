"""Watching calls on a real Redis: by id, by its end, the newest, every one; as lines, as JSON, with waterfalls."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.bus import Append, RedisBus, connect
from shared.contracts import CallEvent, encode
from shared.errors import FarmError
from shared.keys import Keys
from shared.registry import Registry
from shared.registry.records import WorkerRecord
from tests.support.waiting import eventually
from voicefarm.commands.tail import _find, follow_all, follow_one
from voicefarm.io.events import EventLogs

pytestmark = pytest.mark.process

KEYS = Keys("vf")


class Farm:
    """The registry and the event logs as a farm would leave them."""

    def __init__(self, url: str) -> None:
        self.client: Any = connect(url)
        self.bus = RedisBus(self.client)
        self.logs = EventLogs(url, "vf")

    async def call(self, call_id: str) -> None:
        fields = {
            "call_id": call_id, "sip_call_id": "x", "tenant": "t", "room_id": "r", "session_id": "s", "app": "agent",
            "agent": "demo", "front": "f", "caller": "a", "callee": "b", "started_ms": "1",
        }  # fmt: skip
        await self._media_worker(call_id)
        await self.client.hset(KEYS.call(call_id), mapping=fields)
        await self.happens(call_id, "call.opened", 0, tenant="t", room_id="r", app="agent", agent="demo")
        await self.happens(call_id, "call.answered", 100)

    async def _media_worker(self, call_id: str) -> None:
        """One that lives for an hour and holds the call: calls are found through it."""
        worker = WorkerRecord(worker_id="media-0.a", role="media", host="h", http_port=0, capacity=9)
        await Registry(self.client, KEYS).beat(worker)
        seconds, _ = await self.client.time()
        await self.client.zadd(KEYS.live("media"), {worker.worker_id: (seconds + 3_600) * 1_000})
        await self.client.persist(KEYS.worker(worker.worker_id))
        await self.client.hset(KEYS.load(worker.worker_id), call_id, "1")

    async def happens(self, call_id: str, kind: str, at_ms: int, /, **data: Any) -> None:
        event = CallEvent(call_id=call_id, kind=kind, at_ns=at_ms * 1_000_000, by="w", data=data)
        await self.bus.append([Append(KEYS.events(call_id), encode(event), 100)])


@pytest.fixture
async def farm(redis_url: str) -> AsyncIterator[Farm]:
    made = Farm(redis_url)
    yield made
    await made.logs.close()
    await made.bus.close()


async def talk(farm: Farm, call_id: str, word: str) -> None:
    await farm.call(call_id)
    await farm.happens(call_id, "transcript", 2_100, turn=1, kind="final", text=word, confidence=0.9)
    await farm.happens(
        call_id, "turn.latency", 2_900, turn=1, endpoint_ms=500, llm_first_token_ms=120, voice_to_voice_ms=700
    )
    await farm.happens(call_id, "call.ended", 5_000, reason="bye", duration_ms=4_900)


async def test_call_is_told_from_its_beginning_to_its_end(
    farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    await talk(farm, "call-aaaa1111", "good day")
    async with asyncio.timeout(10):
        await follow_one(farm.logs, "call-aaaa1111")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("aaaa1111 ") for line in lines)
    [said] = [line for line in lines if "good day" in line]
    assert "2.0" in said, "times count from the answer"
    assert "bye" in lines[-1]


async def test_json_is_one_whole_event_per_line(farm: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    await talk(farm, "c1", "good day")
    async with asyncio.timeout(10):
        await follow_one(farm.logs, "c1", as_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["kind"] for event in events] == [
        "call.opened", "call.answered", "transcript", "turn.latency", "call.ended",
    ]  # fmt: skip
    assert events[2]["data"]["text"] == "good day"


async def test_waterfall_shows_where_the_time_went_when_asked(
    farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    await talk(farm, "c1", "x")
    async with asyncio.timeout(10):
        await follow_one(farm.logs, "c1")
        plain = capsys.readouterr().out
        await follow_one(farm.logs, "c1", bars=True)
    bars = capsys.readouterr().out
    assert len(bars.splitlines()) > len(plain.splitlines())
    assert "LLM" in bars
    assert "700" in bars


async def test_call_is_found_by_its_end_or_as_the_newest(farm: Farm) -> None:
    with pytest.raises(FarmError, match="no call is up"):
        await _find(farm.logs, "newest")
    for call_id in ("0001-aaaa", "0002-bbbb"):
        await farm.call(call_id)
    assert await _find(farm.logs, "newest") == "0002-bbbb"
    assert await _find(farm.logs, "aaaa") == "0001-aaaa"
    await farm.happens("0003-whole", "call.ended", 5_000, reason="bye")
    assert await _find(farm.logs, "0003-whole") == "0003-whole", "an id whose call is over is taken as it is"


async def test_a_call_that_never_was_is_an_error_and_no_long_wait(farm: Farm) -> None:
    with pytest.raises(FarmError, match="no call nonsense is up"):
        await _find(farm.logs, "nonsense")


async def test_every_call_is_followed_also_one_that_comes_later(
    farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    await talk(farm, "c-one-one", "early")
    following = asyncio.create_task(follow_all(farm.logs))
    shown = ""

    def seen(word: str) -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return word in shown

    await eventually(lambda: seen("early"))
    await talk(farm, "c-two-two", "later")
    await eventually(lambda: seen("later"))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert shown.count("early") == 1
