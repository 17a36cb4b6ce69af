"""Dual tones of the push-button set (ITU-T Q.23): their frequencies and the sound of a press.

Levels are dBm0 as ITU-T G.711 defines them for mu-law: a sine at +3.17 dBm0 just reaches the highest code. Must not
know legs; `sender` plays these, `detector` looks for them.
"""

from typing import Final

import numpy as np

from mediaworker.core.legs import Samples
from shared.units import NARROWBAND_HZ, ms_to_samples

LOW_HZ: Final = (697.0, 770.0, 852.0, 941.0)
HIGH_HZ: Final = (1209.0, 1336.0, 1477.0, 1633.0)
GRID: Final = ("123A", "456B", "789C", "*0#D")
"""Digits by low (row) and high (column) frequency."""
PAIRS: Final = {
    digit: (low, high)
    for low, line in zip(LOW_HZ, GRID, strict=True)
    for high, digit in zip(HIGH_HZ, line, strict=True)
}

ZERO_DBM0_PEAK: Final = 32_636.0 / 10 ** (3.17 / 20)
"""Amplitude of a sine at 0 dBm0; 32,636 is mu-law's virtual decision value in our 16 bits."""
TWIST_DB: Final = 2.0
"""The high tone is this much stronger: lines lose more of it (ETSI ES 201 235-2 section 4.2.4.3)."""
RAMP_MS: Final = 2
"""Rise and fall: a tone switched hard clicks into its neighbours' bands."""


def amplitude(dbm0: float) -> float:
    """Peak of a sine of that level."""
    return ZERO_DBM0_PEAK * float(10 ** (dbm0 / 20))


def tone(digit: str, duration_ms: int, level_dbm0: float, rate_hz: int = NARROWBAND_HZ) -> Samples:
    """The sound of one press; `level_dbm0` is the power of both tones together."""
    low_hz, high_hz = PAIRS[digit]
    count = ms_to_samples(duration_ms, rate_hz)
    # Powers add up to the level: low = total / (1 + twist).
    twist = 10 ** (TWIST_DB / 10)
    low = amplitude(level_dbm0) / np.sqrt(1 + twist)
    time = np.arange(count) / rate_hz
    sound = low * np.sin(2 * np.pi * low_hz * time)
    sound += low * np.sqrt(twist) * np.sin(2 * np.pi * high_hz * time)
    ramp = min(ms_to_samples(RAMP_MS, rate_hz), count // 2)
    if ramp:
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
        sound[:ramp] *= rise
        sound[-ramp:] *= rise[::-1]
    pcm: Samples = np.rint(sound).clip(-32_768, 32_767).astype(np.int16)
    return pcm
