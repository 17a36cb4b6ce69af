"""From the engine's counts to metrics and snapshots; and from snapshots to pages."""

import itertools

import numpy as np
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from mediaworker.core.calls.effects import Count, Holding, Observe
from mediaworker.core.engine import Engine
from mediaworker.core.legs import OneWay
from mediaworker.core.snapshot import Snapshot as EngineSnapshot
from mediaworker.io import pages
from mediaworker.io.figures import OTHER_TENANTS, TENANTS_MAX, Figures, TickFigures, histogram_samples
from mediaworker.io.pages import STALE_S, AggregateCollector, CallsCollector, Latest, Snapshot
from shared.config.model import OpsConfig
from shared.metrics import CALL_FAMILIES, TICK_BUCKETS, Metrics
from tests.support.processes import REPO

pytestmark = pytest.mark.unit


def holding(call_id: str, row: int) -> Holding:
    return Holding(
        row,
        call_id,
        "sip",
        "acme",
        "r",
        "s",
        "echo",
        "",
        "PCMU",
        "front.1",
        "",
        "",
        "answered",
        2,
        "",
        "",
        "",
    )


def engine_snapshot(*jitter_ms: float, totals: dict[str, int] | None = None) -> EngineSnapshot:
    """Rows 10, 11, ... with these jitters; nothing known of the other direction."""
    count = len(jitter_ms)
    unknown = np.full(count, -1.0)
    return EngineSnapshot(
        rows=np.arange(10, 10 + count), packets_in=np.full(count, 50), packets_out=np.full(count, 49),
        jitter_in_ms=np.array(jitter_ms), loss_in=np.zeros(count), jitter_out_ms=unknown, loss_out=unknown,
        rtt_ms=unknown, depth_frames=np.zeros(count, np.int64), totals=totals or {}, rejected={"ssrc": 3},
        buffer_ms=np.full(count, 40.0), burst_ratio=np.ones(count), discard_in=np.zeros(count), mos_in=unknown.copy(),
        mos_out=unknown.copy(), one_way=np.zeros(count, np.int64),
    )  # fmt: skip


def make(series_max: int = 10) -> tuple[Figures, Metrics]:
    metrics = Metrics("media")
    return Figures(metrics, series_max), metrics


def value(metrics: Metrics, sample: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(sample, labels)


def test_counters_rise_by_what_was_counted_since() -> None:
    figures, metrics = make()
    for total in (5, 5, 12, 11):
        figures.take(TickFigures(engine_snapshot(totals={"packets_in": total}), total, 2 * total))
    assert value(metrics, "voicefarm_rtp_packets_total", direction="in") == 12
    assert value(metrics, "voicefarm_rtp_rejected_total", reason="ssrc") == 3
    assert value(metrics, "voicefarm_tick_overruns_total") == 12
    assert value(metrics, "voicefarm_recording_dropped_frames_total") == 24


def test_what_calls_saw_is_observed_with_the_call_as_exemplar() -> None:
    figures, metrics = make()
    figures.observe(Count("voicefarm_reattached", ("stt",), 2))
    figures.observe(Observe("voicefarm_turn_voice_to_voice_seconds", ("acme",), 0.62, "c1"))
    assert value(metrics, "voicefarm_reattached_total", role="stt") == 2
    assert value(metrics, "voicefarm_turn_voice_to_voice_seconds_sum", tenant="acme") == 0.62
    latest = Latest()
    latest.take(figures.snapshot("", {}, 0))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AggregateCollector(latest))
    assert b'# {call_id="c1"} 0.62' in generate_openmetrics(registry)


def test_ports_and_given_up_entries_are_shown() -> None:
    figures, metrics = make()
    figures.ports({"free": 4, "used": 1, "quarantined": 2})
    figures.rings(3, 1)
    assert value(metrics, "voicefarm_rtp_ports", state="quarantined") == 2
    assert value(metrics, "voicefarm_bus_dropped_total", kind="live") == 3
    assert value(metrics, "voicefarm_bus_dropped_total", kind="refused") == 1


def test_the_worst_calls_come_first_and_only_so_many() -> None:
    figures, _ = make(series_max=2)
    figures.take(TickFigures(engine_snapshot(1.0, 9.0, 5.0), 0, 0))
    calls = {row: holding(f"c{row}", row) for row in (10, 11, 12)}
    assert [row.call_id for row in figures.snapshot("", calls, 0).calls] == ["c11", "c12"]


def test_a_one_way_call_is_worse_than_a_bad_one_and_a_bad_one_than_a_jittery_one() -> None:
    figures, metrics = make()
    engine = engine_snapshot(9.0, 1.0, 2.0, 3.0)
    engine.mos_out[1], engine.mos_in[2] = 2.0, 3.0
    engine.one_way[3] = int(OneWay.NO_PACKETS)
    engine.one_way_begun, engine.rtcp = {("in", "no_packets"): 4}, {("out", "xr"): 7}
    figures.take(TickFigures(engine, 0, 0))
    calls = figures.snapshot("", {row: holding(f"c{row}", row) for row in range(10, 14)}, 0).calls
    assert [row.call_id for row in calls] == ["c13", "c11", "c12", "c10"]
    assert [(row.one_way_in, row.one_way_out) for row in calls[:2]] == [(1, 0), (0, 0)]
    assert value(metrics, "voicefarm_rtp_one_way", direction="in") == 1
    assert value(metrics, "voicefarm_rtp_one_way", direction="out") == 0
    assert value(metrics, "voicefarm_rtp_one_way_begun_total", direction="in", cause="no_packets") == 4
    assert value(metrics, "voicefarm_rtcp_packets_total", direction="out", kind="xr") == 7


