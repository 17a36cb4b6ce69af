"""G.711 mu-law and A-law as tables (ITU-T G.711), applied to whole blocks of frames.

Encoding is a table over all 65,536 samples; decoding a table over all pairs of octets, two samples at a time, which is
the cheapest step numpy has for it. Must not know about packets. The plain formulas are the tables' source; the slow
versions in tests/support/reference.py are written from the standard's segment description instead.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]

_MU_BIAS: Final = 132
_MU_CLIP: Final = 32_635


def _mu_law_decoder() -> Samples:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + _MU_BIAS) << exponent) - _MU_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _mu_law_encoder() -> Octets:
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), _MU_CLIP) + _MU_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(sample < 0, 0x80, 0)
    code: Octets = ~(sign | (exponent << 4) | mantissa).astype(np.uint8)
    return code


def _a_law_decoder() -> Samples:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    linear = np.where(
        exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
    )
    return np.where(code & 0x80, linear, -linear).astype(np.int16)


def _a_law_encoder() -> Octets:
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(sample < 0, -sample - 1, sample)
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = np.where(exponent == 0, magnitude >> 1, magnitude >> np.maximum(exponent, 1)) & 15
    sign = np.where(sample < 0, 0, 0x80)
    code: Octets = (sign | (exponent << 4) | mantissa).astype(np.uint8) ^ np.uint8(0x55)
    return code


def _pairs(table: Samples) -> npt.NDArray[np.uint32]:
    """Two octets (as one little-endian word) to two samples."""
    word = np.arange(65_536)
    low = table.view(np.uint16)[word & 255].astype(np.uint32)
    high = table.view(np.uint16)[word >> 8].astype(np.uint32)
    both: npt.NDArray[np.uint32] = low | (high << 16)
    return both


class Law:
    """One companding law. `silence` is the octet of sample 0."""

    def __init__(self, decoder: Samples, encoder: Octets) -> None:
        self.decoder = decoder
        self.encoder = encoder
        self.silence = int(encoder[0])
        self._pair_decoder = _pairs(decoder)

    def decode(self, payload: Octets, out: Samples) -> None:
        """[L, S] octets to [L, S] samples; both contiguous, S even."""
        np.take(self._pair_decoder, payload.view(np.uint16), out=out.view(np.uint32), mode="clip")

    def encode(self, samples: Samples, out: Octets) -> None:
        """[L, S] samples to [L, S] octets; `samples` contiguous."""
        np.take(self.encoder, samples.view(np.uint16), out=out, mode="clip")


MU_LAW: Final = Law(_mu_law_decoder(), _mu_law_encoder())
A_LAW: Final = Law(_a_law_decoder(), _a_law_encoder())
