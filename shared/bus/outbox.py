"""The writing side of a process: coalesces everything put in one loop turn into one round trip, within a bound.

Two kinds of entries: control (kept and retried while the bus is away, refused when the bound is reached) and live
audio (the oldest is dropped when the bound is reached, and all of it while the bus is away). Both are counted.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from shared.bus.port import Append, Bus
from shared.errors import BusError

_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_BATCH = 256


class OutboxCounts(NamedTuple):
    """What the outbox did since start."""

    written: int
    dropped: int
    """Live entries given up."""
    refused: int
    """Control entries that did not fit."""
    failures: int
    """Round trips that failed."""
    waiting: int


class Outbox:
    """Bounded queue before a bus; `put` never waits, `run` does the writing."""

    def __init__(self, bus: Bus, *, control_max: int = 10_000, live_max: int = 500) -> None:
        self._bus = bus
        self._control: deque[Append] = deque()
        self._live: deque[Append] = deque(maxlen=live_max)
        self._control_max = control_max
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._written = self._dropped = self._refused = self._failures = 0

    def put(self, item: Append) -> None:
        """Queues a control entry. Raises BusError when the queue is full: the caller must stop what it was doing."""
        if len(self._control) >= self._control_max:
            self._refused += 1
            raise BusError(f"{self._control_max} control entries wait already")
        self._control.append(item)
        self._rouse()

    def put_live(self, item: Append) -> None:
        """Queues an audio entry, dropping the oldest when full."""
        if len(self._live) == self._live.maxlen:
            self._dropped += 1
        self._live.append(item)
        self._rouse()

    def counts(self) -> OutboxCounts:
        waiting = len(self._control) + len(self._live)
        return OutboxCounts(self._written, self._dropped, self._refused, self._failures, waiting)

    async def drained(self) -> None:
        """Returns when everything put so far was written or given up."""
        await self._idle.wait()

    async def run(self) -> None:
        """Writes until cancelled."""
        attempt = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._control or self._live:
                if await self._write_some():
                    attempt = 0
                    continue
                self._dropped += len(self._live)
                self._live.clear()
                await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1
            self._idle.set()

    async def _write_some(self) -> bool:
        control = [self._control[i] for i in range(min(_BATCH, len(self._control)))]
        live = [self._live.popleft() for _ in range(min(_BATCH, len(self._live)))]
        try:
            await self._bus.append([*control, *live])
        except BusError:
            self._failures += 1
            self._dropped += len(live)
            return False
        for _ in control:
            self._control.popleft()
        self._written += len(control) + len(live)
        return True

    def _rouse(self) -> None:
        self._idle.clear()
        self._wake.set()