def test_a_row_without_a_call_has_no_series() -> None:
    figures, _ = make()
    figures.take(TickFigures(engine_snapshot(1.0, 9.0), 0, 0))
    assert [row.call_id for row in figures.snapshot("", {10: holding("c10", 10)}, 0).calls] == ["c10"]


def test_the_last_turn_of_a_call_is_shown_while_it_lives() -> None:
    figures, _ = make()
    figures.take(TickFigures(engine_snapshot(1.0), 0, 0))
    figures.observe(Observe("voicefarm_turn_voice_to_voice_seconds", ("acme",), 0.5, "c10"))
    assert figures.snapshot("", {10: holding("c10", 10)}, 0).calls[0].voice_to_voice_s == 0.5
    figures.snapshot("", {}, 0)
    assert figures.snapshot("", {10: holding("c10", 10)}, 0).calls[0].voice_to_voice_s == -1


def test_a_snapshot_of_a_real_engine_renders_and_parses() -> None:
    figures, _ = make()
    engine = Engine(4, seed=1)
    engine.note_tick(3_000_000)
    figures.take(TickFigures(engine.snapshot(), 0, 0))
    latest = Latest()
    latest.take(figures.snapshot("", {}, 0))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AggregateCollector(latest))
    families = {
        family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    samples = {(s.name, s.labels.get("le")): s.value for s in families["voicefarm_tick_seconds"].samples}
    assert samples["voicefarm_tick_seconds_count", None] == 1
    assert samples["voicefarm_tick_seconds_bucket", "0.002"] == 0
    assert samples["voicefarm_tick_seconds_bucket", "0.005"] == 1
    assert set(families["voicefarm_rtp_jitter_seconds"].samples[0].labels) == {"direction", "le"}


def test_a_histogram_is_cumulative_and_ends_without_bound() -> None:
    counts = [1] * (len(TICK_BUCKETS) + 1)
    rows = histogram_samples("h", {"a": "b"}, TICK_BUCKETS, counts, 2.5)
    values = [row.value for row in rows if row.name == "h_bucket"]
    assert values == list(itertools.accumulate(counts))
    assert (rows[-3].labels, rows[-2].value, rows[-1].value) == ({"a": "b", "le": "+Inf"}, len(counts), 2.5)


def test_figures_that_are_not_known_are_left_out() -> None:
    figures, _ = make()
    figures.take(TickFigures(engine_snapshot(2.0), 0, 0))
    latest = Latest()
    latest.take(figures.snapshot("", {10: holding("c10", 10)}, 0))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CallsCollector(latest))
    assert (
        registry.get_sample_value("voicefarm_call_jitter_seconds", {"call_id": "c10", "direction": "in"})
        == 0.002
    )
    assert (
        registry.get_sample_value("voicefarm_call_jitter_seconds", {"call_id": "c10", "direction": "out"})
        is None
    )
    assert registry.get_sample_value("voicefarm_call_rtt_seconds", {"call_id": "c10"}) is None
    assert (
        registry.get_sample_value("voicefarm_call_rtp_packets_total", {"call_id": "c10", "direction": "out"})
        == 49
    )


def test_every_per_call_family_can_be_shown() -> None:
    row = pages.CallRow(
        "c", "t", "r", "PCMU", "echo", 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 4.0, 4.0, 0.5, 0.1, 1.0, 0.04, 1, 0
    )
    assert {name for name, _, _ in pages.call_samples(row)} == {family.name for family in CALL_FAMILIES}


def test_all_series_of_the_most_calls_fit_into_a_scrape() -> None:
    """A scrape over its limit fails as a whole."""
    row = pages.CallRow(
        "c", "t", "r", "PCMU", "echo", 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 4.0, 4.0, 0.5, 0.1, 1.0, 0.04, 1, 0
    )
    jobs = yaml.safe_load((REPO / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (limit,) = [job["sample_limit"] for job in jobs if job.get("metrics_path") == "/metrics/calls"]
    assert OpsConfig().call_series_max * len(list(pages.call_samples(row))) < limit


def test_no_snapshot_and_an_old_one_are_not_healthy() -> None:
    now = [100.0]
    latest = Latest(lambda: now[0])
    assert latest.unhealthy() == latest.not_ready() == "no snapshot yet"
    latest.take(Snapshot(0.5, "draining", [], []))
    assert latest.unhealthy() == ""
    assert latest.not_ready() == "draining"
    now[0] += STALE_S - 0.5
    assert latest.unhealthy() == ""
    now[0] += 0.1
    assert "stands still" in latest.unhealthy()


def test_a_tick_that_stands_still_is_seen_through_a_fresh_snapshot() -> None:
    figures, _ = make()
    figures.take(TickFigures(engine_snapshot(), 0, 0))
    latest = Latest(lambda: 100.0)
    latest.take(figures.snapshot("", {}, 3.0))
    assert latest.unhealthy().startswith("the tick stands still for 3.")


def test_tenants_beyond_the_bound_share_their_series() -> None:
    metrics = Metrics("media")
    figures = Figures(metrics, 10)
    for number in range(TENANTS_MAX + 20):
        for call in ("a", "b"):
            name = "voicefarm_turn_voice_to_voice_seconds"
            figures.observe(Observe(name, (f"tenant-{number}",), 0.5, call))
    counts = {
        sample.labels["tenant"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "voicefarm_turn_voice_to_voice_seconds_count"
    }
    assert len(counts) == TENANTS_MAX + 1
    assert (counts["tenant-0"], counts[OTHER_TENANTS]) == (2, 40)
