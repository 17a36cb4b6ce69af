"""What only a bus behind a network has: a server that is away, refuses, forgets, or whose clock steps back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.bus import Append, RedisBus, connect
from shared.errors import BusError
from tests.support.processes import free_port

pytestmark = pytest.mark.conformance


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    made = connect(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    made = RedisBus(connect(redis_url))
    yield made
    await made.close()


async def payloads(reader: Any) -> list[bytes]:
    return [entry.payload for entry in (await reader.read(block_ms=20)).entries]


@pytest.mark.parametrize("what", ["append", "read", "newest", "keep", "delete"])
async def test_server_that_is_away_is_a_bus_error_for_every_use(what: str) -> None:
    bus = RedisBus(connect(f"redis://127.0.0.1:{free_port()}/0"))
    uses = {
        "append": lambda: bus.append([Append("s", b"x", 10)]),
        "read": lambda: bus.reader("s").read(block_ms=10),
        "newest": lambda: bus.reader("s", after="$").read(block_ms=10),
        "keep": lambda: bus.keep(["s"], 1_000),
        "delete": lambda: bus.delete(["s"]),
    }
    async with asyncio.timeout(5):
        with pytest.raises(BusError, match="redis"):
            await uses[what]()
    await bus.close()


async def test_key_of_another_kind_is_a_bus_error_and_other_streams_work(bus: RedisBus, client: Any) -> None:
    await client.set("s", "text")
    with pytest.raises(BusError, match="WRONGTYPE"):
        await bus.append([Append("s", b"x", 10)])
    with pytest.raises(BusError, match="WRONGTYPE"):
        await bus.reader("s").read(block_ms=10)
    await bus.append([Append("t", b"x", 10)])
    assert await payloads(bus.reader("t")) == [b"x"]


async def test_reader_begins_again_when_the_server_lost_its_memory_and_its_clock_stepped_back(
    bus: RedisBus, client: Any
) -> None:
    reader = bus.reader("s")
    await client.xadd("s", {"m": b"old"}, id="9999999999999-0")
    assert await payloads(reader) == [b"old"]
    await client.flushall()
    assert await payloads(reader) == []
    await client.xadd("s", {"m": b"new"}, id="5-0")
    first = await reader.read(block_ms=20)
    assert (first.entries, first.gap) == ((), True), "it is told that something is missing"
    assert await payloads(reader) == [b"new"]
    await client.xadd("s", {"m": b"newer"}, id="6-0")
    assert await payloads(reader) == [b"newer"]


async def test_reader_that_is_up_to_date_is_not_sent_back(bus: RedisBus) -> None:
    reader = bus.reader("s")
    await bus.append([Append("s", b"1", 10)])
    assert await payloads(reader) == [b"1"]
    for _ in range(3):
        batch = await reader.read(block_ms=5)
        assert (batch.entries, batch.gap) == ((), False)


async def test_reader_from_now_of_an_empty_stream_gets_the_first_entry(bus: RedisBus) -> None:
    reader = bus.reader("s", after="$")
    assert await payloads(reader) == []
    await bus.append([Append("s", b"1", 10)])
    assert await payloads(reader) == [b"1"]


async def test_entry_of_somebody_else_is_passed_over(bus: RedisBus, client: Any) -> None:
    reader = bus.reader("s")
    await client.xadd("s", {"other": b"x"})
    await bus.append([Append("s", b"1", 10)])
    assert await payloads(reader) == [b"1"]


async def test_late_entries_are_counted_against_the_freshest_one_ever_seen(
    bus: RedisBus, client: Any
) -> None:
    seconds, micros = await client.time()
    now_ms = seconds * 1_000 + micros // 1_000
    reader = bus.reader("s", max_age_ms=1_000)
    await client.xadd("s", {"m": b"fresh"}, id=f"{now_ms}-0")
    assert await payloads(reader) == [b"fresh"]
    for n, (age_ms, text) in enumerate([(-10_000, b"late"), (0, b"in time")]):
        await client.xadd("t", {"m": text}, id=f"{now_ms + 20_000 + age_ms}-{n}")
    reader = bus.reader("t", max_age_ms=1_000)
    batch = await reader.read(block_ms=20)
    assert ([entry.payload for entry in batch.entries], batch.late) == ([b"in time"], 1)


async def test_end_of_a_stream_is_set_once_and_kept_by_its_owner(bus: RedisBus, client: Any) -> None:
    await bus.append([Append("s", b"1", 10, ttl_ms=60_000)])
    assert 0 < await client.pttl("s") <= 60_000
    await bus.keep(["s"], 500_000)
    await bus.append([Append("s", b"2", 10, ttl_ms=60_000)])
    assert await client.pttl("s") > 60_000, "who writes later does not shorten it"
    await bus.append([Append("t", b"1", 10)])
    assert await client.pttl("t") == -1


async def test_rejected_item_does_not_hide_that_others_were_written(bus: RedisBus, client: Any) -> None:
    """Any prefix, and here even more, may have been written: the error says only that not all was."""
    await client.set("b", "text")
    with pytest.raises(BusError):
        await bus.append([Append("a", b"1", 10), Append("b", b"2", 10)])
    assert await payloads(bus.reader("a")) == [b"1"]
