"""Figures of the media bench as a page and a picture."""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.media.under_load import COPES, Sample

Taken = Mapping[int, Mapping[str, Sequence[Sample]]]
"""By number of calls and server, one sample per round."""

_COLOURS = {"C echo": "#8c96a3", "engine": "#1f77b4", "aiortp echo": "#e08a3c", "aiortp call": "#c0504d"}


def median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.cpu_ms for sample in samples)


def times(samples: Sequence[Sample], yardstick: Sequence[Sample]) -> float:
    """Median over the rounds of the ratio to the neighbour in time."""
    return statistics.median(a.cpu_ms / b.cpu_ms for a, b in zip(samples, yardstick, strict=True))


def copes(samples: Sequence[Sample]) -> bool:
    return min(sample.returned for sample in samples) >= COPES


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def bars(taken: Taken) -> str:
    """CPU-ms per call-second as an SVG: a group per number of calls, a bar per server."""
    names = list(next(iter(taken.values())))
    highest = max(median(samples) for group in taken.values() for samples in group.values())
    width, height, left, floor = 150 * len(taken) + 90, 300, 60, 240
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18" font-size="13">CPU-ms per call-second, G.711 echo</text>',
    ]
    for step in range(5):
        value = highest * step / 4
        y = floor - 200 * step / 4
        parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.0f}" y2="{y:.0f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{value:.2f}</text>')
    for number, (count, group) in enumerate(taken.items()):
        x = left + 12 + 150 * number
        for place, (name, samples) in enumerate(group.items()):
            value = median(samples)
            tall = 200 * value / highest
            fade = "" if copes(samples) else ' fill-opacity="0.45"'
            parts.append(
                f'<rect x="{x + 32 * place}" y="{floor - tall:.1f}" width="26" height="{tall:.1f}" fill="{_COLOURS[name]}"{fade}/>'
            )
            parts.append(
                f'<text x="{x + 32 * place + 13}" y="{floor - tall - 4:.0f}" text-anchor="middle" font-size="9">{value:.2f}</text>'
            )
        parts.append(f'<text x="{x + 60}" y="{floor + 16}" text-anchor="middle">{count} calls</text>')
    for place, name in enumerate(names):
        x = left + 110 * place
        parts.append(f'<rect x="{x}" y="272" width="10" height="10" fill="{_COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 14}" y="281">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def page(head: str, parts: Sequence[str], words: Sequence[str], seconds: float, load: float) -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "?",
    )
    return "\n".join([
        "# Media engine against a C echo", "", head, "",
        (f"Machine: {os.cpu_count()} x {cpu}, Linux {os.uname().release}, Python {sys.version.split()[0]}; load average at the "
        f"end {load:.1f} (the two busy programs are 2 of it). Run: `python -m bench.media {' '.join(words)}`, {seconds:.0f} s."),
        "", *parts,
    ])  # fmt: skip
