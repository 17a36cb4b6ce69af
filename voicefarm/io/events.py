"""Reads the event log of a call while it is written, and finds the calls of a farm."""

import asyncio
from collections.abc import AsyncIterator

from shared.bus import Reader, RedisBus, connect
from shared.bus.redis_bus import run
from shared.contracts import CallEvent, decode
from shared.errors import ContractError
from shared.keys import Keys
from shared.registry import Registry
from shared.registry.records import CallRecord


class EventLogs:
    """The event logs of one farm. Every method raises BusError when its Redis cannot be reached."""

    def __init__(self, redis_url: str, prefix: str) -> None:
        self._client = connect(redis_url)
        self._bus = RedisBus(self._client)
        self._keys = Keys(prefix)
        self._registry = Registry(self._client, self._keys)

    async def close(self) -> None:
        await self._bus.close()

    async def calls(self) -> list[CallRecord]:
        """The live calls, oldest first."""
        return sorted(await self._registry.calls(), key=lambda call: call.call_id)

    async def has_log(self, call_id: str) -> bool:
        """Whether anything is written of a call; a log ends a little after its call."""
        return bool(await run(self._client.exists(self._keys.events(call_id))))

    async def follow(
        self, call_id: str, *, until: frozenset[str] = frozenset({"call.ended"})
    ) -> AsyncIterator[CallEvent]:
        """Events of a call from its beginning, until one of the kinds in `until` came or the log is gone."""
        reader = self._bus.reader(self._keys.events(call_id))
        seen = False
        while True:
            batch = await self._read(reader)
            for event in batch:
                yield event
                if event.kind in until:
                    return
            seen = seen or bool(batch)
            if seen and not batch and not await self.has_log(call_id):
                return

    async def _read(self, reader: Reader) -> list[CallEvent]:
        batch = await reader.read(count=64, block_ms=500)
        events = []
        for entry in batch.entries:
            try:
                message = decode(entry.payload)
            except ContractError:
                continue  # of a newer version: not ours to show
            if isinstance(message, CallEvent):
                events.append(message)
        return events

    async def new_calls(self, every_s: float = 0.3) -> AsyncIterator[str]:
        """Ids of calls as they appear, those that live now first."""
        known: set[str] = set()
        while True:
            live = {call.call_id for call in await self.calls()}
            for call_id in sorted(live - known):
                yield call_id
            known = live
            await asyncio.sleep(every_s)
