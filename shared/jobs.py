"""How a post-call job is put on the queue; the media worker and the jobs role both use it.

The function is named by its path, so that whoever enqueues does not import the jobs package; a worker runs only the
functions of RUNNABLE, and arguments are JSON: what stands in Redis is data, not code. It must not run jobs.
Sources: RQ 2 (Queue.enqueue with unique, Retry).
"""

from contextlib import suppress
from typing import Any

from rq import Queue, Retry
from rq.exceptions import DuplicateJobError

FINALISE = "jobs.recording.finalise"

RUNNABLE = frozenset({FINALISE})

SERIALIZER = "json"

RETRY_AFTER_S = (1, 5, 30, 300, 1_800)
"""Back-off between attempts; the job has failed for good after the last one."""

TIMEOUT_S = 900
RESULT_TTL_S = 3_600
"""A finished job is remembered this long, so that enqueueing it again is still recognised as a repetition."""

FAILURE_TTL_S = 7 * 86_400


def queue_name(prefix: str) -> str:
    """The one RQ queue of a farm; RQ itself puts `rq:queue:` before it."""
    return f"{prefix}-jobs"


def recording_job_id(call_id: str) -> str:
    return f"recording-{call_id}"


def enqueue_recording(connection: Any, prefix: str, call_id: str, wav_path: str) -> str:
    """Asks for a call's recording to be finalised, once, however often it is asked; returns the job id.

    `connection` is a synchronous redis.Redis without decode_responses. Raises redis.RedisError when Redis is away.
    """
    job_id = recording_job_id(call_id)
    with suppress(DuplicateJobError):
        Queue(queue_name(prefix), connection=connection, serializer=SERIALIZER).enqueue(
            FINALISE,
            call_id,
            wav_path,
            job_id=job_id,
            unique=True,
            retry=Retry(max=len(RETRY_AFTER_S), interval=list(RETRY_AFTER_S)),
            job_timeout=TIMEOUT_S,
            result_ttl=RESULT_TTL_S,
            failure_ttl=FAILURE_TTL_S,
            description=f"recording of {call_id}",
        )
    return job_id
