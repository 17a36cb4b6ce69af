"""The VoIP metrics block that we send about a leg's received stream (RFC 3611 section 4.7), from its row.

Loss and discards count since the stream began, as the RFC has it; R and MOS are those of the last interval
(`scores.py`). Must not change a row.
"""

from typing import NamedTuple

import numpy as np

from mediaworker.core.inbound import losses, sequence
from mediaworker.core.reporting import emodel, xr
from mediaworker.core.rows import Floats, Index, Rows
from shared.units import NS_PER_MS, TICK_MS


def buffer_ms(rows: Rows, at: Index) -> Floats:
    """What the jitter buffer means to hold back: the delay above the least that 99 % of the packets meet."""
    return np.where(rows.flowing[at], rows.target_ns[at] / NS_PER_MS, 0.0)


def voip_metrics(rows: Rows, row: int, ssrc: int, *, limit_ms: int = 0) -> xr.VoipMetrics:
    """About the stream `ssrc` of a row that has received something; `limit_ms` is the deepest its buffer may get."""
    expected = max(1, sequence.expected_of(rows, row))
    unique, late = int(rows.received[row] - rows.duplicate[row]), int(rows.late[row])
    held = float(rows.target_ns[row]) / NS_PER_MS if rows.flowing[row] else 0.0
    r = float(rows.r_in[row])
    bursts = _bursts(rows, row, unique - late) if rows.lost_frames[row] else _NONE
    return xr.VoipMetrics(
        ssrc=ssrc, loss_rate=xr.in_256ths((expected - unique) / expected), discard_rate=xr.in_256ths(late / expected),
        burst_density=xr.in_256ths(bursts.burst_density), gap_density=xr.in_256ths(bursts.gap_density),
        burst_ms=xr.in_ms(bursts.burst_ms), gap_ms=xr.in_ms(bursts.gap_ms or _frames(rows, row, unique - late) * TICK_MS),
        round_trip_ms=xr.in_ms(max(0.0, float(rows.rtt_ms[row]))), end_delay_ms=xr.in_ms(held + TICK_MS),
        gmin=losses.GMIN, r_factor=xr.UNKNOWN if r < 0 else emodel.rating_of_100(r, wide=bool(rows.wide[row])),
        mos_lq=xr.in_tenths(float(rows.mos_lq_in[row])), mos_cq=xr.in_tenths(float(rows.mos_in[row])),
        receiver_config=xr.ENHANCED_CONCEALMENT | xr.ADAPTIVE_BUFFER, buffer_nominal_ms=xr.in_ms(held),
        buffer_max_ms=xr.in_ms(held), buffer_limit_ms=xr.in_ms(limit_ms),
    )  # fmt: skip


class _Bursts(NamedTuple):
    """`losses.Bursts` of one leg."""

    burst_density: float
    gap_density: float
    burst_ms: float
    gap_ms: float


_NONE = _Bursts(0.0, 0.0, 0.0, 0.0)


def _bursts(rows: Rows, row: int, packets: int) -> _Bursts:
    heard = np.array([_frames(rows, row, packets)])
    return _Bursts(*(float(column[0]) for column in losses.bursts(rows, np.array([row]), heard)))


def _frames(rows: Rows, row: int, packets: int) -> int:
    """How many frames they are; one each until it is measured."""
    return max(0, int(packets * (float(rows.packet_frames[row]) or 1.0)))
