"""How losses come: alone or in bursts (RFC 3611 section 4.7.2; the burst ratio of ITU-T G.107).

A loss is a frame that playout had to make up because its packet was lost or came too late. The counters move only
when one is noted, so a leg without losses costs nothing. Must not decide what a loss is: that is playout's.
"""

from typing import Final, NamedTuple

import numpy as np

from mediaworker.core.rows import Floats, Index, Ints, Rows
from shared.units import TICK_MS

GMIN: Final = 16
"""Frames that must be heard between two losses for them to be of different bursts (the RFC's recommendation)."""


class Bursts(NamedTuple):
    """[N] legs: densities are the shares of frames lost inside bursts and inside gaps, durations are means in ms."""

    burst_density: Floats
    gap_density: Floats
    burst_ms: Floats
    gap_ms: Floats


def note(rows: Rows, at: Index, frame: Ints) -> None:
    """Frames `frame` [N] of rows `at` [N], each row once, were lost; to be called in the order of time."""
    heard = np.maximum(frame - rows.loss_frame[at] - 1, 0)
    alone = heard >= GMIN
    # A loss counts as alone until the next one comes too soon after it: then both are of a burst.
    begins = ~alone & rows.loss_alone[at]
    rows.lost_frames[at] += 1
    rows.lost_runs[at] += heard > 0
    rows.bursts[at] += begins
    rows.burst_losses[at] += begins.astype(np.int64) + ~alone
    rows.burst_heard[at] += np.where(alone, 0, heard)
    rows.loss_alone[at] = alone
    rows.loss_frame[at] = frame


def bursts(rows: Rows, at: Index, heard: Ints) -> Bursts:
    """Bursts and gaps of legs [N] that heard so many frames [N] in all. A call begins and ends with a gap."""
    count, lost = rows.bursts[at], rows.burst_losses[at]
    inside = rows.burst_heard[at]
    between, alone = np.maximum(heard - inside, 0), rows.lost_frames[at] - lost
    return Bursts(
        lost / np.maximum(lost + inside, 1),
        alone / np.maximum(between + alone, 1),
        (lost + inside) / np.maximum(count, 1) * TICK_MS,
        (between + alone) / (count + 1) * TICK_MS,
    )


def burst_ratio(lost: Ints, runs: Ints, heard: Ints, packet_frames: Floats) -> Floats:
    """BurstR of G.107 section 3.5: 1 / (p + q) of the two-state chain in which `lost` frames in `runs` runs lie among
    `heard` ones. It is about packets: one lost packet of 60 ms is no burst of three. 1 where nothing was lost, and never
    less, because losses that are spread more evenly than by chance do no less harm.
    """
    found = (runs > 0) & (heard > 0)
    begin = runs * packet_frames / np.maximum(heard, 1)
    end = np.minimum(runs * packet_frames / np.maximum(lost, 1), 1.0)
    return np.where(found, np.maximum(1.0, 1 / np.maximum(begin + end, 1e-9)), 1.0)
