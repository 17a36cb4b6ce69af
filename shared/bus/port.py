"""The bus as its users see it: ordered streams of bytes with a bound, and readers that own their cursor.

Implementations: `redis_bus.RedisBus` and `memory_bus.MemoryBus`; both pass
tests/conformance/test_bus.py. A stream keeps about its newest `maxlen`
entries. A reader gets every kept entry once and in order, is told when entries were trimmed before it read them
(`gap`), and can ask that entries older than `max_age_ms` be skipped (`late` counts them): live audio may be dropped,
control never.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One entry; `entry_id` is `ms-n`, ms being the server's wall clock when it was written."""

    entry_id: str
    payload: bytes


class Append(NamedTuple):
    """One entry to write."""

    stream: str
    payload: bytes
    maxlen: int
    ttl_ms: int = 0
    """A stream that has no end yet disappears after this, unless kept: entries for the dead leave no key. 0: never."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read gave; empty when the block time ran out."""

    entries: tuple[Entry, ...] = ()
    gap: bool = False
    """Entries between the last read and this one were trimmed unread."""
    late: int = 0
    """Entries skipped for their age."""


class Reader(Protocol):
    """A cursor on one stream. Not for use by two tasks at once."""

    async def read(self, *, count: int = 16, block_ms: int = 1_000) -> Batch:
        """Up to `count` entries after the cursor, waiting at most `block_ms` for the first.

        Raises BusError when the bus cannot be reached; the cursor stays, and the next call goes on from it.
        """
        ...

    async def close(self) -> None: ...


class Bus(Protocol):
    """Streams of bytes."""

    async def append(self, items: Sequence[Append]) -> None:
        """Writes all items in order, in one round trip. Raises BusError; then any prefix may have been written."""
        ...

    def reader(self, stream: str, *, after: str = "0-0", max_age_ms: int | None = None) -> Reader:
        """A reader from after the entry `after`: "0-0" is the oldest kept entry (what was trimmed before is no gap),
        "$" is now (the first read decides).
        """
        ...

    async def keep(self, streams: Sequence[str], ttl_ms: int) -> None:
        """Streams not kept again within `ttl_ms` disappear. Streams that do not exist are passed over."""
        ...

    async def delete(self, streams: Sequence[str]) -> None: ...

    async def close(self) -> None: ...
