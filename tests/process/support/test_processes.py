"""Real processes that tests start end with the test, with the run, and with a run that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import REPO, answers, free_port, redis_server, running, stop, wait_until

pytestmark = pytest.mark.process

STUBBORN = "trap '' INT TERM; sleep 600 & echo $! > {file}; wait; wait"
RUN = """
import sys, time
from tests.support.processes import running
with running(["sh", "-c", sys.argv[1]]) as process:
    print(process.pid, flush=True)
    time.sleep(600)
"""


def gone(pid: int) -> bool:
    """A process that ended; one that waits to be reaped counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def killed_run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A run that started a stubborn process with a child: the run, the process, the child."""
    file = tmp_path / "child"
    command = [sys.executable, "-c", RUN, STUBBORN.format(file=file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO) as run:
        assert run.stdout
        pid = int(run.stdout.readline())
        wait_until(lambda: file.exists() and file.read_text().strip(), what="the child")
        yield run, pid, int(file.read_text())
        run.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_run_had_started_is_ended_with_its_children(
    killed_run: tuple[subprocess.Popen[str], int, int], number: signal.Signals
) -> None:
    run, pid, child = killed_run
    assert not gone(pid)
    assert not gone(child)
    run.send_signal(number)
    wait_until(lambda: gone(pid) and gone(child), 10, "the end of both")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_whole_group_ends_with_the_block_even_when_it_ignores_the_gentle_way(tmp_path: Path) -> None:
    file = tmp_path / "child"
    with running(["sh", "-c", STUBBORN.format(file=file)]) as process:
        wait_until(lambda: file.exists() and file.read_text().strip(), what="the child")
        child = int(file.read_text())
        assert stop(process, grace_s=0.2) == -signal.SIGKILL
    wait_until(lambda: gone(child), what="the child's end")


def test_block_that_fails_ends_its_process() -> None:
    with pytest.raises(RuntimeError, match="in the test"), running(["sleep", "600"]) as process:
        raise RuntimeError("in the test")
    assert process.returncode == -signal.SIGINT


def test_output_and_environment_are_those_given(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(
        ["sh", "-c", 'echo "$A_WORD" at "$PWD"'], env={"A_WORD": "here"}, log=log, cwd=tmp_path
    ) as p:
        p.wait(10)
    assert log.read_text() == f"here at {os.path.realpath(tmp_path)}\n"


def test_wait_until_gives_what_was_found_or_fails_by_name() -> None:
    found = iter([None, 0, "this"])
    assert wait_until(lambda: next(found)) == "this"
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"not within 0\.1 s: a wonder"):
        wait_until(lambda: False, 0.1, "a wonder")
    assert time.monotonic() - began >= 0.1


def test_private_redis_answers_while_its_block_lasts() -> None:
    port = free_port()
    with redis_server(port) as url:
        assert url == f"redis://127.0.0.1:{port}/0"
        assert answers(port)
    assert not answers(port)
