"""One server process under the load of `load.c`: what it cost, what came back, and how evenly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASE_PORT = 10_000
SOURCE_PORT = 10_000
"""Below the usual ephemeral range. Callers have an address of their own, 127.0.0.2."""
WARM_S = 2.0
"""Of the load before the processor time counts: sources are pinned, rings filled."""
PRIORITY = [] if os.geteuid() else ["chrt", "--fifo", "10"] if shutil.which("chrt") else ["nice", "-n", "-15"]
"""Before all programs alike, where it is allowed: neighbours on the machine then disturb the figures less."""
COPES = 0.95
"""Share of packets that must come back from a server that copes."""


def core(number: int) -> list[str]:
    """Server and load each on a processor of their own, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        return []
    return ["taskset", "-c", str(cores[number % len(cores)])]


@dataclass
class Server:
    """`step`: between RTP ports. `speaks`: it ends with a line of JSON."""

    name: str
    command: list[str]
    takes_source: bool = True
    speaks: bool = False


@dataclass
class Sample:
    cpu_ms: float
    """Per call-second answered, so that a server that does not cope is not flattered."""
    returned: float
    """Share of the packets that came back."""
    load: dict[str, Any]
    said: dict[str, Any] = field(default_factory=dict)


def compile_c(name: str, folder: Path) -> Path:
    """Builds one of the C programs with the system's compiler."""
    target = folder / name
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-o", str(target), str(HERE / f"{name}.c"), "-lm"], check=True
    )
    return target


def cpu_seconds(pid: int) -> float:
    """Processor time of another process to the ns: its CPU clock (clock_getcpuclockid(3)). The ticks of /proc/PID/stat
    are too coarse for 100 calls."""
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e9


def servers(folder: Path) -> dict[str, Server]:
    python = [sys.executable, "-m"]
    every = [
        Server("C echo", [str(compile_c("echo", folder))], takes_source=False),
        Server("engine", [*python, "bench.media.engine_legs"], speaks=True),
        Server("aiortp echo", [*python, "bench.media.aiortp_echo"]),
        Server("aiortp call", [*python, "bench.media.aiortp_call"]),
    ]
    return {server.name: server for server in every}


def measure(
    server: Server,
    load: Path,
    count: int,
    seconds: float,
    *,
    keys: Sequence[str] = (),
    network: Sequence[str] = (),
) -> Sample:
    """`keys` go to the server, `network` to the load."""
    arguments = [str(BASE_PORT), "2", str(count), *([str(SOURCE_PORT)] if server.takes_source else []), *keys]
    process = subprocess.Popen(
        [*PRIORITY, *core(0), *server.command, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        if process.stdout is None or process.stdout.readline().strip() != "READY":
            raise SystemExit(f"{server.name} did not start")
        command = [
            *PRIORITY, *core(1), str(load), str(BASE_PORT), "2", str(count), str(seconds + WARM_S + 0.2), str(SOURCE_PORT),
            *network,
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as caller:
            time.sleep(WARM_S)
            before, begun = cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            used, took = cpu_seconds(process.pid) - before, time.monotonic() - begun
            figures = json.loads(caller.communicate()[0])
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=30)[0]
    returned = figures["received"] / max(1, figures["sent"])
    said = json.loads(rest.strip().splitlines()[-1]) if server.speaks else {}
    cpu_ms = used * 1_000 / (count * took * min(1.0, returned)) if returned else float("nan")
    return Sample(cpu_ms, returned, figures, said)
