"""What the engine is put under, beside the C echo: many calls, other codecs, rooms, bad networks."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.media.tables import Taken, copes, median, table, times
from bench.media.under_load import Sample, Server, measure
from mediaworker.core import codecs as codecs_of
from shared.contracts import MediaFormat

Servers = Mapping[str, Server]

NOTE = "Frames concealed are of the whole run: also those of the 0.2 s after the callers' last packet, 4 % of a short one."
OTHERS = 500
"""Calls of the scenarios that are not about their number."""


def echo(
    every: Servers, load: Path, seconds: float, rounds: int, counts: Sequence[int], sockets: str
) -> tuple[list[str], Taken]:
    taken: dict[int, dict[str, list[Sample]]] = {}
    able = dict(every)
    for count in sorted(counts):
        taken[count] = {name: [] for name in able}
        for _ in range(rounds):
            for name, server in able.items():
                keys = [f"sockets={sockets}"] if name == "engine" else []
                taken[count][name].append(measure(server, load, count, seconds, keys=keys))
        # A server that does not cope is not asked to bear more.
        able = {
            name: server
            for name, server in able.items()
            if name in {"C echo", "engine"} or copes(taken[count][name])
        }
        print(_echo_row(count, taken[count], list(every)), flush=True)
    others = [name for name in every if name != "C echo"]
    head = ["calls", "C echo, CPU-ms per call-second", *(part for name in others for part in (name, "x C"))]
    rows = [_echo_row(count, group, list(every)) for count, group in taken.items()]
    quality = table(
        ["calls", "engine: packets lost in / back", "jitter of what comes back, p50 / p99 / max, ms", "overruns of slots",
         "kB per leg", "late wake-ups of the load"],
        [_quality_row(count, group["engine"]) for count, group in taken.items()],
    )  # fmt: skip
    kind = next(iter(taken.values()))["engine"][-1].said["sockets"]
    lines = [
        "## Echo",
        "",
        "![CPU-ms per call-second](img/bench-media.svg)",
        "",
        *table(head, rows),
        *_growth(taken),
    ]
    return [*lines, f"Sockets: {kind}.", "", *quality], taken


def _echo_row(count: int, group: Mapping[str, Sequence[Sample]], names: Sequence[str]) -> list[str]:
    cells = [str(count)]
    for name in names:
        samples = group.get(name, [])
        if not samples:
            cells += ["-", "-"]
            continue
        cells.append(f"{median(samples):.3f}" + ("" if copes(samples) else " (does not cope)"))
        if name != "C echo":
            cells.append(f"**{times(samples, group['C echo']):.2f}**")
    return cells


def _growth(taken: Taken) -> list[str]:
    first, last = taken[min(taken)]["engine"], taken[max(taken)]["engine"]
    lines = []
    if len(taken) > 1:
        change = median(last) / median(first) - 1
        lines = [
            f"The engine's cost per call-second at {max(taken)} calls is {change:+.0%} of that at {min(taken)}.",
            "",
        ]
    for name in ("aiortp echo", "aiortp call"):
        able = [count for count, group in taken.items() if name in group and copes(group[name])]
        for count in able[-1:]:
            ratio = median(taken[count][name]) / median(taken[count]["engine"])
            lines += [
                f"At {count} calls, the most here that it copes with, {name} costs {ratio:.1f} x the engine.",
                "",
            ]
    return lines


def _quality_row(count: int, samples: Sequence[Sample]) -> list[str]:
    lost = sum(max(0, sample.load["sent"] - sample.said["packets_in"]) for sample in samples)
    back = sum(sample.load["gaps"] for sample in samples)
    jitter = [max(sample.load[f"jitter_{name}_ms"] for sample in samples) for name in ("p50", "p99", "max")]
    slots, over = (sum(sample.said[name] for sample in samples) for name in ("slots", "overruns"))
    return [
        str(count), f"{lost} / {back}", " / ".join(f"{value:.2f}" for value in jitter), f"{over} of {slots}",
        f"{max(sample.said['leg_kb'] for sample in samples):.0f}", str(sum(sample.load["late"] for sample in samples)),
    ]  # fmt: skip


def _against_c(
    title: str,
    every: Servers,
    load: Path,
    seconds: float,
    rounds: int,
    cases: Sequence[tuple[str, int, list[str], list[str]]],
) -> list[str]:
    """Cases: name, calls, keys of the engine, words for the load."""
    rows = []
    for name, count, keys, network in cases:
        yardstick, ours = [], []
        for _ in range(rounds):
            yardstick.append(measure(every["C echo"], load, count, seconds))
            ours.append(measure(every["engine"], load, count, seconds, keys=keys, network=network))
        said, came = ours[-1].said, ours[-1].load
        rows.append([
            name, str(count), f"{median(ours):.3f}", f"**{times(ours, yardstick):.2f}**",
            f"{100 * said['concealed'] / max(1, said['packets_out']):.2f} %", f"{came['jitter_p99_ms']:.2f}",
            f"{sum(s.said['overruns'] for s in ours)} of {sum(s.said['slots'] for s in ours)}",
        ])  # fmt: skip
        print(rows[-1], flush=True)
    head = [
        "",
        "calls",
        "CPU-ms per call-second",
        "x C echo",
        "frames concealed",
        "jitter back p99, ms",
        "overruns",
    ]
    return [f"## {title}", "", *table(head, rows), NOTE, ""]


def rooms(every: Servers, load: Path, seconds: float, rounds: int) -> list[str]:
    cases = [(f"rooms of {size}", OTHERS, [f"room={size}"], []) for size in (2, 10, 100)]
    return _against_c("Rooms", every, load, seconds, rounds, cases)


def impaired(every: Servers, load: Path, seconds: float, rounds: int) -> list[str]:
    networks = {
        "no impairment": [],
        "2.5 % lost, 20 ms jitter": ["loss=2.5", "jitter=20"],
        "10 % lost, 60 ms jitter, 5 % reordered": ["loss=10", "jitter=60", "reorder=5"],
        "held back 200 ms every 5 s": ["burst=200"],
    }
    cases = [(name, OTHERS, [], words) for name, words in networks.items()]
    return _against_c("Impaired networks", every, load, seconds, rounds, cases)


def codecs(every: Servers, load: Path, seconds: float, rounds: int, folder: Path) -> list[str]:
    cases = []
    for name, type_, rate, ticks, count, payloads in _codec_cases():
        file = folder / f"{name.replace('/', '-')}.payloads"
        file.write_bytes(b"".join(struct.pack("<H", len(data)) + data for data in payloads))
        keys = [f"codec={name}", f"type={type_}", f"rate={rate}"]
        network = [f"type={type_}", f"ticks={ticks}", f"rate={rate}", f"payloads={file}"]
        cases.append((f"{name}, {rate} Hz", count, keys, network))
    return _against_c("Codecs", every, load, seconds, rounds, cases)


def _speech(rate: int, packets: int) -> list[np.ndarray]:
    """Frames of 20 ms that keep a codec busy: noise shaped in syllables."""
    random = np.random.default_rng(7)
    size = rate // 50
    loud = 3_000 * np.abs(np.sin(np.arange(packets * size) / rate * 2 * np.pi * 4))
    noise = np.convolve(random.normal(0, 1, packets * size), np.ones(4) / 2, "same")
    return list((loud * noise).clip(-32_768, 32_767).astype(np.int16).reshape(packets, size))


def _codec_cases() -> list[tuple[str, int, int, int, int, list[bytes]]]:
    """Name, payload type, clock rate, its units in a packet, calls, payloads of 5 s."""
    random = np.random.default_rng(3)
    cases = [("PCMA", 8, 8_000, 160, OTHERS, [random.bytes(160) for _ in range(50)])]
    for name, type_, rate, count in (
        ("G722", 9, 8_000, 250), ("L16", 96, 16_000, 250), ("OPUS", 97, 48_000, 100),
    ):  # fmt: skip
        wanted = MediaFormat(codec=name, payload_type=type_, clock_rate_hz=rate)
        codec = codecs_of.find(wanted)
        assert codec is not None
        encoder = codec.encoder(wanted, codecs_of.COMPLEXITY)
        frames = _speech(16_000 if codec.wide else 8_000, 250)
        cases.append((name, type_, rate, codec.clock, count, [encoder.encode(frame) for frame in frames]))
    return cases
