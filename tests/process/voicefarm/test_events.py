"""Following event logs in a real Redis: from the beginning, to the end, past what is not understood."""

import asyncio

import msgpack
import pytest

from shared.bus import Append, RedisBus, connect
from shared.contracts import CallEvent, encode
from shared.errors import BusError
from shared.keys import Keys
from shared.registry import Registry
from shared.registry.records import CallRecord, WorkerRecord
from tests.support.processes import free_port
from voicefarm.io.events import EventLogs

pytestmark = pytest.mark.process

KEYS = Keys("vf")


def entry(kind: str) -> Append:
    event = CallEvent(call_id="c1", kind=kind, at_ns=1, by="w")
    return Append(KEYS.events("c1"), encode(event), 100)


async def kinds(logs: EventLogs) -> list[str]:
    return [event.kind async for event in logs.follow("c1")]


async def test_a_log_is_followed_from_its_beginning_to_the_end_of_the_call(redis_url: str) -> None:
    bus, logs = RedisBus(connect(redis_url)), EventLogs(redis_url, "vf")
    await bus.append([entry("call.opened")])
    following = asyncio.create_task(kinds(logs))
    newer = Append(KEYS.events("c1"), msgpack.packb({"t": "call.event", "v": 99}), 100)
    await bus.append([entry("call.answered"), newer, entry("call.ended"), entry("recording")])
    assert await asyncio.wait_for(following, 5) == ["call.opened", "call.answered", "call.ended"]
    await logs.close()
    await bus.close()


async def test_a_log_that_goes_away_ends_the_following(redis_url: str) -> None:
    bus, logs = RedisBus(connect(redis_url)), EventLogs(redis_url, "vf")
    await bus.append([entry("call.opened")])
    seen = logs.follow("c1")
    assert (await anext(seen)).kind == "call.opened"
    await bus.delete([KEYS.events("c1")])
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(seen), 5)
    await logs.close()
    await bus.close()


async def test_calls_are_found_as_they_come_up(redis_url: str) -> None:
    client = connect(redis_url)
    registry, logs = Registry(client, KEYS), EventLogs(redis_url, "vf")
    media = WorkerRecord(worker_id="media-0.aa", role="media", host="h", http_port=1, capacity=5)
    await registry.beat(media)
    await registry.set_ports(media.worker_id, [20_000, 20_002])
    appearing = logs.new_calls(every_s=0.05)
    for call_id in ("c1", "c2"):
        call = CallRecord(
            call_id=call_id, sip_call_id=call_id, tenant="t", room_id=call_id, session_id="s", app="echo", agent="",
            front="f", caller="a", callee="b", started_ms=0,
        )  # fmt: skip
        await registry.reserve(call, [])
        assert await asyncio.wait_for(anext(appearing), 5) == call_id
    assert [call.call_id for call in await logs.calls()] == ["c1", "c2"]
    await logs.close()
    await client.aclose()


async def test_a_redis_that_is_away_is_a_bus_error() -> None:
    logs = EventLogs(f"redis://127.0.0.1:{free_port()}/0", "vf")
    with pytest.raises(BusError):
        await logs.calls()
    with pytest.raises(BusError):
        await anext(logs.follow("c1"))
    await logs.close()
