"""How every leg sounds, scored each five seconds with the E-model, in both directions.

Inwards from what we count, outwards from what the peer's reports say. All legs of a phase at once; the marks that make
an interval of running counts are moved here. A score that falls below `low` is said once, and once when it has
recovered by a class of satisfaction (G.109). Must not parse reports or decide what a loss is.
"""

from typing import Final

import numpy as np

from mediaworker.core.inbound import losses, sequence
from mediaworker.core.inbound.quality import Histogram
from mediaworker.core.legs import QualityEvent
from mediaworker.core.reporting import emodel
from mediaworker.core.reporting.voip import buffer_ms
from mediaworker.core.rows import Floats, Index, Ints, Mask, Rows
from shared.metrics import JITTER_BUCKETS, LOSS_BUCKETS, MOS_BUCKETS
from shared.units import NS_PER_MS, NS_PER_S, TICK_MS

INTERVAL_TICKS: Final = 250
RECOVERED: Final = 0.5
"""How far above the threshold a score must come: from "many dissatisfied" (3.1) to "some dissatisfied" (3.6)."""
MEASURED_PACKETS: Final = 10
"""An interval with fewer packets does not tell how long they are."""
LONGEST_PACKET: Final = 6.0
FORWARD_MS: Final = float(TICK_MS)
"""A frame is spoken before it is sent."""


class Scores:
    """R and MOS of all legs."""

    def __init__(self, rows: Rows, *, low: float = 3.1) -> None:
        self._rows = rows
        self._low = low
        self.jitter = Histogram(JITTER_BUCKETS)
        self.loss = Histogram(LOSS_BUCKETS)
        self.discard = Histogram(LOSS_BUCKETS)
        self.mos = {"in": Histogram(MOS_BUCKETS), "out": Histogram(MOS_BUCKETS)}

    def step(self, span: slice) -> list[QualityEvent]:
        """The interval of the span's legs that ends now."""
        rows = self._rows
        at = np.flatnonzero(rows.started[span]) + span.start
        if not at.size:
            return []
        self._inwards(at)
        self._outwards(at)
        worst = np.where(
            rows.mos_worst[at] < 0, rows.mos_in[at], np.minimum(rows.mos_worst[at], rows.mos_in[at])
        )
        rows.mos_worst[at] = np.where(rows.mos_in[at] < 0, rows.mos_worst[at], worst)
        return [
            *self._crossed(at, "in", rows.mos_in, rows.bad_in),
            *self._crossed(at, "out", rows.mos_out, rows.bad_out),
        ]

    # --- what we hear

    def _inwards(self, at: Index) -> None:
        rows = self._rows
        expected, unique = sequence.expected(rows, at), rows.received[at] - rows.duplicate[at]
        late, frames = rows.late[at], rows.play[at] - rows.play_mark[at]
        wanted = expected - rows.expected_mark[at]
        lost, behind = wanted - (unique - rows.unique_mark[at]), late - rows.late_mark[at]
        began = rows.expected_mark[at] > 0
        self._measure_packets(at[began], wanted[began], frames[began])
        heard = wanted > 0
        share = np.where(heard, np.clip(lost / np.maximum(wanted, 1), 0, 1), -1.0)
        discarded = np.where(heard, np.clip(behind / np.maximum(wanted, 1), 0, 1), 0.0)
        rows.loss_recent[at], rows.discard_in[at] = share, discarded
        rows.burst_ratio[at] = self._burst_ratio(at, frames)
        self._score_in(at, heard, np.minimum(1.0, share + discarded))
        rows.expected_mark[at], rows.unique_mark[at], rows.late_mark[at] = expected, unique, late
        rows.play_mark[at] = rows.play[at]

    def _measure_packets(self, at: Index, wanted: Ints, frames: Ints) -> None:
        """A pause of the sender makes packets look longer than they are: the least interval is right."""
        rows = self._rows
        enough = wanted >= MEASURED_PACKETS
        at, wanted, frames = at[enough], wanted[enough], frames[enough]
        length = np.clip(np.round(2 * frames / np.maximum(wanted, 1)) / 2, 0.5, LONGEST_PACKET)
        known = rows.packet_frames[at]
        rows.packet_frames[at] = np.where(known > 0, np.minimum(known, length), length)

    def _burst_ratio(self, at: Index, frames: Ints) -> Floats:
        rows = self._rows
        lost = rows.lost_frames[at] - rows.lost_frames_mark[at]
        runs = rows.lost_runs[at] - rows.lost_runs_mark[at]
        rows.lost_frames_mark[at], rows.lost_runs_mark[at] = rows.lost_frames[at], rows.lost_runs[at]
        length = np.maximum(rows.packet_frames[at], 1.0)
        return losses.burst_ratio(lost, runs, np.maximum(frames - lost, 0), length)

    def _score_in(self, at: Index, heard: Mask, gone: Floats) -> None:
        rows = self._rows
        packet_ms = np.maximum(rows.packet_frames[at], 1.0) * FORWARD_MS
        rows.way_in_ms[at] = np.maximum(rows.rtt_ms[at], 0.0) / 2 + packet_ms + buffer_ms(rows, at)
        r, cq, lq = rate(rows, at, gone, rows.burst_ratio[at], rows.way_in_ms[at])
        rows.r_in[at], rows.mos_in[at] = np.where(heard, r, -1), np.where(heard, cq, -1)
        rows.mos_lq_in[at] = np.where(heard, lq, -1)
        self.mos["in"].add_all(cq[heard])
        self.loss.add_all(rows.loss_recent[at[heard]])
        self.discard.add_all(rows.discard_in[at[heard]])
        self.jitter.add_all(rows.jitter_ns[at[heard]] / NS_PER_S)

    # --- what the peer hears

    def _outwards(self, at: Index) -> None:
        rows = self._rows
        told = rows.loss_out[at] >= 0
        at = at[told]
        if not at.size:
            return
        gone = np.minimum(1.0, rows.loss_out[at] + np.maximum(rows.discard_out[at], 0.0))
        # Without its word on it, a peer is taken to hold back twice the jitter it sees.
        guessed = 2 * rows.jitter_out_ms[at] + FORWARD_MS
        held = np.where(rows.delay_out_ms[at] > 0, rows.delay_out_ms[at], guessed)
        rows.way_out_ms[at] = np.maximum(rows.rtt_ms[at], 0.0) / 2 + FORWARD_MS + held
        r, cq, lq = rate(rows, at, gone, np.ones(len(at)), rows.way_out_ms[at])
        rows.r_out[at], rows.mos_out[at], rows.mos_lq_out[at] = r, cq, lq
        self.mos["out"].add_all(cq)

    # --- both

    def _crossed(self, at: Index, direction: str, mos: Floats, bad: Mask) -> list[QualityEvent]:
        score = mos[at]
        known = score >= 1
        fell = at[known & ~bad[at] & (score < self._low)]
        rose = at[known & bad[at] & (score >= self._low + RECOVERED)]
        bad[fell], bad[rose] = True, False
        if not fell.size and not rose.size:
            return []
        return [self._event(row, direction, low=True) for row in fell.tolist()] + [
            self._event(row, direction, low=False) for row in rose.tolist()
        ]

    def _event(self, row: int, direction: str, *, low: bool) -> QualityEvent:
        rows = self._rows
        inwards = direction == "in"
        return QualityEvent(
            row, "quality", direction, "low" if low else "recovered", {
                "mos": round(float((rows.mos_in if inwards else rows.mos_out)[row]), 2),
                "loss": round(float((rows.loss_recent if inwards else rows.loss_out)[row]), 4),
                "jitter_ms": round(float(rows.jitter_ns[row]) / NS_PER_MS if inwards else float(rows.jitter_out_ms[row]), 2),
                "delay_ms": round(float((rows.way_in_ms if inwards else rows.way_out_ms)[row]), 1),
            },
        )  # fmt: skip


