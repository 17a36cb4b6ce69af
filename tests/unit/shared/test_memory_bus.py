"""The in-memory bus in virtual time: expiry and staleness to the millisecond."""

import pytest

from shared.bus import Append, MemoryBus
from shared.clock import VirtualClock
from shared.units import NS_PER_MS

pytestmark = pytest.mark.unit


def bus_at(clock: VirtualClock) -> MemoryBus:
    return MemoryBus(lambda: clock.now_ns() // NS_PER_MS)


async def test_late_entries_are_skipped_and_counted_when_older_than_allowed() -> None:
    clock = VirtualClock(start_ns=1_000 * NS_PER_MS)
    bus = bus_at(clock)
    await bus.append([Append("s", b"old", 10)])
    clock.advance(300 * NS_PER_MS)
    await bus.append([Append("s", b"new", 10)])
    batch = await bus.reader("s", max_age_ms=200).read(block_ms=0)
    assert [entry.payload for entry in batch.entries] == [b"new"]
    assert batch.late == 1


async def test_stream_disappears_when_not_kept() -> None:
    clock = VirtualClock(start_ns=1_000 * NS_PER_MS)
    bus = bus_at(clock)
    await bus.append([Append("s", b"x", 10)])
    await bus.keep(["s"], ttl_ms=100)
    clock.advance(99 * NS_PER_MS)
    assert bus.length("s") == 1
    clock.advance(1 * NS_PER_MS)
    assert bus.length("s") == 0


async def test_ids_rise_when_the_clock_stands_still_or_runs_back() -> None:
    now = [5]
    bus = MemoryBus(lambda: now[0])
    await bus.append([Append("s", b"1", 10), Append("s", b"2", 10)])
    now[0] = 3
    await bus.append([Append("s", b"3", 10)])
    batch = await bus.reader("s").read(block_ms=0)
    assert [entry.entry_id for entry in batch.entries] == ["5-0", "5-1", "5-2"]


async def test_read_blocks_until_append_or_timeout_when_empty() -> None:
    bus = MemoryBus()
    assert (await bus.reader("s").read(block_ms=1)).entries == ()
