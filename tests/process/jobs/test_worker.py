"""`python -m jobs` as a process: it registers, runs, tries again, and leaves."""

import json
import os
import signal
import sys
import urllib.request

import pytest
import redis
from rq import Queue
from rq.job import Job, JobStatus

from jobs.queue import enqueue_recording, queue_name, recording_job_id
from shared.keys import Keys
from tests.support.finished_calls import agent_call, stereo_wav, write_log
from tests.support.processes import free_port, redis_server, running, wait_until

pytestmark = pytest.mark.process

JOBS = [sys.executable, "-m", "jobs"]


def page(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
        return reply.read().decode()


def is_ready(port):
    try:
        return page(port, "/readyz") == "ok\n"
    except OSError:
        return False


@pytest.fixture
def worker(redis_url, tmp_path):
    port = free_port()
    env = {
        "VOICEFARM_REDIS_URL": redis_url,
        "VOICEFARM_OPS__HTTP_PORT": str(port),
        "VOICEFARM_OPS__LOG_FORMAT": "text",
    }
    with (
        running(JOBS, env=env, log=tmp_path / "jobs.log") as process,
        redis.Redis.from_url(redis_url) as client,
    ):
        wait_until(lambda: is_ready(port), what="jobs ready")
        yield process, client, port


def job_of(client, call_id="c1"):
    return Job.fetch(recording_job_id(call_id), connection=client, serializer="json")


def finished(client, call_id="c1"):
    return job_of(client, call_id).get_status() == JobStatus.FINISHED


def test_recording_is_finalised_once_when_it_failed_twice_for_real(worker, tmp_path):
    """First the WAV is absent, then it is cut short, then it is whole: two failures, one recording."""
    _, client, port = worker
    wav, whole = tmp_path / "c1.wav", tmp_path / "whole.wav"
    stereo_wav(whole, 1.0)
    key = write_log(client, "vf", "c1", agent_call())

    enqueue_recording(client, "vf", "c1", str(wav))
    enqueue_recording(client, "vf", "c1", str(wav))
    wait_until(lambda: job_of(client).retries_left == 4, what="the first failure")
    wav.write_bytes(whole.read_bytes()[:5_000])
    wait_until(lambda: job_of(client).retries_left == 3, what="the second failure")
    os.replace(whole, wav)
    wait_until(lambda: finished(client), 15.0, "the third attempt")

    made = json.loads((tmp_path / "c1.json").read_text())
    assert [
        (line["who"], line["at_s"], line["text"], line["interrupted"]) for line in made["transcript"]
    ] == [
        ("agent", 0.02, "Hello.", False),
        ("caller", 1.0, "billing please", False),
        ("agent", 2.1, "Your bill", True),
    ]
    assert [file["name"] for file in made["files"]] == ["c1.flac", "c1.opus", "c1.wav"]
    assert made["duration_s"] == 1.0
    assert client.xlen(key) == len(agent_call()) + 1
    figures = page(port, "/metrics")
    assert 'voicefarm_jobs_total{job="jobs.recording",result="again"} 2.0' in figures
    assert 'voicefarm_jobs_total{job="jobs.recording",result="done"} 1.0' in figures


def test_enqueueing_again_changes_nothing_when_the_job_is_done(worker, tmp_path):
    _, client, _ = worker
    stereo_wav(tmp_path / "c1.wav", 0.5)
    enqueue_recording(client, "vf", "c1", str(tmp_path / "c1.wav"))
    wait_until(lambda: finished(client), what="done")
    ended_at = job_of(client).ended_at

    assert enqueue_recording(client, "vf", "c1", str(tmp_path / "c1.wav")) == "recording-c1"

    assert client.llen(f"rq:queue:{queue_name('vf')}") == 0
    assert job_of(client).ended_at == ended_at


def test_function_of_somebody_else_is_not_run(worker, tmp_path):
    """Whoever can write to Redis cannot run what they like here."""
    _, client, port = worker
    queue = Queue(queue_name("vf"), connection=client, serializer="json")
    job = queue.enqueue("os.mkdir", str(tmp_path / "made"))

    wait_until(lambda: job.get_status(refresh=True) == JobStatus.FAILED, what="the refusal")

    assert not (tmp_path / "made").exists()
    assert "NotRunnable: os.mkdir" in job.latest_result().exc_string
    wait_until(
        lambda: 'voicefarm_jobs_total{job="refused",result="failed"} 1.0' in page(port, "/metrics"),
        what="counted",
    )


def test_jobs_leave_the_registry_and_exit_0_when_terminated_idle(worker):
    process, client, _ = worker
    wait_until(lambda: client.zcard(Keys("vf").live("jobs")) == 1, what="the first beat")

    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 0
    assert client.zcard(Keys("vf").live("jobs")) == 0
    assert client.smembers("rq:workers") == set()


def test_running_job_is_finished_when_terminated_in_the_middle(worker, tmp_path):
    """The WAV is long enough for the signal to land while it is encoded."""
    process, client, _ = worker
    stereo_wav(tmp_path / "c1.wav", 120.0)
    enqueue_recording(client, "vf", "c1", str(tmp_path / "c1.wav"))
    wait_until((tmp_path / "c1.flac.part").exists, what="encoding")
    enqueue_recording(client, "vf", "c2", str(tmp_path / "c2.wav"))

    process.send_signal(signal.SIGTERM)

    assert process.wait(40) == 0
    assert finished(client)
    assert json.loads((tmp_path / "c1.json").read_text())["duration_s"] == 120.0
    assert job_of(client, "c2").get_status() == JobStatus.QUEUED


def test_jobs_go_on_when_redis_was_restarted(tmp_path):
    port, redis_port = free_port(), free_port()
    url = f"redis://127.0.0.1:{redis_port}/0"
    env = {"VOICEFARM_REDIS_URL": url, "VOICEFARM_OPS__HTTP_PORT": str(port)}
    stereo_wav(tmp_path / "c1.wav", 0.5)
    with running(JOBS, env=env, log=tmp_path / "jobs.log"):
        with redis_server(redis_port):
            wait_until(lambda: is_ready(port), what="ready")
        wait_until(lambda: not is_ready(port), what="Redis missed")
        with redis_server(redis_port), redis.Redis.from_url(url) as client:
            enqueue_recording(client, "vf", "c1", str(tmp_path / "c1.wav"))
            wait_until(lambda: finished(client), 25.0, "the job after the restart")
            wait_until(lambda: is_ready(port), what="ready again")


def test_process_names_the_key_when_the_configuration_is_wrong(tmp_path):
    with running(JOBS, env={"VOICEFARM_OPS__HTTP_PORT": "99999999"}, log=tmp_path / "out") as process:
        assert process.wait(10) == 2
    assert "ops.http_port" in (tmp_path / "out").read_text()
