"""Leases and placement: who lives, who holds what."""

from shared.registry.records import CallRecord, Held, Placement, Role, State, WorkerRecord
from shared.registry.registry import Registry

__all__ = ["CallRecord", "Held", "Placement", "Registry", "Role", "State", "WorkerRecord"]
