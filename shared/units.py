"""Units of time and audio used across the farm, and the conversions between them.

Names carry their unit (`_ns`, `_ms`, `_samples`, `_bytes`); the numbers that tie the units together stand here.
"""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

TICK_MS = 20
"""The media schedule: one tick plays and sends one frame per leg."""

NARROWBAND_HZ = 8_000
"""Sample rate and RTP clock rate of G.711 (RFC 3551, table 4)."""

FRAME_SAMPLES = NARROWBAND_HZ * TICK_MS // 1_000
"""Samples of one narrowband frame: 160."""

WIDEBAND_HZ = 16_000
"""Sample rate of a wideband leg inside the farm, whatever its codec."""

WIDE_FRAME_SAMPLES = WIDEBAND_HZ * TICK_MS // 1_000
"""Samples of one wideband frame: 320."""

BYTES_PER_SAMPLE = 2
"""Linear PCM is signed 16-bit little-endian everywhere inside the farm."""


def samples_to_ms(samples: int, rate_hz: int = NARROWBAND_HZ) -> float:
    """Duration in ms of `samples` at `rate_hz`."""
    return samples * 1_000 / rate_hz


def ms_to_samples(ms: float, rate_hz: int = NARROWBAND_HZ) -> int:
    """Whole samples in `ms` at `rate_hz`, rounded down."""
    return int(ms * rate_hz) // 1_000
