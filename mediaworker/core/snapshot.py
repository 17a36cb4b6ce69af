"""Figures of the engine's legs: of one leg when it ends, of all of them once a second.

It reads rows and counters and copies what it tells, so that the copies may cross threads. Must not change a row.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mediaworker.core.inbound import sequence
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.quality import Histogram
from mediaworker.core.inbound.receive import Receiver
from mediaworker.core.legs import LegStats
from mediaworker.core.outbound.playout import Playout
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.reporting.liveness import Watch
from mediaworker.core.reporting.reports import Reports
from mediaworker.core.reporting.scores import Scores, call_mos
from mediaworker.core.reporting.voip import buffer_ms
from mediaworker.core.rows import Index, Ints, Rows
from shared.metrics import TICK_BUCKETS
from shared.units import NS_PER_MS


@dataclass(slots=True)
class Snapshot:
    """Figures of the live rows and of the process, as copies that may cross threads."""

    rows: Index
    packets_in: Ints
    packets_out: Ints
    jitter_in_ms: npt.NDArray[np.float64]
    loss_in: npt.NDArray[np.float64]
    jitter_out_ms: npt.NDArray[np.float64]
    loss_out: npt.NDArray[np.float64]
    rtt_ms: npt.NDArray[np.float64]
    depth_frames: Ints
    buffer_ms: npt.NDArray[np.float64]
    """What the jitter buffer holds back now."""
    burst_ratio: npt.NDArray[np.float64]
    discard_in: npt.NDArray[np.float64]
    mos_in: npt.NDArray[np.float64]
    """Conversational MOS of the last five seconds, -1 unknown."""
    mos_out: npt.NDArray[np.float64]
    one_way: Ints
    """`legs.OneWay` flags."""
    totals: dict[str, int] = field(default_factory=dict)
    """packets_in, packets_out, lost_in, lost_out, concealed, reordered, send_errors, skipped, legs, playout_chunks_free."""
    rejected: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, tuple[tuple[float, ...], list[int], float]] = field(default_factory=dict)
    """jitter_in, jitter_out, loss_in, loss_out, discard_in, mos_in, mos_out, rtt, tick: bounds, counts per bucket (one
    more than bounds), sum."""
    one_way_begun: dict[tuple[str, str], int] = field(default_factory=dict)
    """Times a leg became one-way, by direction and cause."""
    rtcp: dict[tuple[str, str], int] = field(default_factory=dict)
    """RTCP packets by direction and kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The stages that figures are taken from."""

    rows: Rows
    ring: JitterRing
    receiver: Receiver
    transmitter: Transmitter
    playout: Playout
    reports: Reports
    scores: Scores
    watch: Watch
    rejected: Counter[str]


class EngineFigures:
    """What the stages counted, as the metrics want it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.tick_times = Histogram(TICK_BUCKETS)
        self._closed: Counter[str] = Counter()

    def ended(self, stats: LegStats) -> None:
        """A leg is gone: its share of the totals stays."""
        self._closed.update(
            lost_in=stats.lost_in,
            lost_out=max(0, stats.lost_out),
            concealed=stats.concealed,
            reordered=stats.reordered_in,
        )

    def stats(self, row: int) -> LegStats:
        rows = self._parts.rows
        expected = int(sequence.expected(rows, np.array([row]))[0])
        unique = int(rows.received[row] - rows.duplicate[row])
        lost = max(0, expected - unique)
        count = max(1, int(rows.jitter_count[row]))
        mos_in, mos_out = call_mos(rows, row)
        return LegStats(
            packets_in=int(rows.received[row]), packets_out=int(rows.packets_out[row]), lost_in=lost,
            late_in=int(rows.late[row]), duplicate_in=int(rows.duplicate[row]), concealed=int(rows.concealed[row]),
            jitter_in_ms=float(rows.jitter_ns[row]) / NS_PER_MS, loss_in_ratio=lost / expected if expected else 0.0,
            jitter_out_ms=float(rows.jitter_out_ms[row]), loss_out_ratio=float(rows.loss_out[row]),
            lost_out=int(rows.lost_out[row]), rtt_ms=float(rows.rtt_ms[row]),
            depth_frames=int(self._depth(np.array([row]))[0]),
            jitter_mean_ms=float(rows.jitter_sum_ns[row]) / count / NS_PER_MS,
            jitter_max_ms=float(rows.jitter_max_ns[row]) / NS_PER_MS, mos_in=mos_in, mos_out=mos_out,
            mos_worst=float(rows.mos_worst[row]), burst_losses=int(rows.burst_losses[row]),
            lost_frames=int(rows.lost_frames[row]), bursts=int(rows.bursts[row]), one_way=bool(rows.one_way[row]),
            reordered_in=int(rows.reordered[row]),
        )  # fmt: skip

    def _depth(self, at: Index) -> Ints:
        rows = self._parts.rows
        return np.where(rows.flowing[at], np.maximum(0, rows.top[at] - rows.play[at] + 1), 0)

    def snapshot(self, send_errors: int) -> Snapshot:
        """Live rows and totals."""
        rows = self._parts.rows
        live = np.flatnonzero(rows.opened)
        snapshot = Snapshot(
            rows=live, packets_in=rows.received[live], packets_out=rows.packets_out[live],
            jitter_in_ms=rows.jitter_ns[live] / NS_PER_MS, loss_in=rows.loss_recent[live],
            jitter_out_ms=rows.jitter_out_ms[live], loss_out=rows.loss_out[live], rtt_ms=rows.rtt_ms[live],
            depth_frames=self._depth(live), totals=self._totals(live, send_errors),
            rejected=dict(self._parts.rejected), buffer_ms=buffer_ms(rows, live), burst_ratio=rows.burst_ratio[live],
            discard_in=rows.discard_in[live], mos_in=rows.mos_in[live], mos_out=rows.mos_out[live],
            one_way=rows.one_way[live], one_way_begun=dict(self._parts.watch.begun),
            rtcp=dict(self._parts.reports.counts),
        )  # fmt: skip
        reports, scores = self._parts.reports, self._parts.scores
        for name, histogram in (
            ("jitter_in", scores.jitter), ("jitter_out", reports.jitter), ("loss_in", scores.loss),
            ("loss_out", reports.loss), ("discard_in", scores.discard), ("mos_in", scores.mos["in"]),
            ("mos_out", scores.mos["out"]), ("rtt", reports.round_trips), ("tick", self.tick_times),
        ):  # fmt: skip
            snapshot.histograms[name] = (histogram.bounds, list(histogram.counts), histogram.total)
        return snapshot

    def _totals(self, live: Index, send_errors: int) -> dict[str, int]:
        parts = self._parts
        rows = parts.rows
        lost = np.maximum(0, sequence.expected(rows, live) - rows.received[live] + rows.duplicate[live])
        return {
            "legs": len(live), "packets_in": parts.receiver.packets, "packets_out": parts.transmitter.sent,
            "lost_in": self._closed["lost_in"] + int(lost.sum()),
            "lost_out": self._closed["lost_out"] + int(np.maximum(0, rows.lost_out[live]).sum()),
            "concealed": self._closed["concealed"] + int(rows.concealed[live].sum()),
            "reordered": self._closed["reordered"] + int(rows.reordered[live].sum()),
            "send_errors": send_errors, "skipped": parts.ring.skipped,
            "playout_chunks_free": parts.playout.free_chunks,
        }  # fmt: skip
