"""What the model decodes next: everything that waits, the most urgent first, as soon as the model is free.

Work-conserving (FACTS of the design: as much throughput as a fixed batching window, without its delay): nothing waits
for a batch to fill. A batch holds jobs of one bucket (equal window and prompt length), finals before speculation before
partials. Speculation that waited too long is dropped: the endpoint will ask again. It knows neither audio nor engines.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from aiworker.stt.port import Utterance
from shared.units import NS_PER_MS


class Priority(IntEnum):
    """Lower is sooner; the names are the kinds of a Transcript."""

    FINAL = 0
    SPECULATIVE = 1
    PARTIAL = 2


STALE_NS = {Priority.SPECULATIVE: 500 * NS_PER_MS, Priority.PARTIAL: 200 * NS_PER_MS}
"""Older than this in the queue, a job is worth less than the time it takes. Finals never are."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One utterance to decode."""

    job_id: int
    call_id: str
    turn: int
    priority: Priority
    utterance: Utterance
    bucket: Hashable
    queued_ns: int


class Taken(NamedTuple):
    """What `take` gave."""

    batch: list[Job]
    stale: list[Job]
    """Dropped for their age."""


class Batcher:
    """A bounded queue of jobs."""

    def __init__(self, *, batch_max: int, queue_max: int) -> None:
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> Job | None:
        """Queues a job. When the queue is full the least urgent one is lost, the youngest of equals: it is returned."""
        self._jobs[job.job_id] = job
        if len(self._jobs) <= self._queue_max:
            return None
        lost = max(self._jobs.values(), key=lambda waiting: (waiting.priority, waiting.job_id))
        return self._jobs.pop(lost.job_id)

    def promote(self, job_id: int) -> bool:
        """Makes a waiting job as urgent as a final; False when it does not wait (any more)."""
        job = self._jobs.get(job_id)
        if job is None:
            return False
        self._jobs[job_id] = replace(job, priority=Priority.FINAL)
        return True

    def cancel(self, call_id: str, turn: int) -> list[Job]:
        """Forgets, and returns, everything that waits for a turn of a call."""
        void = [job for job in self._jobs.values() if (job.call_id, job.turn) == (call_id, turn)]
        for job in void:
            del self._jobs[job.job_id]
        return void

    def take(self, now_ns: int) -> Taken:
        """The next batch, empty when nothing waits."""
        stale = [job for job in self._jobs.values() if _is_stale(job, now_ns)]
        for job in stale:
            del self._jobs[job.job_id]
        order = sorted(self._jobs.values(), key=lambda job: (job.priority, job.job_id))
        batch = [job for job in order if job.bucket == order[0].bucket][: self._batch_max]
        for job in batch:
            del self._jobs[job.job_id]
        return Taken(batch, stale)


def _is_stale(job: Job, now_ns: int) -> bool:
    limit_ns = STALE_NS.get(job.priority)
    return limit_ns is not None and now_ns - job.queued_ns > limit_ns
