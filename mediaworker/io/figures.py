"""Turns what the tick thread counted into the metrics of the media role, and into a snapshot for the exporter.

It lives in the bus thread. The engine counts since it was made, Prometheus counters only go up: the difference to the
last snapshot is added. Per-call rows are taken worst first and only as many as are allowed (FACTS section 10).
"""

from collections.abc import Mapping

import numpy as np

from mediaworker.core.calls.effects import Count, Holding, Observe
from mediaworker.core.legs import OneWay
from mediaworker.core.snapshot import Snapshot as EngineSnapshot
from mediaworker.io.pages import CallRow, FamilyRow, SampleRow, Snapshot, families_of
from shared.metrics import Metrics

_TOTALS = (
    ("packets_in", "voicefarm_rtp_packets", ("in",)),
    ("packets_out", "voicefarm_rtp_packets", ("out",)),
    ("lost_in", "voicefarm_rtp_lost", ("in",)),
    ("lost_out", "voicefarm_rtp_lost", ("out",)),
    ("concealed", "voicefarm_rtp_concealed", ()),
    ("reordered", "voicefarm_rtp_reordered", ()),
    ("send_errors", "voicefarm_rtp_send_errors", ()),
)

_HISTOGRAMS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("jitter_in", "voicefarm_rtp_jitter_seconds", {"direction": "in"}),
    ("jitter_out", "voicefarm_rtp_jitter_seconds", {"direction": "out"}),
    ("loss_in", "voicefarm_rtp_loss_ratio", {"direction": "in"}),
    ("loss_out", "voicefarm_rtp_loss_ratio", {"direction": "out"}),
    ("discard_in", "voicefarm_rtp_discard_ratio", {}),
    ("mos_in", "voicefarm_rtp_mos", {"direction": "in"}),
    ("mos_out", "voicefarm_rtp_mos", {"direction": "out"}),
    ("rtt", "voicefarm_rtp_rtt_seconds", {}),
    ("tick", "voicefarm_tick_seconds", {}),
)
_UNHEARD = int(OneWay.NO_PACKETS | OneWay.SILENCE)
_UNHEARING = int(OneWay.NOT_RECEIVED)


TENANTS_MAX = 100
OTHER_TENANTS = "(others)"


class TickFigures:
    """What the tick thread hands over once a second."""

    __slots__ = ("dropped_frames", "engine", "overruns")

    def __init__(self, engine: EngineSnapshot, overruns: int, dropped_frames: int) -> None:
        self.engine = engine
        self.overruns = overruns
        self.dropped_frames = dropped_frames


class Figures:
    """The media role's metrics."""

    def __init__(self, metrics: Metrics, call_series_max: int) -> None:
        self._metrics = metrics
        self._series_max = call_series_max
        self._before: dict[tuple[str, tuple[str, ...]], int] = {}
        self._voice_to_voice: dict[str, float] = {}
        self._latest: TickFigures | None = None
        self._tenants: set[str] = set()

    def observe(self, effect: Observe | Count) -> None:
        """One value that a call saw."""
        if isinstance(effect, Count):
            self._metrics.counter(effect.metric, *effect.labels).inc(effect.amount)
            return
        labels = effect.labels
        if effect.metric == "voicefarm_turn_voice_to_voice_seconds":
            self._voice_to_voice[effect.call_id] = effect.value
            labels = tuple(self._tenant(tenant) for tenant in labels)
        self._metrics.histogram(effect.metric, *labels).observe(effect.value, {"call_id": effect.call_id})

    def take(self, figures: TickFigures) -> None:
        """The newest figures of the tick thread."""
        self._latest = figures
        totals = figures.engine.totals
        for name, metric, labels in _TOTALS:
            self._raise(metric, labels, totals.get(name, 0))
        for reason, count in figures.engine.rejected.items():
            self._raise("voicefarm_rtp_rejected", (reason,), count)
        for (direction, cause), count in figures.engine.one_way_begun.items():
            self._raise("voicefarm_rtp_one_way_begun", (direction, cause), count)
        for (direction, kind), count in figures.engine.rtcp.items():
            self._raise("voicefarm_rtcp_packets", (direction, kind), count)
        for direction, flags in (("in", _UNHEARD), ("out", _UNHEARING)):
            one_way = np.count_nonzero(figures.engine.one_way & flags)
            self._metrics.gauge("voicefarm_rtp_one_way", direction).set(int(one_way))
        self._raise("voicefarm_tick_overruns", (), figures.overruns)
        self._raise("voicefarm_recording_dropped_frames", (), figures.dropped_frames)

    def ports(self, counts: Mapping[str, int]) -> None:
        for state, count in counts.items():
            self._metrics.gauge("voicefarm_rtp_ports", state).set(count)

    def rings(self, dropped: int, control_dropped: int) -> None:
        """Entries given up between the tick and the bus thread since the start; the shell counts its outboxes."""
        self._raise("voicefarm_bus_dropped", ("live",), dropped)
        self._raise("voicefarm_bus_dropped", ("refused",), control_dropped)

    def snapshot(self, not_ready: str, calls: Mapping[int, Holding], tick_age_s: float) -> Snapshot:
        """For the exporter. `calls` are the live ones by engine row, `tick_age_s` since the last tick ended."""
        latest = self._latest
        families = families_of(self._metrics.registry)
        if latest:
            _fill_histograms(families, latest.engine)
        live = {held.call_id for held in calls.values()}
        self._voice_to_voice = {c: value for c, value in self._voice_to_voice.items() if c in live}
        return Snapshot(tick_age_s, not_ready, families, self._rows(latest.engine, calls) if latest else [])

    def _raise(self, metric: str, labels: tuple[str, ...], count: int) -> None:
        grown = count - self._before.get((metric, labels), 0)
        if grown > 0:
            self._metrics.counter(metric, *labels).inc(grown)
            self._before[metric, labels] = count

    def _tenant(self, tenant: str) -> str:
        """Tenants are named by a header of the caller's side: only so many get series of their own (I6)."""
        if len(self._tenants) < TENANTS_MAX:
            self._tenants.add(tenant)
        return tenant if tenant in self._tenants else OTHER_TENANTS

    def _rows(self, engine: EngineSnapshot, calls: Mapping[int, Holding]) -> list[CallRow]:
        rows: list[CallRow] = []
        for at in _worst_first(engine):
            held = calls.get(int(engine.rows[at]))
            if held:
                rows.append(_row(engine, at, held, self._voice_to_voice.get(held.call_id, -1.0)))
            if len(rows) == self._series_max:
                break
        return rows


