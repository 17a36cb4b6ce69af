"""SIP timers over UDP (RFC 3261 table 4, RFC 6026 for L and M) and the queue that holds what is due.

Time is handed in; nothing here reads a clock. The queue is bounded by its users: a key has one deadline at a time.
"""

import heapq
from typing import NamedTuple

from shared.units import NS_PER_MS

T1_NS = 500 * NS_PER_MS
"""Estimate of the round trip (section 17.1.1.1)."""
T2_NS = 4_000 * NS_PER_MS
"""Longest interval between retransmissions of non-INVITE requests and INVITE responses."""
T4_NS = 5_000 * NS_PER_MS
"""Longest time a message stays in the network."""

TIMERS_NS = {
    "A": T1_NS,  # INVITE request retransmission, doubles
    "B": 64 * T1_NS,  # INVITE client gives up
    "C": 180_000 * NS_PER_MS,  # INVITE client that only got provisional answers (section 16.6, item 11)
    "D": 32_000 * NS_PER_MS,  # INVITE client waits for repeated failure responses
    "E": T1_NS,  # non-INVITE request retransmission, doubles up to T2
    "F": 64 * T1_NS,  # non-INVITE client gives up
    "G": T1_NS,  # INVITE failure response retransmission, doubles up to T2
    "H": 64 * T1_NS,  # INVITE server waits for the ACK
    "I": T4_NS,  # INVITE server absorbs repeated ACKs
    "J": 64 * T1_NS,  # non-INVITE server absorbs repeated requests
    "K": T4_NS,  # non-INVITE client absorbs repeated responses
    "L": 64 * T1_NS,  # INVITE server absorbs repeated INVITEs after a 2xx (RFC 6026)
    "M": 64 * T1_NS,  # INVITE client takes further 2xx (RFC 6026)
}
"""First interval or duration of every timer."""

ACK_WAIT_NS = 64 * T1_NS
"""A 2xx that is not acknowledged in this time ends the dialog (section 13.3.1.4)."""


class Due(NamedTuple):
    """Whose timer ran out: `owner` is "server", "client" or "call", `key` its key there, `name` which timer."""

    owner: str
    key: object
    name: str


class TimerQueue:
    """Deadlines by key; setting a key again moves its deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._live: dict[Due, tuple[int, int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._live)

    def set(self, due: Due, at_ns: int) -> None:
        self._serial += 1
        self._live[due] = (at_ns, self._serial)
        heapq.heappush(self._heap, (at_ns, self._serial, due))
        if len(self._heap) > 2 * len(self._live) + 64:
            self._heap = [(at, serial, key) for key, (at, serial) in self._live.items()]
            heapq.heapify(self._heap)

    def cancel(self, due: Due) -> None:
        self._live.pop(due, None)

    def next_ns(self) -> int | None:
        """The earliest deadline, None when nothing waits."""
        self._skip()
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ns: int) -> Due | None:
        """The next key whose deadline has passed, taken out; None when there is none."""
        self._skip()
        if not self._heap or self._heap[0][0] > now_ns:
            return None
        due = heapq.heappop(self._heap)[2]
        del self._live[due]
        return due

    def _skip(self) -> None:
        """Drops entries from the top that were cancelled or moved."""
        while self._heap and self._live.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
