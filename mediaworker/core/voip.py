"""The VoIP metrics block that we send about a leg's received stream (RFC 3611 section 4.7), from its row.

Loss and discards count since the stream began, as the RFC has it; R and MOS are those of the last interval
(`scores.py`). Must not change a row.
"""

import numpy as np

from mediaworker.core import emodel, losses, sequence, xr
from mediaworker.core.rows import Floats, Index, Rows
from shared.units import NS_PER_MS, TICK_MS


def buffer_ms(rows: Rows, at: Index) -> Floats:
    """What the jitter buffer means to hold back: the delay above the least that 99 % of the packets meet."""
    return np.where(rows.flowing[at], rows.target_ns[at] / NS_PER_MS, 0.0)


def voip_metrics(rows: Rows, row: int, ssrc: int, *, limit_ms: int = 0) -> xr.VoipMetrics:
    """About the stream `ssrc` of a row that has received something; `limit_ms` is the deepest its buffer may get."""
    at = np.array([row])
    expected = max(1, int(sequence.expected(rows, at)[0]))
    unique, late = int(rows.received[row] - rows.duplicate[row]), int(rows.late[row])
    heard = np.maximum(((unique - late) * np.maximum(rows.packet_frames[at], 1.0)).astype(np.int64), 0)
    bursts = losses.bursts(rows, at, heard)
    wide = rows.wide[at]
    r = float(rows.r_in[row])
    held = float(buffer_ms(rows, at)[0])
    return xr.VoipMetrics(
        ssrc=ssrc, loss_rate=xr.in_256ths((expected - unique) / expected),
        discard_rate=xr.in_256ths(late / expected), burst_density=xr.in_256ths(float(bursts.burst_density[0])),
        gap_density=xr.in_256ths(float(bursts.gap_density[0])), burst_ms=xr.in_ms(float(bursts.burst_ms[0])),
        gap_ms=xr.in_ms(float(bursts.gap_ms[0])), round_trip_ms=xr.in_ms(max(0.0, float(rows.rtt_ms[row]))),
        end_delay_ms=xr.in_ms(held + TICK_MS), gmin=losses.GMIN,
        r_factor=xr.UNKNOWN if r < 0 else round(float(emodel.rating_of_100(rows.r_in[at], wide)[0])),
        mos_lq=xr.in_tenths(float(rows.mos_lq_in[row])), mos_cq=xr.in_tenths(float(rows.mos_in[row])),
        receiver_config=xr.ENHANCED_CONCEALMENT | xr.ADAPTIVE_BUFFER, buffer_nominal_ms=xr.in_ms(held),
        buffer_max_ms=xr.in_ms(held), buffer_limit_ms=xr.in_ms(limit_ms),
    )  # fmt: skip
