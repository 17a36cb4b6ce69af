"""Ordered byte streams between processes: the port, its Redis and in-memory implementations, and the outbox."""

from shared.bus.memory_bus import MemoryBus
from shared.bus.outbox import Outbox
from shared.bus.port import Append, Batch, Bus, Entry, Reader
from shared.bus.redis_bus import RedisBus, connect

__all__ = ["Append", "Batch", "Bus", "Entry", "MemoryBus", "Outbox", "Reader", "RedisBus", "connect"]
