"""The Redis bus and the outbox while Redis dies and comes back."""

import asyncio

import pytest

from shared.bus import Append, Outbox, RedisBus, connect
from shared.errors import BusError
from tests.support.processes import answers, free_port, redis_command, running, wait_until
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


async def test_reader_and_outbox_go_on_when_redis_restarts() -> None:
    port = free_port()
    bus = RedisBus(connect(f"redis://127.0.0.1:{port}/0"))
    outbox = Outbox(bus)
    writer = asyncio.create_task(outbox.run())
    reader = bus.reader("s")
    with running(redis_command(port)):
        wait_until(lambda: answers(port))
        outbox.put(Append("s", b"before", 10))
        await outbox.drained()
        assert [entry.payload for entry in (await reader.read()).entries] == [b"before"]
    with pytest.raises(BusError):
        await reader.read()
    outbox.put(Append("s", b"meanwhile", 10))
    outbox.put_live(Append("s", b"lost", 10))
    await eventually(lambda: outbox.counts().failures)
    with running(redis_command(port)):
        wait_until(lambda: answers(port))
        async with asyncio.timeout(10):
            await outbox.drained()
        assert [entry.payload for entry in (await reader.read()).entries] == [b"meanwhile"]
    writer.cancel()
    counts = outbox.counts()
    assert counts.dropped == 1
    assert counts.written == 2
    await bus.close()


async def test_late_data_is_measured_against_the_freshest_arrival(redis_url: str) -> None:
    bus = RedisBus(connect(redis_url))
    client = connect(redis_url)
    seconds, micros = await client.time()
    now_ms = seconds * 1_000 + micros // 1_000
    await client.xadd("s", {"m": b"fresh"}, id=f"{now_ms - 5_000}-0")
    reader = bus.reader("s", max_age_ms=1_000)
    first = await reader.read()
    await client.xadd("s", {"m": b"now"}, id=f"{now_ms}-0")
    second = await reader.read()
    await client.xadd("s", {"m": b"same age"}, id=f"{now_ms}-1")
    await client.xadd("s", {"m": b"newest"}, id=f"{now_ms + 3_000}-1")
    third = await reader.read()
    assert [entry.payload for entry in first.entries] == [b"fresh"]  # nothing fresher was ever seen
    assert [entry.payload for entry in second.entries] == [b"now"]
    assert [entry.payload for entry in third.entries] == [b"newest"]
    assert third.late == 1
    await client.aclose()
    await bus.close()


async def test_reader_ends_when_it_is_cancelled_in_the_moment_an_entry_arrives(redis_url: str) -> None:
    """The client looks for stale data under a timeout of nought, which swallows a cancellation asked for just before."""
    bus = RedisBus(connect(redis_url))

    async def read_on(stream: str) -> None:
        reader = bus.reader(stream)
        while True:
            await reader.read(block_ms=100)

    for n in range(300):
        stream = f"s{n % 7}"
        task = asyncio.create_task(read_on(stream))
        await bus.append([Append(stream, b"x", 10)])
        for _ in range(n % 12):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, f"read on after {n % 12} turns of the loop"
    await bus.close()
