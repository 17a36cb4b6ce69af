"""Cuts a sentence's audio into frames for the bus, and keeps its loudness sane.

Frames are multiples of 20 ms, the first as soon as there are 20 ms, later ones of up to 200 ms; only the last may be
shorter, and it is marked. S: samples, int16.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shared.units import FRAME_SAMPLES, NARROWBAND_HZ, TICK_MS, ms_to_samples

Samples = npt.NDArray[np.int16]

PEAK = 16_422
"""-6 dBFS, the loudest sample sent: G.711 and other people's ears leave no room above."""

_LONGEST_MS = 200
_LATER_MS = 100


class Framer:
    """Audio of one sentence in, (offset, pcm, last) out."""

    def __init__(self, rate_hz: int = NARROWBAND_HZ) -> None:
        self._tick = ms_to_samples(TICK_MS, rate_hz) if rate_hz != NARROWBAND_HZ else FRAME_SAMPLES
        self._longest = ms_to_samples(_LONGEST_MS, rate_hz)
        self._later = ms_to_samples(_LATER_MS, rate_hz)
        self._held: Samples = np.zeros(0, np.int16)
        self._offset = 0

    def feed(self, audio: Samples) -> Iterator[tuple[int, bytes, bool]]:
        """The frames that `audio` fills; something is always held back for the last one."""
        self._held = np.concatenate((self._held, audio)) if self._held.size else audio
        while True:
            least = self._later if self._offset else self._tick
            ticks = min(self._longest, self._held.size - 1) // self._tick * self._tick
            if ticks < least:
                return
            yield self._take(ticks, last=False)

    def finish(self) -> Iterator[tuple[int, bytes, bool]]:
        """The rest; the last frame may be empty when the sentence made no sound."""
        while self._held.size > self._longest:
            yield self._take(self._longest, last=False)
        yield self._take(self._held.size, last=True)

    @property
    def samples(self) -> int:
        """Samples given out so far."""
        return self._offset

    def _take(self, count: int, *, last: bool) -> tuple[int, bytes, bool]:
        pcm, self._held = self._held[:count], self._held[count:]
        offset, self._offset = self._offset, self._offset + count
        return offset, pcm.astype("<i2", copy=False).tobytes(), last


class Limiter:
    """Turns a sentence down at once when it would be louder than PEAK, and never up again within the sentence."""

    def __init__(self) -> None:
        self._gain = 1.0

    def apply(self, audio: Samples) -> Samples:
        peak = int(np.abs(audio.astype(np.int32)).max(initial=0))
        if peak * self._gain > PEAK:
            self._gain = PEAK / peak
        if self._gain == 1.0:
            return audio
        return (audio * self._gain).astype(np.int16)
