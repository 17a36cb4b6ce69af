"""What a codec is to the engine: samples of one stream to payloads and back.

A coder is the state of one direction of one leg. Samples are mono at the rate of the leg's audio inside the farm: 16 kHz
where the codec is wideband, otherwise 8 kHz. G.711 is no codec in this sense: it is tables over all rows (`g711`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mediaworker.core.legs import Samples
from shared.contracts import MediaFormat


class BadPayload(Exception):
    """A payload that is not what its codec can read; the frame is concealed."""


class Decoder(Protocol):
    """Payloads of one stream to samples; whatever the octets are, it raises BadPayload or gives samples."""

    def duration(self, payload: bytes) -> int:
        """Units of the RTP clock that the payload lasts, 0 for one that cannot be read. Leaves the state alone."""
        ...

    def decode(self, payload: bytes) -> Samples: ...

    def conceal(self, samples: int, following: bytes | None = None) -> Samples:
        """Makes up what was lost; `following` is the next packet where it begins just behind the hole."""
        ...


class Encoder(Protocol):
    """Samples of one stream to payloads."""

    def encode(self, pcm: Samples) -> bytes:
        """One packet of 10, 20, 30, 40 or 60 ms; empty: nothing needs to be sent for it."""
        ...

    def adapt(self, loss_ratio: float) -> None:
        """The peer reports to have lost so much, 0 to 1, of what it was sent lately."""
        ...


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec at one rate."""

    wide: bool
    """Its audio is 16 kHz inside the farm."""
    clock: int
    """Units of its RTP clock in 20 ms."""
    encoder: Callable[[MediaFormat, int], Encoder]
    """Takes the complexity too, 0 to 10, where a codec has a choice."""
    decoder: Callable[[], Decoder]
