"""What a front knows of the farm's media workers: room for calls, and which of them have died.

Fed at every beat with what the registry says; reads no clock and asks nobody.
"""

from collections.abc import Collection
from dataclasses import dataclass

from shared.keys import BEAT_MS, LEASE_MS
from shared.units import NS_PER_MS

GRACE_NS = (LEASE_MS + 2 * BEAT_MS) * NS_PER_MS
"""How long a worker may be missing from the registry: a restarted Redis knows nobody until everybody has beaten again,
and their calls go on meanwhile (DESIGN section 8)."""


@dataclass(frozen=True, slots=True)
class FarmLoad:
    """Calls and capacity of the ready media workers."""

    used: int = 0
    capacity: int = 0

    @property
    def why_closed(self) -> str:
        """Empty while calls can be taken, else a short reason."""
        if self.capacity == 0:
            return "no_media"
        return "full_media" if self.used >= self.capacity else ""


class LeaseWatch:
    """Says which workers are gone for good."""

    def __init__(self) -> None:
        self._missing_since: dict[str, int] = {}

    def lost(
        self, needed: Collection[str], live: Collection[str], now_ns: int, *, forgotten: bool = False
    ) -> list[str]:
        """Workers with calls of ours whose lease has been gone for longer than the grace.

        `forgotten`: Redis lost its memory; everybody's grace begins anew.
        """
        if forgotten:
            self._missing_since.clear()
        missing = {worker: self._missing_since.get(worker, now_ns) for worker in needed if worker not in live}
        self._missing_since = missing
        return [worker for worker, since in missing.items() if now_ns - since >= GRACE_NS]
