"""The bus inside one process: for simulations, unit tests and the reference in the conformance suite."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from shared.bus.port import Append, Batch, Entry

_Id = tuple[int, int]


def _parse(entry_id: str) -> _Id:
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n or 0)


class _Stream:
    def __init__(self) -> None:
        self.entries: deque[tuple[_Id, bytes]] = deque()
        self.trimmed_to: _Id = (0, 0)
        self.expires_ms: int | None = None


class MemoryBus:
    """`wall_ms` is the server's clock: give a virtual one to test staleness."""

    def __init__(self, wall_ms: Callable[[], int] | None = None) -> None:
        self._streams: dict[str, _Stream] = {}
        self._last: _Id = (0, 0)
        self._counter = 0
        self._wall_ms = wall_ms or self._count
        self._changed = asyncio.Condition()

    async def append(self, items: Sequence[Append]) -> None:
        async with self._changed:
            for item in items:
                self._append_one(item)
            self._changed.notify_all()

    def reader(self, stream: str, *, after: str = "0-0", max_age_ms: int | None = None) -> "MemoryReader":
        return MemoryReader(self, stream, after, max_age_ms)

    async def keep(self, streams: Sequence[str], ttl_ms: int) -> None:
        for name in streams:
            stream = self._find(name)
            if stream:
                stream.expires_ms = self._wall_ms() + ttl_ms

    async def delete(self, streams: Sequence[str]) -> None:
        for name in streams:
            self._streams.pop(name, None)

    async def close(self) -> None:
        self._streams.clear()

    def length(self, stream: str) -> int:
        """Entries kept of a stream."""
        found = self._find(stream)
        return len(found.entries) if found else 0

    def _count(self) -> int:
        self._counter += 1
        return self._counter

    def _find(self, name: str) -> _Stream | None:
        stream = self._streams.get(name)
        if stream and stream.expires_ms is not None and stream.expires_ms <= self._wall_ms():
            del self._streams[name]
            return None
        return stream

    def _append_one(self, item: Append) -> None:
        stream = self._find(item.stream) or self._streams.setdefault(item.stream, _Stream())
        now = self._wall_ms()
        if item.ttl_ms and stream.expires_ms is None:
            stream.expires_ms = now + item.ttl_ms
        self._last = (now, 0) if now > self._last[0] else (self._last[0], self._last[1] + 1)
        stream.entries.append((self._last, item.payload))
        while len(stream.entries) > item.maxlen:
            stream.trimmed_to = stream.entries.popleft()[0]

    async def read(
        self, name: str, cursor: _Id, count: int, block_ms: int
    ) -> tuple[list[tuple[_Id, bytes]], bool]:
        """Entries after `cursor` and whether some were trimmed unread."""
        async with self._changed:
            found = self._after(name, cursor, count)
            if not found and block_ms > 0:
                try:
                    async with asyncio.timeout(block_ms / 1_000):
                        while not found:
                            await self._changed.wait()
                            found = self._after(name, cursor, count)
                except TimeoutError:
                    return [], False
            stream = self._find(name)
            lost = bool(found and stream and stream.trimmed_to > cursor > (0, 0))
            return found, lost

    def last_id(self, name: str) -> _Id:
        stream = self._find(name)
        return stream.entries[-1][0] if stream and stream.entries else (0, 0)

    def now_ms(self) -> int:
        return self._wall_ms()

    def _after(self, name: str, cursor: _Id, count: int) -> list[tuple[_Id, bytes]]:
        stream = self._find(name)
        if stream is None:
            return []
        return [entry for entry in stream.entries if entry[0] > cursor][:count]


class MemoryReader:
    """A cursor on a stream of a MemoryBus."""

    def __init__(self, bus: MemoryBus, stream: str, after: str, max_age_ms: int | None) -> None:
        self._bus = bus
        self._stream = stream
        self._cursor = bus.last_id(stream) if after == "$" else _parse(after)
        self._max_age_ms = max_age_ms

    async def read(self, *, count: int = 16, block_ms: int = 1_000) -> Batch:
        found, gap = await self._bus.read(self._stream, self._cursor, count, block_ms)
        if not found:
            return Batch()
        self._cursor = found[-1][0]
        oldest = self._bus.now_ms() - self._max_age_ms if self._max_age_ms is not None else None
        fresh = [entry for entry in found if oldest is None or entry[0][0] >= oldest]
        entries = tuple(Entry(f"{ms}-{n}", payload) for (ms, n), payload in fresh)
        return Batch(entries, gap, len(found) - len(fresh))

    async def close(self) -> None:
        """Nothing is held."""
