"""Putting a recording's job on the queue, on a real Redis: once however often, as data and never as code."""

import json
import zlib
from collections.abc import Iterator

import pytest
import redis
from rq import Queue
from rq.job import Job

from shared import jobs

pytestmark = pytest.mark.process


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


def waiting(client: redis.Redis, prefix: str = "vf") -> list[str]:
    queue = Queue(jobs.queue_name(prefix), connection=client, serializer=jobs.SERIALIZER)
    return list(queue.get_job_ids())


def job(client: redis.Redis, job_id: str) -> Job:
    return Job.fetch(job_id, connection=client, serializer=jobs.SERIALIZER)


def test_recording_is_queued_once_however_often_it_is_asked_for(client: redis.Redis) -> None:
    ids = {jobs.enqueue_recording(client, "vf", "c1", "/r/c1.wav") for _ in range(3)}
    assert ids == {"recording-c1"}
    assert waiting(client) == ["recording-c1"]


def test_calls_have_jobs_of_their_own_and_farms_queues_of_their_own(client: redis.Redis) -> None:
    jobs.enqueue_recording(client, "vf", "c1", "/r/c1.wav")
    jobs.enqueue_recording(client, "vf", "c2", "/r/c2.wav")
    jobs.enqueue_recording(client, "other", "c3", "/r/c3.wav")
    assert waiting(client) == ["recording-c1", "recording-c2"]
    assert waiting(client, "other") == ["recording-c3"]


def test_job_carries_function_arguments_retries_and_limits(client: redis.Redis) -> None:
    found = job(client, jobs.enqueue_recording(client, "vf", "c1", "/r/c1.wav"))
    assert found.func_name == jobs.FINALISE
    assert found.func_name in jobs.RUNNABLE
    assert tuple(found.args) == ("c1", "/r/c1.wav")
    assert found.retries_left == len(jobs.RETRY_AFTER_S)
    assert found.retry_intervals == list(jobs.RETRY_AFTER_S)
    assert found.timeout == jobs.TIMEOUT_S
    assert found.result_ttl == jobs.RESULT_TTL_S


def test_what_lies_in_redis_is_json_and_no_pickle(client: redis.Redis) -> None:
    jobs.enqueue_recording(client, "vf", "c1", "/r/c1.wav")
    data = client.hget("rq:job:recording-c1", "data")
    assert isinstance(data, bytes)
    text = zlib.decompress(data) if data[:1] == b"\x78" else data
    assert json.loads(text)[0] == jobs.FINALISE


def test_redis_that_is_away_is_an_error_for_whoever_asked() -> None:
    with (
        redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2) as away,
        pytest.raises(redis.RedisError),
    ):
        jobs.enqueue_recording(away, "vf", "c1", "/r/c1.wav")


def test_retries_wait_longer_each_time() -> None:
    assert list(jobs.RETRY_AFTER_S) == sorted(set(jobs.RETRY_AFTER_S))
