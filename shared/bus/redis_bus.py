"""The bus on Redis Streams (XADD with MAXLEN ~, XREAD with an owned cursor; layouts measured in FACTS section 6).

A gap is looked for where it can be: when a read finds several entries, the stream's first entry tells whether the
reader's last one was trimmed. Redis being away is a BusError for whoever asked, never a crash and never a silent wait.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.bus.port import Append, Batch, Entry
from shared.errors import BusError

_FIELD = b"m"
_APPEND = """
for n, stream in ipairs(KEYS) do
    local maxlen, ttl, payload = ARGV[3 * n - 2], ARGV[3 * n - 1], ARGV[3 * n]
    redis.call('XADD', stream, 'MAXLEN', '~', maxlen, '*', 'm', payload)
    if ttl ~= '0' and redis.call('PTTL', stream) < 0 then redis.call('PEXPIRE', stream, ttl) end
end
return #KEYS
"""
"""One command for any number of entries: the client's work is per command and per reply, and far above the server's."""
_FAILURES = (RedisError, OSError, asyncio.TimeoutError)

Client = Any
"""redis.asyncio.Redis; its stubs do not type stream replies."""


def connect(url: str) -> Client:
    """A client that fails fast: reconnecting is the caller's loop, not a hidden retry."""
    return redis.asyncio.Redis.from_url(
        url,
        protocol=2,
        socket_connect_timeout=1.0,
        socket_timeout=5.0,
        socket_keepalive=True,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
    )


class RedisBus:
    """Streams on one Redis server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def append(self, items: Sequence[Append]) -> None:
        if not items:
            return
        streams = [item.stream for item in items]
        values = [value for _, payload, maxlen, ttl_ms in items for value in (maxlen, ttl_ms, payload)]
        await run(self._client.eval(_APPEND, len(streams), *streams, *values))

    def reader(self, stream: str, *, after: str = "0-0", max_age_ms: int | None = None) -> "RedisReader":
        return RedisReader(self._client, stream, after, max_age_ms)

    async def keep(self, streams: Sequence[str], ttl_ms: int) -> None:
        pipe = self._client.pipeline(transaction=False)
        for stream in streams:
            pipe.pexpire(stream, ttl_ms)
        await run(pipe.execute())

    async def delete(self, streams: Sequence[str]) -> None:
        if streams:
            await run(self._client.unlink(*streams))

    async def close(self) -> None:
        await self._client.aclose()


class RedisReader:
    """A cursor on one stream."""

    def __init__(self, client: Client, stream: str, after: str, max_age_ms: int | None) -> None:
        self._client = client
        self._stream = stream
        self._cursor = after
        self._max_age_ms = max_age_ms
        self._skew_ms: float | None = None

    async def read(self, *, count: int = 16, block_ms: int = 1_000) -> Batch:
        _honour_cancellation()
        if self._cursor == "$":
            self._cursor = await self._newest()
        block = max(block_ms, 0) or None
        reply = await run(self._client.xread({self._stream: self._cursor}, count=count, block=block))
        if not reply:
            return await self._rewind_if_time_ran_back()
        found = reply[0][1]
        # A reader that keeps up finds one entry; only one that lagged can have missed some.
        gap = len(found) > 1 and await self._trimmed_past_cursor()
        return self._batch(found, gap=gap)

    async def close(self) -> None:
        """The client belongs to the bus."""

    async def _newest(self) -> str:
        newest = await run(self._client.xrevrange(self._stream, count=1))
        return newest[0][0].decode() if newest else "0-0"

    async def _trimmed_past_cursor(self) -> bool:
        if self._cursor == "0-0":
            return False
        first = await run(self._client.xrange(self._stream, count=1))
        return bool(first) and _key(first[0][0]) > _key(self._cursor.encode())

    async def _rewind_if_time_ran_back(self) -> Batch:
        """A server that lost its memory and whose clock stepped back writes ids below the cursor: begin again."""
        if _key((await self._newest()).encode()) >= _key(self._cursor.encode()) or self._cursor == "0-0":
            return Batch()
        lost_all = not await run(self._client.exists(self._stream))
        if not lost_all:
            self._cursor = "0-0"
        return Batch(gap=not lost_all)

    def _batch(self, found: list[tuple[bytes, dict[bytes, bytes]]], *, gap: bool) -> Batch:
        if not found:
            return Batch()
        self._cursor = found[-1][0].decode()
        entries = [Entry(entry_id.decode(), fields[_FIELD]) for entry_id, fields in found if _FIELD in fields]
        fresh = entries if self._max_age_ms is None else self._fresh(entries, self._max_age_ms)
        return Batch(tuple(fresh), gap, len(entries) - len(fresh))

    def _fresh(self, entries: list[Entry], max_age_ms: int) -> list[Entry]:
        """Entries not older than `max_age_ms`, taking the freshest arrival ever seen as the clocks' difference."""
        wall_ms = time.time() * 1_000
        ages = [wall_ms - int(entry.entry_id.partition("-")[0]) for entry in entries]
        self._skew_ms = min(ages) if self._skew_ms is None else min(self._skew_ms, *ages)
        return [e for e, age in zip(entries, ages, strict=True) if age - self._skew_ms <= max_age_ms]


def _key(entry_id: bytes) -> tuple[int, int]:
    ms, _, n = entry_id.partition(b"-")
    return int(ms), int(n or 0)


def _honour_cancellation() -> None:
    """The client looks for stale data under `asyncio.timeout(0)`, which up to Python 3.12 takes a cancellation that was
    asked for just before for its own and swallows it: a loop that reads would then read on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def run(awaitable: Any) -> Any:
    """Awaits a client call; what Redis or the network fail with becomes a BusError."""
    try:
        return await awaitable
    except _FAILURES as error:
        raise BusError(f"redis: {error}") from error
