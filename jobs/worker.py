"""An RQ worker that runs in a thread beside the shell of a farm process and ends when it is asked to.

One job at a time, in this process; the retry schedule is moved on between jobs, so no scheduler process is needed.
Redis being away is waited out. It installs no signal handlers: the shell owns them.
Sources: RQ 2 (SimpleWorker, RQScheduler, TimerDeathPenalty).
"""

import threading
from typing import Any

import redis
from rq import Queue, SimpleWorker
from rq.job import Job, JobStatus
from rq.scheduler import RQScheduler
from rq.timeouts import TimerDeathPenalty

from shared.errors import FarmError
from shared.jobs import RUNNABLE, SERIALIZER, queue_name
from shared.log import get_log
from shared.metrics import Metrics

log = get_log(__name__)

_POLL_S = 1
_RETRY_S = 1.0
_MAINTENANCE_S = 60
"""How often jobs of dead workers are looked for; RQ's own ten minutes would keep a recording waiting."""


class NotRunnable(FarmError):
    """A job that names a function this worker does not run."""


class FarmJob(Job):
    """A job whose function is one of ours: a name from Redis is looked up in a list, never imported at will."""

    @property
    def func(self) -> Any:
        if self.func_name not in RUNNABLE:
            raise NotRunnable(str(self.func_name))
        return super().func


class FarmWorker(SimpleWorker):
    """A SimpleWorker that polls for its end and counts results."""

    death_penalty_class = TimerDeathPenalty  # SIGALRM reaches only a main thread
    max_connection_wait_time = 4.0

    def __init__(self, queue: Queue, name: str, metrics: Metrics, asked_to_end: threading.Event) -> None:
        super().__init__(
            [queue], name=name, connection=queue.connection, maintenance_interval=_MAINTENANCE_S,
            job_class=FarmJob, serializer=SERIALIZER,
        )  # fmt: skip
        self._metrics = metrics
        self._asked_to_end = asked_to_end
        self._schedule: Any = RQScheduler(
            [queue],
            connection=queue.connection,
            interval=_POLL_S,
            name=f"{name}-schedule",
            serializer=SERIALIZER,
        )

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job, or None once the worker was asked to end. Replaces waits of minutes by short ones."""
        del timeout, max_idle_time
        while not self._asked_to_end.is_set():
            self._move_schedule()
            found: tuple[Job, Queue] | None = super().dequeue_job_and_maintain_ttl(_POLL_S, _POLL_S)
            if found:
                return found
        return None

    def perform_job(self, job: Job, queue: Queue) -> bool:
        done = bool(super().perform_job(job, queue))
        # A name from outside must not become a label.
        label = str(job.func_name).rpartition(".")[0] if job.func_name in RUNNABLE else "refused"
        self._metrics.counter("voicefarm_jobs", label, self._result(job, done)).inc()
        return done

    def _result(self, job: Job, done: bool) -> str:  # noqa: FBT001  RQ's own verdict
        if done:
            return "done"
        waits = job.get_status(refresh=True) in {JobStatus.SCHEDULED, JobStatus.QUEUED}
        return "again" if waits else "failed"

    def _move_schedule(self) -> None:
        """Puts jobs whose retry is due back on the queue; of several workers one holds the lock."""
        if self._schedule.acquire_locks():
            self._schedule.enqueue_scheduled_jobs()

    def _install_signal_handlers(self) -> None:
        """The shell owns the signals."""

    def teardown(self) -> None:
        try:
            self._schedule.release_locks()
            super().teardown()  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            log.warning("left without saying so", problem=str(error))


class JobThread(threading.Thread):
    """Runs workers, one after another when Redis made one give up, until it is asked to end."""

    def __init__(self, url: str, prefix: str, worker_id: str, metrics: Metrics) -> None:
        super().__init__(name="jobs", daemon=True)  # a job that must not end with the process is tried again
        self._url = url
        self._prefix = prefix
        self._worker_id = worker_id
        self._metrics = metrics
        self._asked_to_end = threading.Event()

    def end(self) -> None:
        """The running job is finished, no other is begun."""
        self._asked_to_end.set()

    def run(self) -> None:
        count = 0
        while not self._asked_to_end.is_set():
            count += 1
            try:
                self._work(f"{self._worker_id}-{count}")
            except redis.RedisError as error:
                log.warning("redis is away", problem=str(error))
            self._asked_to_end.wait(_RETRY_S)

    def _work(self, name: str) -> None:
        connection: Any = redis.Redis.from_url(self._url, socket_connect_timeout=2.0)
        try:
            queue = Queue(
                queue_name(self._prefix), connection=connection, job_class=FarmJob, serializer=SERIALIZER
            )
            FarmWorker(queue, name, self._metrics, self._asked_to_end).work(logging_level="WARNING")
        finally:
            connection.close()
