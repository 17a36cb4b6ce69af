"""What can be played: samples that are there, silence, tones with a cadence, and a stream that comes bit by bit.

A source gives samples of one rate in order; a short answer means "no more for now", `ended` means "no more at all". It
must not know who listens. Source of the cadences: ITU-T E.180; of dBm0: ITU-T G.711 (a full sine is +3.14 dBm0).
"""

from collections import deque
from typing import Final, Protocol

import numpy as np

from mediaworker.core.legs import Samples
from mediaworker.core.resample import HalfBand, to_samples
from shared.contracts import ToneStep

FULL_SINE_DBM0: Final = 3.14
_RAMP_S: Final = 0.005
"""A tone that begins or ends at once clicks."""
NOTHING: Final[Samples] = np.zeros(0, np.int16)


class Source(Protocol):
    """Samples in order."""

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        ...

    def read(self, count: int) -> Samples:
        """At most `count` samples."""
        ...


class Pcm:
    """Samples that are there, `loops` times over; 0: for ever. The array is only read, so that many may share it."""

    def __init__(self, pcm: Samples, loops: int = 1) -> None:
        self._pcm = pcm
        self._at = 0
        self._total = len(pcm) * loops if loops or not len(pcm) else -1

    @property
    def ended(self) -> bool:
        return self._at == self._total

    def read(self, count: int) -> Samples:
        if self._total >= 0:
            count = min(count, self._total - self._at)
        if not count:
            return NOTHING
        start = self._at % len(self._pcm)
        self._at += count
        if start + count <= len(self._pcm):
            return self._pcm[start : start + count]
        # However short the sound is, its rounds cost no more than one.
        return np.take(self._pcm, np.arange(start, start + count), mode="wrap")


class Silence:
    """So many samples of nothing."""

    def __init__(self, samples: int) -> None:
        self._left = samples

    @property
    def ended(self) -> bool:
        return self._left == 0

    def read(self, count: int) -> Samples:
        taken = min(count, self._left)
        self._left -= taken
        return np.zeros(taken, np.int16)


class Tone:
    """A cadence, `loops` rounds of it; 0: for ever. Phases run on over rounds, so a steady tone has no seam."""

    def __init__(self, steps: list[ToneStep], loops: int, rate_hz: int) -> None:
        self._steps = steps
        self._rate = rate_hz
        self._lengths = [step.ms * rate_hz // 1_000 for step in steps]
        self._round = sum(self._lengths)
        self._total = self._round * loops if loops else -1
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == self._total

    def read(self, count: int) -> Samples:
        if self._total >= 0:
            count = min(count, self._total - self._at)
        out = np.zeros(count, np.int16)
        done = 0
        while done < count:
            number, inside = self._step_at((self._at + done) % self._round)
            part = min(count - done, self._lengths[number] - inside)
            out[done : done + part] = self._sound(number, inside, self._at + done, part)
            done += part
        self._at += count
        return out

    def _step_at(self, at: int) -> tuple[int, int]:
        """Which step a sample of the round belongs to, and where in it."""
        for number, length in enumerate(self._lengths):
            if at < length:
                return number, at
            at -= length
        raise AssertionError("a sample beyond its round")

    def _sound(self, number: int, inside: int, at: int, count: int) -> Samples:
        step = self._steps[number]
        if not step.frequencies_hz:
            return np.zeros(count, np.int16)
        time = np.arange(at, at + count) / self._rate
        each = 32_767 * 10 ** ((step.level_dbm0 - FULL_SINE_DBM0) / 20)
        pcm = each * sum(np.sin(2 * np.pi * hz * time) for hz in step.frequencies_hz)
        pcm = pcm * self._envelope(number, inside, at, count)
        return np.clip(np.rint(pcm), -32_768, 32_767).astype(np.int16)

    def _envelope(
        self, number: int, inside: int, at: int, count: int
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        ramp = max(1, min(int(_RAMP_S * self._rate), self._lengths[number] // 2))
        place = np.arange(inside, inside + count, dtype=np.float64)
        shape = np.ones(count)
        first = at - inside == 0
        last = at - inside + self._lengths[number] == self._total
        before = self._steps[number - 1].frequencies_hz
        after = self._steps[(number + 1) % len(self._steps)].frequencies_hz
        own = self._steps[number].frequencies_hz
        if first or before != own:
            shape = np.minimum(shape, place / ramp)
        if last or after != own:
            shape = np.minimum(shape, (self._lengths[number] - place) / ramp)
        return shape


class Louder:
    """Another source with a gain."""

    def __init__(self, source: Source, gain: float) -> None:
        self._source = source
        self._gain = gain

    @property
    def ended(self) -> bool:
        return self._source.ended

    def read(self, count: int) -> Samples:
        return to_samples((self._source.read(count) * self._gain).astype(np.float32))


class Retuned:
    """Another source at twice or half its rate, after what was read ahead of it."""

    def __init__(self, ahead: Samples, source: Source, *, up: bool) -> None:
        self._source = source
        self._up = up
        self._filter = HalfBand(1)
        self._odd = NOTHING
        self._ready = self._turn(ahead)

    @property
    def ended(self) -> bool:
        return self._source.ended and not len(self._ready)

    def read(self, count: int) -> Samples:
        wanted = count - len(self._ready)
        if wanted > 0:
            pcm = self._source.read((wanted + 1) // 2 if self._up else 2 * wanted)
            self._ready = np.concatenate([self._ready, self._turn(pcm)])
        out, self._ready = self._ready[:count], self._ready[count:]
        return out

    def _turn(self, pcm: Samples) -> Samples:
        row = np.zeros(1, np.int64)
        if not self._up:
            whole = np.concatenate([self._odd, pcm])
            even = len(whole) // 2 * 2
            pcm, self._odd = whole[:even], whole[even:]
        if not len(pcm):
            return NOTHING
        turned: Samples = (self._filter.up if self._up else self._filter.down)(row, pcm[None])[0]
        return turned


class Stream:
    """Samples that somebody brings: `feed` and `finish`, or all at once. `read` gives what is there."""

    def __init__(self) -> None:
        self._pieces: deque[Samples] = deque()
        self._whole = False
        self._pcm: Pcm | None = None
        self.waiting_samples = 0

    @property
    def ended(self) -> bool:
        return self._pcm.ended if self._pcm else self._whole and not self._pieces

    @property
    def complete(self) -> bool:
        """Whether all of it was brought."""
        return self._whole or self._pcm is not None

    def bring(self, pcm: Samples, loops: int) -> None:
        """All there is, so many times over; 0: for ever."""
        self._pcm = Pcm(pcm, loops)

    def feed(self, pcm: Samples) -> None:
        if len(pcm):
            self._pieces.append(pcm)
            self.waiting_samples += len(pcm)

    def finish(self) -> None:
        """Nothing more will be fed."""
        self._whole = True

    def read(self, count: int) -> Samples:
        if self._pcm:
            return self._pcm.read(count)
        parts = []
        while count and self._pieces:
            piece = self._pieces.popleft()
            part, rest = piece[:count], piece[count:]
            if len(rest):
                self._pieces.appendleft(rest)
            parts.append(part)
            count -= len(part)
            self.waiting_samples -= len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else NOTHING
