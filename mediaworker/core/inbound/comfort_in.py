"""Comfort noise in the caller's place (RFC 3389): noise at the level the sender told, while he sends nothing.

White, at any level: the reflection coefficients that may follow the level are left out (the RFC lets a receiver do so, section 3).
The noise is a fixed piece of two seconds, read from another place in each tick and row. Must not know when it is heard.
"""

from typing import Final

import numpy as np

from mediaworker.core.legs import Samples
from mediaworker.core.rows import Floats, Index

PIECE: Final = 1 << 15
_STRIDE: Final = 7_919
"""A prime, so that rows and ticks that follow each other do not sound alike."""

_NOISE: Final = np.random.default_rng(3_389).standard_normal(PIECE).astype(np.float32)


def noise(at: Index, amplitude: Floats, tick: int, samples: int) -> Samples:
    """[N] rows and the root mean square of each to [N, samples]."""
    start = (at * _STRIDE + tick * samples) % PIECE
    index = (start[:, None] + np.arange(samples)) % PIECE
    out: Samples = np.clip(np.rint(_NOISE[index] * amplitude[:, None]), -32_768, 32_767).astype(np.int16)
    return out
