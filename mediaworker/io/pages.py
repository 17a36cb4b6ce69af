"""What the media process tells its exporter every second, and how the exporter makes metrics of it.

Plain data over a pipe: the media process never renders a page (FACTS section 10). Per-call series exist only for the
calls of the newest snapshot, so they are gone with the call.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from shared.metrics import CALL_FAMILIES

STALE_S = 2.0
"""A worker whose snapshot is older than this stands still."""


class SampleRow(msgspec.Struct, array_like=True):
    """One sample of a family."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: tuple[dict[str, str], float] | None = None


class FamilyRow(msgspec.Struct, array_like=True):
    """One metric family as its registry collected it."""

    name: str
    kind: str
    help: str
    samples: list[SampleRow]


class CallRow(msgspec.Struct, array_like=True):
    """One live call; -1 where a figure is not known."""

    call_id: str
    tenant: str
    room: str
    codec: str
    app: str
    packets_in: int
    packets_out: int
    jitter_in_s: float
    jitter_out_s: float
    loss_in: float
    loss_out: float
    rtt_s: float
    mos_in: float
    mos_out: float
    voice_to_voice_s: float
    discard_in: float = -1.0
    burst_ratio: float = -1.0
    buffer_s: float = -1.0
    one_way_in: float = 0.0
    """1 while nothing is heard in this direction."""
    one_way_out: float = 0.0


class Snapshot(msgspec.Struct):
    """One second of a media worker."""

    tick_age_s: float
    """How long ago the last tick ended when this was made."""
    not_ready: str
    families: list[FamilyRow]
    calls: list[CallRow]


def families_of(registry: CollectorRegistry) -> list[FamilyRow]:
    """Everything a registry has, as plain data."""
    return [
        FamilyRow(metric.name, metric.type, metric.documentation, [_row(sample) for sample in metric.samples])
        for metric in registry.collect()
    ]


def _row(sample: Any) -> SampleRow:
    exemplar = (dict(sample.exemplar.labels), float(sample.exemplar.value)) if sample.exemplar else None
    return SampleRow(sample.name, dict(sample.labels), float(sample.value), exemplar)


class Latest:
    """The newest snapshot in the exporter, and how old it is."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._snapshot: Snapshot | None = None
        self._at = now_s()

    def take(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._at = self._now_s()

    @property
    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def unhealthy(self) -> str:
        """Empty, or what is wrong: the media process or its tick stands still."""
        age = self._now_s() - self._at
        if self._snapshot is None:
            return "no snapshot yet"
        standing = age + self._snapshot.tick_age_s
        return f"the tick stands still for {standing:.1f} s" if standing > STALE_S else ""

    def not_ready(self) -> str:
        return self._snapshot.not_ready if self._snapshot else "no snapshot yet"


class AggregateCollector(Collector):
    """The families of the newest snapshot."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._latest.snapshot
        for family in snapshot.families if snapshot else []:
            metric = Metric(family.name, family.help, family.kind)
            for row in family.samples:
                exemplar = Exemplar(row.exemplar[0], row.exemplar[1]) if row.exemplar else None
                metric.add_sample(row.name, row.labels, row.value, None, exemplar)
            yield metric


class CallsCollector(Collector):
    """One series set per live call."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._latest.snapshot
        if snapshot is None:
            return
        metrics = {family.name: Metric(family.name, family.help, family.kind) for family in CALL_FAMILIES}
        for call in snapshot.calls:
            for name, labels, value in call_samples(call):
                suffix = "_total" if metrics[name].type == "counter" else ""
                metrics[name].add_sample(name + suffix, labels, value)
        yield from metrics.values()


def call_samples(call: CallRow) -> Iterator[tuple[str, dict[str, str], float]]:
    """The samples of one call; figures that are not known are left out."""
    info = {
        "call_id": call.call_id,
        "tenant": call.tenant,
        "room": call.room,
        "codec": call.codec,
        "app": call.app,
    }
    yield "voicefarm_call_info", info, 1.0
    per_direction = (
        ("voicefarm_call_jitter_seconds", call.jitter_in_s, call.jitter_out_s),
        ("voicefarm_call_loss_ratio", call.loss_in, call.loss_out),
        ("voicefarm_call_mos", call.mos_in, call.mos_out),
        ("voicefarm_call_rtp_packets", float(call.packets_in), float(call.packets_out)),
        ("voicefarm_call_one_way", call.one_way_in, call.one_way_out),
    )
    for name, inward, outward in per_direction:
        for direction, value in (("in", inward), ("out", outward)):
            if value >= 0:
                yield name, {"call_id": call.call_id, "direction": direction}, value
    for name, value in (
        ("voicefarm_call_rtt_seconds", call.rtt_s),
        ("voicefarm_call_voice_to_voice_seconds", call.voice_to_voice_s),
        ("voicefarm_call_discard_ratio", call.discard_in),
        ("voicefarm_call_burst_ratio", call.burst_ratio),
        ("voicefarm_call_jitter_buffer_seconds", call.buffer_s),
    ):
        if value >= 0:
            yield name, {"call_id": call.call_id}, value
