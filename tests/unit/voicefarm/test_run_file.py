"""The run file: written whole, read only while its farm lives, and Prometheus' list of the same farm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from voicefarm.io.run_file import (
    FarmRecord,
    ProcessRecord,
    read_farm,
    remove_farm,
    run_path,
    targets_path,
    write_farm,
)

pytestmark = pytest.mark.unit


def child(name: str, role: str, ops_port: int) -> ProcessRecord:
    return ProcessRecord(name=name, role=role, pid=7, state="ready", ops_port=ops_port, log=f"/log/{name}")


def farm(pid: int, **changes: object) -> FarmRecord:
    values: dict[str, object] = {
        "pid": pid, "started_ms": 1, "redis_url": "redis://h/0", "prefix": "vf", "sip_host": "192.0.2.1",
        "sip_ports": [5060], "recordings": "/r", "ready": True,
        "processes": [child("redis", "redis", 0), child("media-0", "media", 9_301), child("front-0", "front", 9_302)],
    }  # fmt: skip
    return FarmRecord(**(values | changes))  # type: ignore[arg-type]


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_was_written_is_read_while_the_farm_lives(tmp_path: Path) -> None:
    here = farm(os.getpid())
    write_farm(str(tmp_path), here)
    assert read_farm(str(tmp_path)) == here
    write_farm(str(tmp_path), farm(os.getpid(), ready=False))
    again = read_farm(str(tmp_path))
    assert again
    assert not again.ready


def test_file_of_a_farm_that_was_killed_is_no_farm(tmp_path: Path) -> None:
    write_farm(str(tmp_path), farm(ended_pid()))
    assert read_farm(str(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"[1]", b'{"pid": "x"}', b"\xff\xfe"])
def test_file_that_is_broken_is_no_farm(tmp_path: Path, content: bytes) -> None:
    run_path(str(tmp_path)).parent.mkdir()
    run_path(str(tmp_path)).write_bytes(content)
    assert read_farm(str(tmp_path)) is None


def test_prometheus_is_told_every_process_with_pages(tmp_path: Path) -> None:
    write_farm(str(tmp_path), farm(os.getpid()))
    assert json.loads(targets_path(str(tmp_path)).read_text()) == [
        {"targets": ["127.0.0.1:9301"], "labels": {"role": "media", "worker": "media-0"}},
        {"targets": ["127.0.0.1:9302"], "labels": {"role": "front", "worker": "front-0"}},
    ]


def test_nothing_is_left_of_a_farm_that_ended_and_of_its_writing(tmp_path: Path) -> None:
    write_farm(str(tmp_path), farm(os.getpid()))
    assert sorted(p.name for p in run_path(str(tmp_path)).parent.iterdir()) == [
        "farm.json", "prometheus_targets.json",
    ]  # fmt: skip
    remove_farm(str(tmp_path))
    remove_farm(str(tmp_path))
    assert read_farm(str(tmp_path)) is None
    assert list(run_path(str(tmp_path)).parent.iterdir()) == []
