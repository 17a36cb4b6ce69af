"""The supervisor with real children: a private Redis and two jobs workers, killed, restarted, ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import REPO, running, wait_until

pytestmark = pytest.mark.process

NO_CALLS = ["--fronts", "0", "--media-workers", "0", "--stt", "0", "--llm", "0", "--tts", "0"]


def up(var: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "voicefarm", "up", "--var", str(var), *NO_CALLS, "--wait", "60", *more]


def farm(var: Path) -> dict[str, Any]:
    path = var / "run" / "farm.json"
    return json.loads(path.read_text()) if path.exists() else {}


def process(var: Path, name: str) -> dict[str, Any]:
    return next((p for p in farm(var).get("processes", ()) if p["name"] == name), {})


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    with running(up(tmp_path, "--jobs", "2"), log=tmp_path / "out") as supervisor:
        wait_until(lambda: "the farm is up" in (tmp_path / "out").read_text(), 60, "the farm")
        assert farm(tmp_path)["ready"]
        yield tmp_path, supervisor


def test_interrupt_ends_every_process(live: tuple[Path, subprocess.Popen[bytes]]) -> None:
    var, supervisor = live
    pids = [p["pid"] for p in farm(var)["processes"]]
    assert len(pids) == 3
    assert all(alive(pid) for pid in pids)
    targets = json.loads((var / "run" / "prometheus_targets.json").read_text())
    assert [t["labels"]["worker"] for t in targets] == ["jobs-0", "jobs-1"]
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(20) == 0
    assert not any(alive(pid) for pid in pids)
    assert farm(var) == {}
    assert "ready after" in (var / "out").read_text()


def test_what_is_killed_is_started_again(live: tuple[Path, subprocess.Popen[bytes]]) -> None:
    var, _ = live
    for name in ("jobs-1", "redis"):
        before = process(var, name)
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(
            lambda name=name, pid=before["pid"]: (
                process(var, name).get("pid") not in {0, pid, None} and farm(var)["ready"]
            ),
            30,
            f"{name} again",
        )
        after = process(var, name)
        assert after["restarts"] == 1
        assert after["ops_port"] == before["ops_port"]
    assert "jobs-1 ended: SIGKILL; starts again" in (var / "out").read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux")
def test_children_die_with_a_killed_supervisor(live: tuple[Path, subprocess.Popen[bytes]]) -> None:
    var, supervisor = live
    pids = [p["pid"] for p in farm(var)["processes"]]
    supervisor.kill()
    supervisor.wait(10)
    wait_until(lambda: not any(alive(pid) for pid in pids), 10, "the children's end")
    with running(up(var, "--jobs", "1"), log=var / "out"):  # the file left behind does not stop the next farm
        wait_until(lambda: farm(var).get("ready") and farm(var)["pid"] != supervisor.pid, 60, "the next farm")


def test_a_second_farm_in_the_same_place_is_refused(live: tuple[Path, subprocess.Popen[bytes]]) -> None:
    var, _ = live
    second = subprocess.run(up(var), capture_output=True, text=True, cwd=REPO, timeout=30, check=False)
    assert second.returncode == 1
    assert "runs already" in second.stderr


def test_then_runs_a_command_and_exits_as_it_did(tmp_path: Path) -> None:
    command = up(tmp_path, "--jobs", "0", "--then", "sh", "-c", "echo from the command; exit 7")
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=60, check=False)
    assert done.returncode == 7
    assert "from the command" in done.stdout
    assert farm(tmp_path) == {}


def test_a_farm_that_does_not_come_up_says_why_and_ends(tmp_path: Path) -> None:
    environ = {**os.environ, "VOICEFARM_JOBS__KEEP_WAV": "perhaps"}
    command = up(tmp_path, "--wait", "3")
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=REPO, timeout=60, check=False, env=environ
    )
    assert done.returncode == 2
    assert "jobs.keep_wav" in done.stderr


def test_a_child_that_cannot_start_is_shown_with_its_last_words(tmp_path: Path) -> None:
    config = tmp_path / "farm.yaml"
    config.write_text("{}")
    command = up(tmp_path, "--config", str(config), "--wait", "3", "--redis", "redis://127.0.0.1:1/0")
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=60, check=False)
    assert done.returncode == 1
    assert "not ready within 3 s: jobs-0" in done.stderr
    assert farm(tmp_path) == {}
