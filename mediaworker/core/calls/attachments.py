"""Which AI workers a call is attached to, and what follows when one of them dies (decision 0001).

The media worker anchors the call: it alone raises the epoch, so whatever an old attachment still sends is told apart.
It must not decide who replaces a worker: the registry does, and tells through `assigned`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from shared.contracts import AiWorkers
from shared.units import NS_PER_MS

SETTLE_NS = 100 * NS_PER_MS
"""Between attaching an STT worker and sending it the utterance: the two go by different streams."""

RETRY_NS = 500 * NS_PER_MS


class Lost(NamedTuple):
    """An attachment whose worker is gone."""

    role: str
    leaving: str


class Attachments:
    """One call's AI workers. `epoch` starts at 1 and rises with every change."""

    __slots__ = ("_asked_ns", "_workers", "epoch", "stt_ready_ns")

    def __init__(self, ai: AiWorkers) -> None:
        named = {"stt": ai.stt, "llm": ai.llm, "tts": ai.tts}
        self._workers = {role: worker for role, worker in named.items() if worker}
        self._asked_ns: dict[str, int] = {}
        self.epoch = 1
        self.stt_ready_ns = 0
        """From when on frames may go to the STT worker."""

    def __bool__(self) -> bool:
        return bool(self._workers)

    def worker(self, role: str) -> str:
        """The worker of a role, "" where the application needs none."""
        return self._workers.get(role, "")

    @property
    def ai(self) -> AiWorkers:
        return AiWorkers(**self._workers)

    def lost(self, live: Mapping[str, frozenset[str]], now_ns: int) -> list[Lost]:
        """Attachments whose worker has no lease, each asked for again only after a while."""
        gone = [
            Lost(role, worker)
            for role, worker in self._workers.items()
            if role in live and worker not in live[role] and now_ns >= self._asked_ns.get(role, 0)
        ]
        for role, _ in gone:
            self._asked_ns[role] = now_ns + RETRY_NS
        return gone

    def assigned(self, role: str, leaving: str, worker: str) -> bool:
        """`worker` takes over from `leaving`; False (and nothing changes) where that is not so any more."""
        if not worker or self._workers.get(role) != leaving:
            return False
        self._workers[role] = worker
        self._asked_ns.pop(role, None)
        self.epoch += 1
        return True

    def renew(self) -> None:
        """The same workers, attached anew: the registry lost its memory and messages with it."""
        self.epoch += 1

    def settle(self, now_ns: int) -> None:
        """Holds frames back until the STT worker knows of the attachment."""
        self.stt_ready_ns = now_ns + SETTLE_NS
