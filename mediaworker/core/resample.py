"""Between sample rates: 8 and 16 kHz for all rows of a tick at once, any two rates for one stream.

Both are linear-phase FIR filters with a Kaiser window and give exactly the samples that their input is worth, so a leg's
frames stay 20 ms for ever. `HalfBand` is for array rows: every second tap of a half-band filter is zero, which halves
the work both ways. `Rational` is for one stream (44.1 kHz of L16) and takes blocks of any length. Both keep their state
between calls, and add the delay that they name. Must not know legs beyond their row numbers.

Sources: Oppenheim and Schafer, Discrete-Time Signal Processing, 4.6 and 7.6; Vaidyanathan, Multirate Systems, 4.6.4.
"""

from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index

Floats = npt.NDArray[np.float32]

_SIDE: Final = 32
"""Taps beside the centre that are not zero: 60 dB from 4.5 kHz on, flat to 3.5 kHz."""
_BETA: Final = 5.65
_WIDE_PAST: Final = 2 * _SIDE - 2
_NARROW_PAST: Final = _SIDE - 1
HALF_BAND_DELAY: Final = 2 * _SIDE - 1 - _SIDE
"""Of `HalfBand`, in samples of 16 kHz: 1.9 ms."""


def _half_band() -> Floats:
    """The taps at odd distances from the centre; the centre is 1/2, all others are 0. Together they are 1/2."""
    distance = np.arange(1 - _SIDE, _SIDE, 2, dtype=np.float64)
    window = np.kaiser(2 * _SIDE + 1, _BETA)[1:-1:2]
    taps = np.sinc(distance / 2) / 2 * window
    side: Floats = (taps / (2 * taps.sum())).astype(np.float32)
    return side


_TAPS: Final = _half_band()


def to_samples(wave: Floats) -> Samples:
    """Rounded and clipped."""
    return np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)


class HalfBand:
    """8 <-> 16 kHz for `count` rows. A row is for one stream in each direction."""

    def __init__(self, count: int) -> None:
        self._wide: Samples = np.zeros((count, _WIDE_PAST), np.int16)
        self._narrow: Samples = np.zeros((count, _NARROW_PAST), np.int16)

    def down(self, rows: Index, wide: Samples) -> Samples:
        """[R, 2S] at 16 kHz to [R, S] at 8 kHz; every row once."""
        whole = np.concatenate([self._wide[rows], wide], axis=1)
        self._wide[rows] = whole[:, -_WIDE_PAST:]
        size = wide.shape[1] // 2
        side = _correlate(whole[:, 0::2].astype(np.float32), size)
        centre = whole[:, _SIDE - 1 :: 2][:, :size].astype(np.float32)
        wave: Floats = side + centre / np.float32(2)
        return to_samples(wave)

    def up(self, rows: Index, narrow: Samples) -> Samples:
        """[R, S] at 8 kHz to [R, 2S] at 16 kHz; every row once."""
        whole = np.concatenate([self._narrow[rows], narrow], axis=1)
        self._narrow[rows] = whole[:, -_NARROW_PAST:]
        size = narrow.shape[1]
        wide = np.empty((len(rows), 2 * size), np.int16)
        wide[:, 0::2] = to_samples(2 * _correlate(whole.astype(np.float32), size))
        wide[:, 1::2] = whole[:, _SIDE // 2 :][:, :size]
        return wide

    def forget(self, row: int) -> None:
        """The row's streams begin anew."""
        self._wide[row] = 0
        self._narrow[row] = 0


def _correlate(wave: Floats, size: int) -> Floats:
    """[R, S + 31] to [R, S]: the side taps over every row, all rows in one call as one long row."""
    flat = wave.ravel()
    filtered = np.empty(flat.size, np.float32)
    filtered[: flat.size - _SIDE + 1] = np.correlate(flat, _TAPS, "valid")
    return filtered.reshape(wave.shape)[:, :size]


class Rational:
    """One stream from `rate_in_hz` to `rate_out_hz`, in blocks of any length.

    Blocks that are worth a whole number of samples give just that number.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int, taps: int = 32) -> None:
        common = gcd(rate_in_hz, rate_out_hz)
        self._up, self._down = rate_out_hz // common, rate_in_hz // common
        self._table = _phases(self._up, self._down, taps)
        self._turn = _turn(self._up, self._down, taps)
        self._reach = self._table.shape[1]
        self._past: Samples = np.zeros(self._reach - 1, np.int16)
        self._at = 0
        """Where the next sample out is, in 1 / `up` of a sample in, after the first new one."""
        self.delay_s = self._reach / 2 / rate_in_hz

    def feed(self, block: Samples) -> Samples:
        up, down = self._up, self._down
        whole = np.concatenate([self._past, block])
        if self._at == 0 and len(block) % down == 0:
            self._past = whole[len(block) :]
            return self._whole_turns(whole.astype(np.float32), len(block) // down)
        count = max(0, -((self._at - len(block) * up) // down))
        at = self._at + down * np.arange(count)
        windows = np.lib.stride_tricks.sliding_window_view(whole, self._reach)
        out = np.einsum("ij,ij->i", windows[at // up].astype(np.float32), self._table[at % up])
        self._at += count * down - len(block) * up
        self._past = whole[len(block) :]
        return to_samples(out)

    def _whole_turns(self, wave: Floats, turns: int) -> Samples:
        """Blocks in which every phase comes once: one matrix for all of them, five times cheaper than tap by tap."""
        windows = np.lib.stride_tricks.sliding_window_view(wave, self._down + self._reach - 1)
        return to_samples((windows[: turns * self._down : self._down] @ self._turn).ravel())


@lru_cache(maxsize=8)
def _turn(up: int, down: int, taps: int) -> Floats:
    """[down + reach - 1, up]: the filters of one turn through all phases, each in its place."""
    table = _phases(up, down, taps)
    reach = table.shape[1]
    matrix = np.zeros((down + reach - 1, up), np.float32)
    for phase in range(up):
        start = phase * down // up
        matrix[start : start + reach, phase] = table[phase * down % up]
    return matrix


@lru_cache(maxsize=8)
def _phases(up: int, down: int, taps: int) -> Floats:
    """[up, reach]: the filter for each place between two samples; it is longer when it must reject more."""
    scale = max(1.0, down / up)
    reach = 2 * int(np.ceil(taps * scale / 2))
    fraction = np.arange(up)[:, None] / up
    distance = np.arange(reach)[None, :] - (reach / 2 - 1) - fraction
    # The edge is moved inwards by half the transition: what is folded back stays below -60 dB.
    edge = (1 - 1.8 / taps) / scale
    inside = np.clip(distance / (reach / 2), -1, 1)
    window = np.i0(_BETA * np.sqrt(1 - inside**2)) / np.i0(_BETA)
    table = np.sinc(distance * edge) * window
    phases: Floats = (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
    return phases
