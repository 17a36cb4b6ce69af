"""Packets as tshark sees them: a capture on loopback of the test's own ports, and its RTP analysis."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import running, wait_until


def missing() -> str:
    """What a machine needs for this, or nothing."""
    if not shutil.which("tshark"):
        return "tshark not installed (apt-get install tshark)"
    probe = subprocess.run(["tshark", "-D"], capture_output=True, text=True, timeout=20, check=False)
    return "" if "lo" in probe.stdout else "no right to capture on loopback"


class RtpStream(NamedTuple):
    """One line of `tshark -z rtp,streams`; times in ms."""

    source_port: int
    target_port: int
    ssrc: str
    packets: int
    lost: int
    max_delta: float
    mean_jitter: float
    max_jitter: float
    problems: str


@contextmanager
def capture(path: Path, port_filter: str) -> Iterator[Path]:
    """Captures UDP on loopback while the block runs; `port_filter` as in `portrange 20000-20800`."""
    log = path.with_suffix(".log")
    command = ["tshark", "-i", "lo", "-q", "-w", str(path), "-f", f"udp {port_filter}"]
    with running(command, log=log):
        wait_until(lambda: "Capturing on" in log.read_text() and path.exists(), 20, "tshark")
        yield path


_LINE = re.compile(
    r"^\s*[\d.]+\s+[\d.]+\s+\S+\s+(\d+)\s+\S+\s+(\d+)\s+(0x[0-9A-Fa-f]+)\s+(.+?)\s+(\d+)\s+(-?\d+)\s+\(.*?\)\s+"
    r"([-\d.]+)\s+([-\d.]+)\s+([-\d.]+)\s+([-\d.]+)\s+([-\d.]+)\s+([-\d.]+)\s*(.*)$"
)


def rtp_streams(path: Path) -> list[RtpStream]:
    """tshark's analysis of every RTP stream of a capture."""
    command = ["tshark", "-r", str(path), "-q", "-o", "rtp.heuristic_rtp:TRUE", "-z", "rtp,streams"]
    return streams_of(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


def streams_of(text: str) -> list[RtpStream]:
    """The table of `-z rtp,streams` in what tshark wrote."""
    found = [_LINE.match(line) for line in text.splitlines()]
    return [
        RtpStream(
            source_port=int(m[1]), target_port=int(m[2]), ssrc=m[3], packets=int(m[5]), lost=int(m[6]),
            max_delta=float(m[9]), mean_jitter=float(m[11]), max_jitter=float(m[12]), problems=m[13].strip(),
        )
        for m in found
        if m
    ]  # fmt: skip