def rate(
    rows: Rows, at: Index, gone: Floats, burst_ratio: Floats, way_ms: Floats
) -> tuple[Floats, Floats, Floats]:
    """R, MOS-CQ and MOS-LQ of rows that lose the share `gone`."""
    wide = rows.wide[at]
    impairment = emodel.lossy(rows.ie[at], rows.bpl[at], gone, burst_ratio)
    r = emodel.rating(impairment, wide, way_ms)
    return r, emodel.mos(r, wide), emodel.mos(emodel.rating(impairment, wide, None), wide)


def set_codec(rows: Rows, row: int, codec: str) -> None:
    """What the codec of a row does to its score; `rows.wide` is set before."""
    figures = emodel.codec_of(codec, wide=bool(rows.wide[row]))
    rows.ie[row], rows.bpl[row] = figures.ie, figures.bpl


def call_mos(rows: Rows, row: int) -> tuple[float, float]:
    """MOS (conversational) of a whole call so far, inwards and outwards; -1 where nothing is known. From the counts of
    the whole call, not as a mean of its intervals: a mean of opinions hides what a mean of losses shows.
    """
    at = np.array([row, row])
    expected, unique = sequence.expected(rows, at), rows.received[at] - rows.duplicate[at]
    length = np.maximum(rows.packet_frames[at], 1.0)
    frames = np.where(rows.packet_frames[at] > 0, rows.packet_frames[at], 1.0)
    heard = np.maximum((unique * frames).astype(np.int64), 0)
    ratio = losses.burst_ratio(rows.lost_frames[at], rows.lost_runs[at], heard, length)
    ratio[_OUT] = 1.0
    gone_in = (expected[_IN] - unique[_IN] + rows.late[row]) / max(int(expected[_IN]), 1)
    gone_out = rows.lost_out[row] / max(int(rows.packets_out[row]), 1) + max(
        float(rows.discard_out[row]), 0.0
    )
    way = np.array([rows.way_in_ms[row], rows.way_out_ms[row]])
    way = np.where(way < 0, 2 * FORWARD_MS, way)
    wide = rows.wide[at]
    impairment = emodel.lossy(rows.ie[at], rows.bpl[at], np.array([gone_in, gone_out]), ratio)
    mos = emodel.mos(emodel.rating(impairment, wide, way), wide)
    told = rows.loss_out[row] >= 0 and rows.packets_out[row] > 0
    return float(mos[_IN]) if expected[_IN] > 0 else -1.0, float(mos[_OUT]) if told else -1.0


_IN, _OUT = 0, 1