def _worst_first(engine: EngineSnapshot) -> list[int]:
    """One-way calls, then by the lower MOS of both directions, then by jitter. A call without a score is taken for good."""
    in_, out = (np.where(mos < 1, 5.0, mos) for mos in (engine.mos_in, engine.mos_out))
    order: list[int] = np.lexsort((-engine.jitter_in_ms, np.minimum(in_, out), engine.one_way == 0)).tolist()
    return order


def _row(engine: EngineSnapshot, at: int, held: Holding, voice_to_voice_s: float) -> CallRow:
    jitter_out, rtt = float(engine.jitter_out_ms[at]), float(engine.rtt_ms[at])
    one_way = int(engine.one_way[at])
    return CallRow(
        call_id=held.call_id, tenant=held.tenant, room=held.room_id, codec=held.codec, app=held.app,
        packets_in=int(engine.packets_in[at]), packets_out=int(engine.packets_out[at]),
        jitter_in_s=float(engine.jitter_in_ms[at]) / 1_000, jitter_out_s=jitter_out / 1_000 if jitter_out >= 0 else -1.0,
        loss_in=float(engine.loss_in[at]), loss_out=float(engine.loss_out[at]), rtt_s=rtt / 1_000 if rtt >= 0 else -1.0,
        mos_in=float(engine.mos_in[at]), mos_out=float(engine.mos_out[at]), voice_to_voice_s=voice_to_voice_s,
        discard_in=float(engine.discard_in[at]), burst_ratio=float(engine.burst_ratio[at]),
        buffer_s=float(engine.buffer_ms[at]) / 1_000,
        one_way_in=float(bool(one_way & _UNHEARD)), one_way_out=float(bool(one_way & _UNHEARING)),
    )  # fmt: skip


def _fill_histograms(families: list[FamilyRow], engine: EngineSnapshot) -> None:
    """The engine keeps some histograms itself, in the buckets of shared/metrics.py; their samples are made here."""
    by_name = {family.name: family for family in families}
    for name in {name for _, name, _ in _HISTOGRAMS}:
        by_name[name].samples = []
    for key, name, labels in _HISTOGRAMS:
        if key in engine.histograms:
            bounds, counts, total = engine.histograms[key]
            by_name[name].samples += histogram_samples(name, labels, bounds, counts, total)


def histogram_samples(
    name: str, labels: dict[str, str], bounds: tuple[float, ...], counts: list[int], total: float
) -> list[SampleRow]:
    """Samples of a histogram from counts per bucket, the last one without bound."""
    rows: list[SampleRow] = []
    running = 0
    for bound, count in zip((*map(str, map(float, bounds)), "+Inf"), counts, strict=True):
        running += count
        rows.append(SampleRow(f"{name}_bucket", labels | {"le": bound}, float(running)))
    rows.append(SampleRow(f"{name}_count", labels, float(running)))
    rows.append(SampleRow(f"{name}_sum", labels, total))
    return rows
