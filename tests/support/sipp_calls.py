"""SIPp as a calling and as a called party, with scenarios of the test."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import free_port, running


def missing() -> str:
    return "" if shutil.which("sipp") else "sipp not installed (apt-get install sip-tester)"


@dataclass(frozen=True)
class Outcome:
    """How a run of SIPp calls ended."""

    status: int
    replies: list[str]
    """Status lines that came back, in order."""

    @property
    def good(self) -> bool:
        return self.status == 0


def command(scenario: Path, port: int, folder: Path, name: str, *more: str) -> list[str]:
    return [
        "sipp", "-sf", str(scenario), "-i", "127.0.0.1", "-p", str(port), "-nostdin", "-trace_msg",
        "-message_file", str(folder / f"{name}.msg"), "-message_overwrite", "true", *more,
    ]  # fmt: skip


def call(
    scenario: Path,
    to_port: int,
    rows: Sequence[str],
    folder: Path,
    *,
    per_s: int = 20,
    hold_ms: int = 100,
    name: str = "caller",
) -> Outcome:
    """One call per row (`;`-separated fields of the scenario); waits for all to end."""
    (folder / f"{name}.csv").write_text("SEQUENTIAL\n" + "".join(f"{row}\n" for row in rows))
    more = [
        "-inf",
        str(folder / f"{name}.csv"),
        f"127.0.0.1:{to_port}",
        "-m",
        str(len(rows)),
        "-r",
        str(per_s),
    ]
    words = command(
        scenario, free_port(socket.SOCK_DGRAM), folder, name, *more, "-d", str(hold_ms), "-timeout", "30s"
    )
    done = subprocess.run(words, capture_output=True, timeout=40, check=False, cwd=folder)
    return Outcome(done.returncode, re.findall(r"(?m)^SIP/2\.0 (\d{3} [^\r\n]*)", messages(folder, name)))


@contextmanager
def called(scenario: Path, port: int, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """SIPp answering on a port until the block is left."""
    with running(command(scenario, port, folder, name), cwd=folder) as process:
        yield process


def messages(folder: Path, name: str) -> str:
    """Every message a SIPp saw or sent, as text."""
    path = folder / f"{name}.msg"
    return path.read_text(errors="replace") if path.exists() else ""


def received(folder: Path, name: str, method: str) -> list[str]:
    """Requests of a method that a SIPp received."""
    blocks = re.split(r"(?m)^-{10,}.*$", messages(folder, name))
    return [block for block in blocks if "received" in block and re.search(rf"(?m)^{method} sip:", block)]
