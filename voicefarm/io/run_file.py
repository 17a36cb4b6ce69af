"""`var/run/farm.json`: the running farm, for `call`, `tail`, `doctor` and tests. Written whole and renamed into place."""

import json
import os
from pathlib import Path

import msgspec


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One child; `pid` 0 while it is not running."""

    name: str
    role: str
    pid: int
    state: str
    ops_port: int
    sip_port: int = 0
    log: str
    restarts: int = 0


class FarmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A farm as its supervisor sees it."""

    pid: int
    started_ms: int
    redis_url: str
    prefix: str
    sip_host: str
    sip_ports: list[int]
    recordings: str
    ready: bool
    processes: list[ProcessRecord]


def run_path(var: str) -> Path:
    return Path(var) / "run" / "farm.json"


def targets_path(var: str) -> Path:
    """Prometheus file_sd targets of the same farm."""
    return Path(var) / "run" / "prometheus_targets.json"


def write_farm(var: str, farm: FarmRecord) -> None:
    """Says what runs."""
    _replace(run_path(var), msgspec.json.format(msgspec.json.encode(farm), indent=2))
    targets = [
        {"targets": [f"127.0.0.1:{p.ops_port}"], "labels": {"role": p.role, "worker": p.name}}
        for p in farm.processes
        if p.role != "redis"
    ]
    _replace(targets_path(var), json.dumps(targets, indent=2).encode())


def remove_farm(var: str) -> None:
    for path in (run_path(var), targets_path(var)):
        path.unlink(missing_ok=True)


def read_farm(var: str) -> FarmRecord | None:
    """The farm that runs with this `var`, or None; a file left by a killed supervisor is none."""
    try:
        farm = msgspec.json.decode(run_path(var).read_bytes(), type=FarmRecord)
    except (OSError, msgspec.MsgspecError):
        return None
    return farm if _alive(farm.pid) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)
