"""Extended reports (RFC 3611): what a receiver says about a stream beyond jitter and loss.

Receiver reference time and its answer (DLRR) give a round trip to those who send no media; the VoIP metrics block says
how the stream sounds. Blocks of other types are passed over (section 3). Must not know rows or clocks.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

XR: Final = 207
REFERENCE_TIME: Final = 4
DELAY_SINCE: Final = 5
VOIP_METRICS: Final = 7
UNKNOWN: Final = 127
"""Of levels, R and MOS: unavailable (section 4.7)."""
_VOIP_BYTES: Final = 32
_PLC: Final = {"unknown": 0, "silence": 1, "standard": 2, "enhanced": 3}
ENHANCED_CONCEALMENT: Final = _PLC["enhanced"] << 6
ADAPTIVE_BUFFER: Final = 3 << 4


@dataclass(frozen=True, slots=True, kw_only=True)
class VoipMetrics:
    """Section 4.7. Rates and densities in 1/256, durations and delays in ms, MOS in tenths, levels in dBm."""

    ssrc: int
    loss_rate: int = 0
    discard_rate: int = 0
    burst_density: int = 0
    gap_density: int = 0
    burst_ms: int = 0
    gap_ms: int = 0
    round_trip_ms: int = 0
    end_delay_ms: int = 0
    signal_level: int = UNKNOWN
    noise_level: int = UNKNOWN
    echo_return_loss: int = UNKNOWN
    gmin: int = 16
    r_factor: int = UNKNOWN
    external_r_factor: int = UNKNOWN
    mos_lq: int = UNKNOWN
    mos_cq: int = UNKNOWN
    receiver_config: int = 0
    buffer_nominal_ms: int = 0
    buffer_max_ms: int = 0
    buffer_limit_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DelaySince:
    """One entry of a DLRR block (4.5): `last` is the middle of the reference time answered, `delay` in 1/65536 s."""

    ssrc: int
    last: int
    delay: int


@dataclass(slots=True)
class Extended:
    """The blocks of an XR packet that matter here."""

    ssrc: int = 0
    reference_time: int | None = None
    """64-bit NTP time."""
    delays: list[DelaySince] = field(default_factory=list)
    metrics: list[VoipMetrics] = field(default_factory=list)


_VOIP: Final = struct.Struct("!IBBBBHHHHbbBBBBBBBxHHH")


def voip_metrics_body(block: VoipMetrics) -> bytes:
    """The fields of a VoIP metrics block."""
    b = block
    return _VOIP.pack(
        b.ssrc, b.loss_rate, b.discard_rate, b.burst_density, b.gap_density, b.burst_ms, b.gap_ms, b.round_trip_ms,
        b.end_delay_ms, b.signal_level, b.noise_level, b.echo_return_loss, b.gmin, b.r_factor, b.external_r_factor,
        b.mos_lq, b.mos_cq, b.receiver_config, b.buffer_nominal_ms, b.buffer_max_ms, b.buffer_limit_ms,
    )  # fmt: skip


def compose(extended: Extended) -> bytes:
    """The packet, b"" when it has no block."""
    blocks = b""
    if extended.reference_time is not None:
        blocks += _block(REFERENCE_TIME, struct.pack("!Q", extended.reference_time))
    if extended.delays:
        entries = (struct.pack("!III", entry.ssrc, entry.last, entry.delay) for entry in extended.delays)
        blocks += _block(DELAY_SINCE, b"".join(entries))
    for metrics in extended.metrics:
        blocks += _block(VOIP_METRICS, voip_metrics_body(metrics))
    if not blocks:
        return b""
    return struct.pack("!BBHI", 0x80, XR, 1 + len(blocks) // 4, extended.ssrc) + blocks


def _block(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, len(body) // 4) + body


def read(body: bytes) -> Extended | None:
    """The body of an XR packet, its header left off; None where a block does not fit."""
    if len(body) < 4:
        return None
    extended = Extended(ssrc=int.from_bytes(body[:4], "big"))
    at = 4
    while at < len(body):
        if len(body) - at < 4:
            return None
        kind, words = body[at], int.from_bytes(body[at + 2 : at + 4], "big")
        end = at + 4 + 4 * words
        if end > len(body) or not _read_block(extended, kind, body[at + 4 : end]):
            return None
        at = end
    return extended


def _read_block(extended: Extended, kind: int, body: bytes) -> bool:
    if kind == REFERENCE_TIME:
        if len(body) != 8:
            return False
        extended.reference_time = int.from_bytes(body, "big")
    elif kind == DELAY_SINCE:
        if len(body) % 12:
            return False
        for ssrc, last, delay in struct.iter_unpack("!III", body):
            extended.delays.append(DelaySince(ssrc=ssrc, last=last, delay=delay))
    elif kind == VOIP_METRICS:
        if len(body) != _VOIP_BYTES:
            return False
        extended.metrics.append(_read_voip_metrics(body))
    return True


def _read_voip_metrics(body: bytes) -> VoipMetrics:
    (
        ssrc, loss_rate, discard_rate, burst_density, gap_density, burst_ms, gap_ms, round_trip_ms, end_delay_ms,
        signal_level, noise_level, echo_return_loss, gmin, r_factor, external_r_factor, mos_lq, mos_cq,
        receiver_config, buffer_nominal_ms, buffer_max_ms, buffer_limit_ms,
    ) = _VOIP.unpack(body)  # fmt: skip
    return VoipMetrics(
        ssrc=ssrc, loss_rate=loss_rate, discard_rate=discard_rate, burst_density=burst_density,
        gap_density=gap_density, burst_ms=burst_ms, gap_ms=gap_ms, round_trip_ms=round_trip_ms,
        end_delay_ms=end_delay_ms, signal_level=signal_level, noise_level=noise_level,
        echo_return_loss=echo_return_loss, gmin=gmin, r_factor=r_factor, external_r_factor=external_r_factor,
        mos_lq=mos_lq, mos_cq=mos_cq, receiver_config=receiver_config, buffer_nominal_ms=buffer_nominal_ms,
        buffer_max_ms=buffer_max_ms, buffer_limit_ms=buffer_limit_ms,
    )  # fmt: skip


# --- units


def in_256ths(share: float) -> int:
    """A share 0 to 1 as rates and densities carry it, rounded down (4.7.1)."""
    return max(0, min(255, int(share * 256)))


def in_ms(value: float) -> int:
    """Sixteen bits of milliseconds; what is not known is 0."""
    return max(0, min(0xFFFF, round(value)))


def in_tenths(opinion: float) -> int:
    """A MOS of 1 to 5 in tenths, `UNKNOWN` below 1 (4.7.5)."""
    return UNKNOWN if opinion < 1 else min(50, round(10 * opinion))
