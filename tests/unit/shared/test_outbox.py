"""The outbox before a bus that fails when told to: what is kept, what is dropped, in which order, and the counts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.bus import Append, MemoryBus, Outbox
from shared.errors import BusError
from tests.support.waiting import eventually

pytestmark = pytest.mark.unit


class Fickle(MemoryBus):
    """A bus that can be away, and that remembers the size of every round trip."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.trips: list[int] = []
        self.held: asyncio.Event | None = None

    async def append(self, items: Sequence[Append]) -> None:
        self.trips.append(len(items))
        if self.held:
            await self.held.wait()
        if self.away:
            raise BusError("away")
        await super().append(items)


def item(n: int, stream: str = "c") -> Append:
    return Append(stream, b"%d" % n, 10_000)


async def kept(bus: MemoryBus, stream: str = "c") -> list[int]:
    batch = await bus.reader(stream).read(count=10_000, block_ms=0)
    return [int(entry.payload) for entry in batch.entries]


@asynccontextmanager
async def writing(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_put_in_one_turn_of_the_loop_is_one_round_trip() -> None:
    bus = Fickle()
    outbox = Outbox(bus)
    async with writing(outbox):
        for n in range(20):
            outbox.put(item(n))
        outbox.put_live(item(20, "a"))
        await outbox.drained()
    assert bus.trips == [21]
    assert await kept(bus) == list(range(20))
    assert await kept(bus, "a") == [20]


async def test_many_entries_go_in_several_round_trips_of_bounded_size() -> None:
    bus = Fickle()
    outbox = Outbox(bus)
    for n in range(600):
        outbox.put(item(n))
    async with writing(outbox):
        await outbox.drained()
    assert sum(bus.trips) == 600
    assert max(bus.trips) == 256
    assert await kept(bus) == list(range(600))


async def test_control_waits_for_the_bus_and_keeps_its_order_while_audio_is_dropped() -> None:
    bus = Fickle()
    bus.away = True
    outbox = Outbox(bus)
    async with writing(outbox):
        for n in range(5):
            outbox.put(item(n))
        for n in range(3):
            outbox.put_live(item(n, "a"))
        await eventually(lambda: outbox.counts().failures >= 2)
        outbox.put(item(5))
        counts = outbox.counts()
        assert (counts.written, counts.dropped, counts.waiting) == (0, 3, 6)
        bus.away = False
        await outbox.drained()
    assert await kept(bus) == [0, 1, 2, 3, 4, 5]
    assert await kept(bus, "a") == []
    assert outbox.counts().written == 6
    assert outbox.counts().waiting == 0


async def test_entry_put_during_a_round_trip_is_written_after_it_once() -> None:
    bus = Fickle()
    bus.held = asyncio.Event()
    outbox = Outbox(bus)
    async with writing(outbox):
        outbox.put(item(0))
        await eventually(lambda: bus.trips)
        outbox.put(item(1))
        bus.held.set()
        await outbox.drained()
    assert await kept(bus) == [0, 1]
    assert bus.trips == [1, 1]


async def test_bound_on_control_holds_while_the_bus_is_away_and_lifts_after() -> None:
    bus = Fickle()
    bus.away = True
    outbox = Outbox(bus, control_max=3)
    async with writing(outbox):
        for n in range(3):
            outbox.put(item(n))
        with pytest.raises(BusError, match="3 control entries wait"):
            outbox.put(item(3))
        assert outbox.counts().refused == 1
        bus.away = False
        await outbox.drained()
        outbox.put(item(4))
        await outbox.drained()
    assert await kept(bus) == [0, 1, 2, 4]


async def test_audio_beyond_the_bound_pushes_out_the_oldest() -> None:
    bus = Fickle()
    outbox = Outbox(bus, live_max=4)
    for n in range(10):
        outbox.put_live(item(n, "a"))
    assert outbox.counts().dropped == 6
    async with writing(outbox):
        await outbox.drained()
    assert await kept(bus, "a") == [6, 7, 8, 9]


async def test_nothing_put_is_drained_at_once() -> None:
    outbox = Outbox(Fickle())
    async with asyncio.timeout(1):
        await outbox.drained()
    assert outbox.counts() == (0, 0, 0, 0, 0)


async def test_counts_add_up_whatever_happened() -> None:
    bus = Fickle()
    outbox = Outbox(bus, control_max=8, live_max=8)
    put = 0
    async with writing(outbox):
        for round_ in range(12):
            bus.away = round_ % 3 == 1
            for n in range(6):
                put += 2
                outbox.put_live(item(n, "a"))
                try:
                    outbox.put(item(n))
                except BusError:
                    continue
            before = len(bus.trips)
            await eventually(lambda before=before: len(bus.trips) > before)
        bus.away = False
        await outbox.drained()
    counts = outbox.counts()
    assert counts.written + counts.dropped + counts.refused == put
    assert counts.written == len(await kept(bus)) + len(await kept(bus, "a"))
