"""A whole farm of real processes on loopback, for process and peer tests.

Each test farm has its own Redis, ports, prefix and directories; every process is ended by pid when the block is left.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import yaml

from tests.support.processes import answers, free_port, redis_command, running, stop, wait_until

RTP_FIRST, RTP_LAST = 16_000, 31_998
_BLOCK = 800


def rtp_block(ports: int = _BLOCK) -> str:
    """A range of free RTP ports below the ephemeral ones; processes of tests that run side by side start elsewhere."""
    step = RTP_FIRST + (os.getpid() * 1_600) % (RTP_LAST - RTP_FIRST - ports)
    for first in [*range(step, RTP_LAST - ports, ports), *range(RTP_FIRST, step, ports)]:
        even = first - first % 2
        if all(_is_free(port) for port in (even, even + 1, even + ports - 1)):
            return f"{even}-{even + ports - 1}"
    raise AssertionError("no RTP ports free")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class Farm:
    """A running farm; `sip` is where to call, `get` reads a process's page."""

    directory: Path
    redis_port: int
    sip_ports: list[int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def rtp_range(self) -> tuple[int, int]:
        """First and last RTP port of the farm."""
        tree = yaml.safe_load((self.directory / "voicefarm.yaml").read_text())
        first, _, last = tree["media"]["ports"].partition("-")
        return int(first), int(last)

    @property
    def sip(self) -> str:
        return f"127.0.0.1:{self.sip_ports[0]}"

    def redis(self) -> "redis.Redis[Any]":
        return redis.Redis.from_url(self.redis_url, protocol=2)

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def workers(self, role: str) -> dict[str, dict[str, Any]]:
        """Records of the live workers of a role, by name."""
        with self.redis() as client:
            seconds, micros = client.time()
            ids = client.zrangebyscore(f"vf:live:{role}", seconds * 1_000 + micros // 1_000 - 2_000, "+inf")
            raw = [client.hget(f"vf:worker:{worker.decode()}", "record") for worker in ids]
        records = [json.loads(record) for record in raw if record]
        return {record["worker_id"].rpartition(".")[0]: record for record in records}

    def get(self, name: str, path: str) -> str:
        """A page of a process by name (`media-0`)."""
        record = self.workers(_role(name))[name]
        with urllib.request.urlopen(f"http://127.0.0.1:{record['http_port']}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, name: str, metric: str) -> float:
        """Sum of the samples of a metric of a process whose line begins with `metric`."""
        lines = self.get(name, "/metrics").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))

    def calls(self) -> list[dict[str, Any]]:
        found = json.loads(self.get("front-0", "/calls"))
        return list(found["calls"] if isinstance(found, dict) else found)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Starts (again) a process by name and waits until it is ready."""
        env = self.env | {"VOICEFARM_WORKER_NAME": name}
        if name.startswith("front-"):
            env["VOICEFARM_SIP__PORT"] = str(self.sip_ports[int(name.removeprefix("front-"))])
        if name.startswith("media-"):
            env["VOICEFARM_WORKER_INDEX"] = name.removeprefix("media-")
        process = self._stack.enter_context(
            running(self.commands[name], env=env, log=self.directory / f"{name}.log")
        )
        self.processes[name] = process
        return process

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Until every started process is registered as ready."""
        for name, process in self.processes.items():
            wait_until(
                lambda n=name, p=process: self._ready(n, p), timeout_s, f"{name}: {self.log(name)[-2_000:]}"
            )

    def _ready(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name)[-4_000:]}")
        if name == "redis":
            return answers(self.redis_port)
        record = self.workers(_role(name)).get(name)
        return record is not None and record["pid"] in _family(process.pid) and record["state"] == "ready"

    def kill(self, name: str) -> None:
        """SIGKILL, and reaps."""
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)

    def restart_redis(self, down_s: float = 0.5) -> None:
        """Ends Redis, loses its memory, starts it again on the same port."""
        stop(self.processes["redis"])
        time.sleep(down_s)  # the outage is the thing tested
        self._start_redis()

    def _start_redis(self) -> None:
        self.processes["redis"] = self._stack.enter_context(running(redis_command(self.redis_port)))
        wait_until(lambda: answers(self.redis_port), what="redis")


def _role(name: str) -> str:
    return name.partition("-")[0]


def _family(pid: int) -> set[int]:
    """A process and its children: a launcher may stand before the worker."""
    found = {pid}
    for entry in (
        Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if sys.platform == "linux" else []
    ):
        found |= _family(int(entry))
    return found


@contextmanager
def farm(
    directory: Path,
    *,
    fronts: int = 1,
    media: int = 1,
    ai: tuple[str, ...] = (),
    jobs: bool = False,
    config: Mapping[str, Any] | None = None,
    wait: bool = True,
) -> Iterator[Farm]:
    """A farm with `fronts`, `media` workers and one AI worker per name in `ai` (`stt-0`, `llm-0`, ...)."""  # fmt: skip
    tree: dict[str, Any] = {
        "sip": {"host": "127.0.0.1"},
        "media": {
            "host": "127.0.0.1",
            "ports": rtp_block(),
            "capacity": 200,
            "record_dir": str(directory / "rec"),
        },
        "ops": {"log_format": "text", "events_linger_s": 5, "drain_s": 5},
    }
    for section, values in (config or {}).items():
        tree[section] = {**tree.get(section, {}), **values} if isinstance(values, Mapping) else values
    path = directory / "voicefarm.yaml"
    path.write_text(yaml.safe_dump(tree))
    made = Farm(directory, free_port(), [free_port(socket.SOCK_DGRAM) for _ in range(fronts)])
    made.env = {
        "VOICEFARM_CONFIG": str(path), "VOICEFARM_REDIS_URL": made.redis_url, "VOICEFARM_WORKER_COUNT": str(media),
        "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    for n in range(fronts):
        made.commands[f"front-{n}"] = [sys.executable, "-m", "sipfront"]
    for n in range(media):
        made.commands[f"media-{n}"] = [sys.executable, "-m", "mediaworker"]
    for name in ai:
        made.commands[name] = [sys.executable, "-m", "aiworker", _role(name)]
    if jobs:
        made.commands["jobs-0"] = [sys.executable, "-m", "jobs"]
    with made._stack:
        made._start_redis()
        for name in made.commands:
            made.start(name)
        if wait:
            made.wait_ready()
        yield made
