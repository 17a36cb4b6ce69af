"""The jobs role: what a beat does when the job thread died, what a drain waits for, wrong settings."""

import subprocess
import sys

import pytest

from jobs.app import JobsHooks
from jobs.worker import JobThread
from shared.config import Config, RedisConfig
from shared.contracts import SttDetach
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from tests.support.processes import REPO, free_port

pytestmark = pytest.mark.process


def hooks() -> tuple[JobsHooks, Shell, JobThread]:
    url = f"redis://127.0.0.1:{free_port()}/0"
    metrics = Metrics("jobs")
    shell = Shell(
        Config(redis=RedisConfig(url=url)), Identity(role="jobs", name="jobs-0", capacity=1), metrics
    )
    thread = JobThread(url, "vf", shell.worker_id, metrics)
    return JobsHooks(shell, thread), shell, thread


async def test_dead_thread_ends_the_process_at_the_next_beat() -> None:
    found, shell, _ = hooks()
    await found.on_beat(forgotten=True)
    assert not shell._stop.is_set(), "it is only starting"
    shell.state = "ready"
    await found.on_beat(forgotten=False)
    assert shell._stop.is_set()


async def test_thread_that_lives_is_left_alone_and_a_drain_ends_it() -> None:
    found, shell, thread = hooks()
    thread.start()
    shell.state = "ready"
    await found.on_beat(forgotten=False)
    assert not shell._stop.is_set()
    assert found.calls() == 1
    shell.state = "draining"
    assert found.calls() in {0, 1}
    thread.join(10)
    assert found.calls() == 0
    await found.on_beat(forgotten=False)
    assert not shell._stop.is_set(), "a drained worker ends by its count of calls"


async def test_stray_message_is_harmless() -> None:
    found, shell, _ = hooks()
    await found.on_message(SttDetach(call_id="c"))
    assert not shell._stop.is_set()


def test_wrong_setting_is_one_line_and_status_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs"], env={"VOICEFARM_JOBS__KEEP_WAV": "perhaps"}, cwd=REPO, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "jobs.keep_wav" in done.stderr
    assert len(done.stderr.splitlines()) == 1
