"""L16 (RFC 3551 section 4.5.11): linear samples, big-endian, mono, at 8, 16 or 44.1 kHz.

44.1 kHz (payload type 11) is brought to and from the 16 kHz of the farm; every 10 ms are exactly 441 and 160 samples.
"""

from typing import Final

import numpy as np

from mediaworker.core.codecs.port import BadPayload, Codec, Decoder, Encoder
from mediaworker.core.codecs.wave import WaveConcealer
from mediaworker.core.legs import Samples
from mediaworker.core.resample import Rational
from shared.contracts import MediaFormat
from shared.units import BYTES_PER_SAMPLE, NARROWBAND_HZ, TICK_MS, WIDEBAND_HZ

RATES_HZ: Final = (NARROWBAND_HZ, WIDEBAND_HZ, 44_100)


class L16Decoder:
    def __init__(self, rate_hz: int) -> None:
        inside_hz = NARROWBAND_HZ if rate_hz == NARROWBAND_HZ else WIDEBAND_HZ
        self._rational = Rational(rate_hz, inside_hz) if rate_hz != inside_hz else None
        self._concealer = WaveConcealer(inside_hz)

    def duration(self, payload: bytes) -> int:
        return len(payload) // BYTES_PER_SAMPLE if len(payload) % BYTES_PER_SAMPLE == 0 else 0

    def decode(self, payload: bytes) -> Samples:
        if not payload or len(payload) % BYTES_PER_SAMPLE:
            raise BadPayload("half a sample")
        pcm = np.frombuffer(payload, ">i2").astype(np.int16)
        return self._concealer.good(self._rational.feed(pcm) if self._rational else pcm)

    def conceal(self, samples: int, following: bytes | None = None) -> Samples:
        del following
        return self._concealer.conceal(samples)


class L16Encoder:
    def __init__(self, rate_hz: int) -> None:
        inside_hz = NARROWBAND_HZ if rate_hz == NARROWBAND_HZ else WIDEBAND_HZ
        self._rational = Rational(inside_hz, rate_hz) if rate_hz != inside_hz else None

    def encode(self, pcm: Samples) -> bytes:
        if self._rational:
            pcm = self._rational.feed(pcm)
        return pcm.astype(">i2").tobytes()

    def adapt(self, loss_ratio: float) -> None:
        """It has nothing to give."""


def _codec(rate_hz: int) -> Codec:
    def encoder(_wanted: MediaFormat, _complexity: int) -> Encoder:
        return L16Encoder(rate_hz)

    def decoder() -> Decoder:
        return L16Decoder(rate_hz)

    clock = rate_hz * TICK_MS // 1_000
    return Codec(wide=rate_hz > NARROWBAND_HZ, clock=clock, encoder=encoder, decoder=decoder)


CODECS: Final = {rate_hz: _codec(rate_hz) for rate_hz in RATES_HZ}
