"""G.722 at 64 kbit/s (ITU-T G.722, RFC 3551 section 4.5.2): 16 kHz audio, an RTP clock of 8 kHz, an octet per unit.

The coder is libg722 (public domain), which holds the interpreter lock: the tick is not interrupted in a frame.
"""

from array import array
from typing import Final, cast

import numpy as np

from mediaworker.core.codecs.port import BadPayload, Codec, Decoder, Encoder
from mediaworker.core.codecs.wave import WaveConcealer
from mediaworker.core.legs import Samples
from shared.contracts import MediaFormat
from shared.units import FRAME_SAMPLES, WIDEBAND_HZ

try:
    import G722 as library  # noqa: N811  its module has the name of its class
except ImportError:  # no wheel for this platform
    library = None

BITRATE: Final = 64_000


class G722Decoder:
    def __init__(self) -> None:
        self._coder = library.G722(WIDEBAND_HZ, BITRATE)
        self._concealer = WaveConcealer(WIDEBAND_HZ)

    def duration(self, payload: bytes) -> int:
        return len(payload)

    def decode(self, payload: bytes) -> Samples:
        if not payload:
            raise BadPayload("empty")
        pcm = cast("array[int]", self._coder.decode(payload))
        return self._concealer.good(np.frombuffer(pcm, np.int16))

    def conceal(self, samples: int, following: bytes | None = None) -> Samples:
        """The predictor is left as it was: it finds back by itself (its coefficients leak), within some 10 ms."""
        del following
        return self._concealer.conceal(samples)


class G722Encoder:
    def __init__(self) -> None:
        self._coder = library.G722(WIDEBAND_HZ, BITRATE)

    def encode(self, pcm: Samples) -> bytes:
        return cast("bytes", self._coder.encode(pcm))

    def adapt(self, loss_ratio: float) -> None:
        """It has nothing to give."""


def _encoder(_wanted: MediaFormat, _complexity: int) -> Encoder:
    return G722Encoder()


def _decoder() -> Decoder:
    return G722Decoder()


CODEC: Final = Codec(wide=True, clock=FRAME_SAMPLES, encoder=_encoder, decoder=_decoder) if library else None
