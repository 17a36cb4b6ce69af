"""One call's audio at one rate, whatever rate its parts come at: a re-INVITE may change the codec in mid-sentence.

Costs nothing where the rates agree, which is nearly always. Also the count that leaves a call: samples at 8 kHz, so that a
dialogue need not know at what rate its words were played.
"""

from mediaworker.core.legs import Samples
from mediaworker.core.resample import Rational
from shared.units import NARROWBAND_HZ, WIDEBAND_HZ

RATES_HZ = (NARROWBAND_HZ, WIDEBAND_HZ)
"""Of speech on the bus."""


class AtRate:
    """A stream at `rate_hz`."""

    __slots__ = ("_filter", "_from_hz", "rate_hz")

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._from_hz = rate_hz
        self._filter: Rational | None = None

    def feed(self, pcm: Samples, from_hz: int) -> Samples:
        """The next samples of the stream."""
        if from_hz == self.rate_hz:
            return pcm
        if self._filter is None or from_hz != self._from_hz:
            self._filter, self._from_hz = Rational(from_hz, self.rate_hz), from_hz
        return self._filter.feed(pcm)


def as_narrow(samples: int, rate_hz: int) -> int:
    """How many samples that is at 8 kHz."""
    return samples * NARROWBAND_HZ // rate_hz
