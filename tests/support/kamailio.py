"""The real Kamailio with the configuration of deploy/kamailio, on free ports and in a folder of the test.

    with kamailio(tmp_path, fronts=[5070, 5072]) as edge:
        ...   # call sip:room@127.0.0.1:{edge.sip_port}

The files of the deployment are used as they are; only the environment and the two lists differ.
"""

import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import REPO, free_port, running, wait_until

CONFIG = REPO / "deploy" / "kamailio" / "kamailio.cfg"
LOCAL_TENANT = ("1 127.0.0.1 32 0 acme",)
"""Callers on loopback are the tenant acme. Group 2 instead of 1: a proxy whose X-Room-ID is believed."""


def missing() -> str:
    """What a machine needs for this, or nothing."""
    absent = [
        name
        for name in ("kamailio", "kamcmd")
        if not shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin")
    ]
    return f"{', '.join(absent)} not installed (apt-get install kamailio)" if absent else ""


@dataclass(frozen=True)
class Edge:
    """A running Kamailio."""

    sip_port: int
    http_port: int
    folder: Path

    def command(self, *words: str) -> str:
        """Output of kamcmd."""
        done = subprocess.run(
            ["/usr/sbin/kamcmd", "-s", f"unix:{self.folder}/ctl", *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout

    def drain(self, *, on: bool) -> None:
        self.command("htable.seti", "edge", "drain", str(int(on)))

    def states(self) -> dict[int, str]:
        """Port of each front -> its flags: AP is in use, IP is out of use, TP is on trial."""
        found: dict[int, str] = {}
        port = 0
        for line in self.command("dispatcher.list").splitlines():
            name, _, value = line.strip().partition(":")
            if name == "URI":
                port = int(value.rpartition(":")[2].partition(";")[0])
            elif name == "FLAGS":
                found[port] = value.strip()
        return found

    def set_fronts(self, ports: Sequence[int]) -> None:
        (self.folder / "dispatcher.list").write_text(_fronts(ports))
        self.command("dispatcher.reload")

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of an HTTP page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series; 0 when it is not there."""
        for line in self.page("/metrics")[1].splitlines():
            series, found, rest = line.partition("} ")
            if not found:
                series, _, rest = line.partition(" ")
            if series.partition("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                return float(rest.split()[0])
        return 0.0

    def log(self) -> str:
        return (self.folder / "kamailio.log").read_text(errors="replace")


@contextmanager
def kamailio(
    folder: Path,
    fronts: Sequence[int],
    *,
    sources: Sequence[str] = LOCAL_TENANT,
    env: dict[str, str] | None = None,
) -> Iterator[Edge]:
    """Runs Kamailio in front of SIP fronts on loopback ports. Pings every second; a silent front is dead after 0.5 s."""
    home = folder / "edge"
    home.mkdir()
    (home / "dispatcher.list").write_text(_fronts(fronts))
    (home / "sources.list").write_text("\n".join(sources) + "\n")
    edge = Edge(free_port(socket.SOCK_DGRAM), free_port(), home)
    settings = {
        "KAM_LISTEN": f"127.0.0.1:{edge.sip_port}",
        "KAM_ADVERTISE": f"127.0.0.1:{edge.sip_port}",
        "KAM_HTTP": f"127.0.0.1:{edge.http_port}",
        "KAM_DISPATCHER": str(home / "dispatcher.list"),
        "KAM_SOURCES": str(home / "sources.list"),
        "KAM_CTL": f"unix:{home}/ctl",
        "KAM_PING_S": "1",
        "KAM_FR_MS": "500",
        **(env or {}),
    }
    command = ["/usr/sbin/kamailio", "-f", str(CONFIG), "-DD", "-E", "-Y", str(home), "-P", str(home / "pid")]
    with running(command, env=settings, log=home / "kamailio.log", cwd=home) as process:
        wait_until(lambda: _up(edge, process), what=f"kamailio, see {home}/kamailio.log")
        yield edge


def _up(edge: Edge, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"kamailio ended:\n{edge.log()[-2000:]}")
    try:
        return edge.page("/healthz")[0] == 200
    except (OSError, subprocess.CalledProcessError):
        return False


def _fronts(ports: Sequence[int]) -> str:
    return "".join(
        f"1 sip:127.0.0.1:{port};transport=udp 0 0 duid=front-{i}\n" for i, port in enumerate(ports)
    )
