"""`python -m bench.media [--counts 100,500,1000,2000] [--seconds 3] [--rounds 2] [--out docs/bench-media.md]`

Continuous G.711 echo calls, 20 ms packets: CPU-ms per call-second of a minimal C epoll echo, of our engine and of aiortp
sessions, measured side by side in one run. Only the serving process's CPU time counts, read from its CPU clock around the load. A
machine that others use drifts: trust the ratios, which are of neighbours in time (median of the rounds). A server that
answers fewer than 95 % of the packets does not cope; its figure is per call-second that it did answer.
"""

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
BASE_PORT = 10_000
SOURCE_PORT = 14_000
"""Both below the usual ephemeral range."""
PACKET_S = 0.02
PRIORITY = ["nice", "-n", "-15"] if os.geteuid() == 0 else []
"""Before all programs alike, where it is allowed, as the media worker asks for it too: neighbours on the machine then
disturb the figures less."""
COPES = 0.95
"""Share of packets that must come back from a server that copes; what sits in a playout buffer at the end may be missing."""


class Sample(NamedTuple):
    cpu_ms: float
    """Per call-second answered, so that a server that does not cope is not flattered."""
    returned: float
    """Share of the packets that came back."""
    late: int
    """Generator's own wake-ups more than 5 ms late: the machine's pauses."""


@dataclass
class Server:
    name: str
    command: list[str]


def compile_c(name: str, folder: Path) -> Path:
    """Builds one of the C programs with the system's compiler."""
    target = folder / name
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(target), str(HERE / f"{name}.c")], check=True)
    return target


def cpu_seconds(pid: int) -> float:
    """Processor time of another process to the ns: its CPU clock (clock_getcpuclockid(3)). The ticks of /proc/PID/stat
    are too coarse for 100 calls."""
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e9


def measure(server: Server, load: Path, count: int, seconds: float) -> Sample:
    """One server under `count` streams."""
    arguments = [str(BASE_PORT), "2", str(count), str(SOURCE_PORT)]
    if server.name == "C echo":
        arguments.pop()
    process = subprocess.Popen(
        [*PRIORITY, *server.command, *arguments], stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1]
    )
    try:
        if process.stdout is None or process.stdout.readline().strip() != "READY":
            raise SystemExit(f"{server.name} did not start")
        before = cpu_seconds(process.pid)
        command = [*PRIORITY, str(load), str(BASE_PORT), "2", str(count), str(seconds), str(SOURCE_PORT)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = cpu_seconds(process.pid) - before
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    sent, received, late = (int(word) for word in said.split())
    answered_s = min(sent, received) * PACKET_S
    return Sample(used * 1_000 / answered_s if answered_s else float("nan"), received / sent, late)


def servers(folder: Path) -> list[Server]:
    python = [sys.executable, "-m"]
    return [
        Server("C echo", [str(compile_c("echo", folder))]),
        Server("engine", [*python, "bench.media.engine_echo"]),
        Server("aiortp", [*python, "bench.media.aiortp_echo"]),
    ]


def run(counts: Sequence[int], seconds: float, rounds: int) -> list[str]:
    """The rows of the table."""
    lines = [
        "| calls | C echo, CPU-ms per call-second | engine | x C | aiortp | x C | packets back (C, engine, aiortp) | late wakes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = compile_c("load", folder)
        every = servers(folder)
        for count in counts:
            taken: dict[str, list[Sample]] = {server.name: [] for server in every}
            for _ in range(rounds):
                for server in every:
                    taken[server.name].append(measure(server, load, count, seconds))
            lines.append(row(count, taken))
            print(lines[-1], flush=True)
    return lines


def row(count: int, taken: dict[str, list[Sample]]) -> str:
    cells = [str(count)]
    yardstick = [sample.cpu_ms for sample in taken["C echo"]]
    for name in ("C echo", "engine", "aiortp"):
        samples = taken[name]
        copes = min(sample.returned for sample in samples) >= COPES
        cells.append(
            f"{statistics.median(sample.cpu_ms for sample in samples):.3f}"
            + ("" if copes else " (does not cope)")
        )
        if name != "C echo":
            ratios = [sample.cpu_ms / c for sample, c in zip(samples, yardstick, strict=True)]
            cells.append(f"**{statistics.median(ratios):.2f}**")
    back = ", ".join(f"{min(sample.returned for sample in samples):.3f}" for samples in taken.values())
    late = sum(sample.late for samples in taken.values() for sample in samples)
    return "| " + " | ".join([*cells, back, str(late)]) + " |"


def page(lines: list[str], words: Sequence[str]) -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "?",
    )
    head = (__doc__ or "").partition("\n\n")[2].strip()
    return "\n".join([
        "# Media engine against a C echo", "", head, "",
        (f"Machine: {os.cpu_count()} x {cpu}, Linux {os.uname().release}, Python {sys.version.split()[0]}. "
        f"Run: `python -m bench.media {' '.join(words)}`."), "", *lines, "",
        ("The engine does what the C echo leaves out: source pinning, RFC 3550 statistics on kernel arrival times, jitter ring, "
        "concealment, decoding, encoding, a stream of its own clock, RTCP. Its rows are packets answered on the 20 ms "
        "schedule; the share that came back is over 1 where it sends before the first and after the last packet."), "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.media")
    parser.add_argument("--counts", default="100,500,1000,2000")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    words = sys.argv[1:]
    options = parser.parse_args(words)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16_384)), hard))
    lines = run([int(word) for word in options.counts.split(",")], options.seconds, options.rounds)
    text = page(lines, words)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
