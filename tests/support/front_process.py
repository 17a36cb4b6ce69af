"""A real front process for tests: `python -m sipfront` on free ports against a given Redis."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.config import Config, load
from tests.support.processes import free_port, running, wait_until


@dataclass
class RunningFront:
    """A front that answers."""

    process: subprocess.Popen[bytes]
    sip_port: int
    http_port: int
    log: Path
    config: Config

    def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The value of a series of /metrics, 0 when it is not there."""
        match = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(match[1]) if match else 0.0

    def calls(self) -> list[dict[str, object]]:
        return json.loads(self.get("/calls")[1])["calls"]  # type: ignore[no-any-return]


def front_config(redis_url: str, **settings: object) -> tuple[Config, dict[str, str]]:
    """A configuration and the environment that gives it to a process."""
    env = {
        "VOICEFARM_REDIS_URL": redis_url, "VOICEFARM_SIP__HOST": "127.0.0.1",
        "VOICEFARM_SIP__PORT": str(free_port(socket.SOCK_DGRAM)), "VOICEFARM_OPS__HTTP_PORT": str(free_port()),
    }  # fmt: skip
    env |= {f"VOICEFARM_{key.upper()}": json.dumps(value) for key, value in settings.items()}
    return load(environ=env), env


@contextmanager
def front_process(redis_url: str, tmp_path: Path, **settings: object) -> Iterator[RunningFront]:
    """`settings` as `sip__retry_after_s=7`."""
    config, env = front_config(redis_url, **settings)
    log = tmp_path / "front.log"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VOICEFARM_")}
    with running([sys.executable, "-m", "sipfront"], env={**clean, **env}, log=log) as process:
        front = RunningFront(process, config.sip.port, config.ops.http_port, log, config)
        wait_until(lambda: b'"event": "ready"' in log.read_bytes(), what=f"front: {log}")
        yield front
