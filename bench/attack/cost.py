"""What a spray costs: the CPU of the media process, and the jitter that its other calls' listeners see.

`calls` echo calls (C callers, `bench/media/load.c`) on one engine; a process sprays one of their ports. `strict` legs allow one
address, so their sockets are connected and the kernel drops the spray; an `open` leg, one more, has a media network, and its
caller does not speak, so that its socket takes datagrams from anybody and the engine refuses them.
"""

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.media.under_load import compile_c, cpu_seconds

REPO = Path(__file__).resolve().parents[2]
BASE_PORT = 8_000
SOURCE_PORT = 9_000


@dataclass(frozen=True)
class Cost:
    name: str
    cpu_share: float
    """Of one core."""
    jitter_p99_ms: float
    returned: float
    victim: int
    """Packets that the engine took from the sprayed leg's caller, or the first one's."""
    refused: int


def measure(name: str, load: Path, calls: int, seconds: float, rate: float, *, is_open: bool) -> Cost:
    arguments = [str(BASE_PORT), str(calls), str(SOURCE_PORT), *(["open"] if is_open else [])]
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.attack.sprayed", *arguments],
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
    )
    spray = None
    try:
        if server.stdout is None or server.stdout.readline().strip() != "READY":
            raise SystemExit("the engine did not start")
        if rate:
            spray = _spray(BASE_PORT - 2 if is_open else BASE_PORT, rate, seconds + 2)
        before = cpu_seconds(server.pid)
        command = [str(load), str(BASE_PORT), "2", str(calls), str(seconds), str(SOURCE_PORT)]
        said: dict[str, Any] = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        used = cpu_seconds(server.pid) - before
    finally:
        server.send_signal(signal.SIGTERM)
        told = json.loads(server.communicate(timeout=20)[0])
        if spray:
            spray.communicate(timeout=20)
    return Cost(
        name,
        used / seconds,
        said["jitter_p99_ms"],
        said["received"] / said["sent"],
        told["victim"],
        told["refused"],
    )


def _spray(port: int, rate: float, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.attack.spray", str(port), str(rate), str(seconds)]
    spray = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True)
    if spray.stdout is None or spray.stdout.readline().strip() != "READY":
        raise SystemExit("the spray did not start")
    return spray


def costs(calls: int, seconds: float, rate: float) -> list[Cost]:
    with tempfile.TemporaryDirectory() as folder:
        load = compile_c("load", Path(folder))
        return [
            measure("no spray", load, calls, seconds, 0, is_open=False),
            measure("a leg with one allowed address", load, calls, seconds, rate, is_open=False),
            measure("a leg open to a media network", load, calls, seconds, rate, is_open=True),
        ]
