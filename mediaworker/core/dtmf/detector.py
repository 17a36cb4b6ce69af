"""Key presses heard in the sound itself, of all legs that need it at once.

Blocks of 20 ms, every 10 ms: each half block is projected on the eight frequencies of ITU-T Q.23 by one matrix product
(what eight Goertzel filters give), and a block is the sum of two turned halves. A block hits a digit when its two
strongest frequencies, one per group, hold nearly all of its energy. How far each is off its nominal frequency
is read from the turn of its phase since the block before, which is far finer than the 50 Hz width of a block. A
digit begins with NEEDED hits in a row and ends with GAP misses: 40 ms of tone and 40 ms of pause are found wherever they
lie, tones below 23 ms and breaks of 10 ms are not (ITU-T Q.24 annex A). Must not know RTP or legs other than as rows.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core.dtmf.tones import GRID, HIGH_HZ, LOW_HZ, amplitude
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index, Mask
from shared.units import FRAME_SAMPLES, NARROWBAND_HZ, samples_to_ms

HALF: Final = FRAME_SAMPLES // 2
BLOCK: Final = 2 * HALF
LEAST_DBM0: Final = -36.0
"""Of the weaker tone. Q.24 asks for -25 dBm (AT&T), with 8 dB less in the high group: -33."""
OFF_LIMIT: Final = 0.025
"""Of the frequency: 1.5 % must be taken, 3.5 % refused."""
TWIST_UP_DB: Final = 6.0
TWIST_DOWN_DB: Final = -11.0
"""High over low tone: +4 to -8 dB must be taken; noise and the other tone's leakage move what is measured."""
COARSE: Final = 0.25
SHARE: Final = 0.55
"""Of a block's energy that the two tones hold. A block that a tone fills to 55 % still counts."""
PURE: Final = 0.84
"""What it must be in the NEEDED blocks that begin a digit."""
NEEDED: Final = 3
"""Hits in a row that begin a digit; wherever 40 ms of tone lie, they fill two blocks, and a third to 75 %."""
GAP: Final = 3
"""Misses in a row that end it; 10 ms of silence make two at most, 40 ms four at least."""
LENGTH_BIAS: Final = 40
"""A tone of T samples hits about (T - 40) / 80 blocks: those it fills to 55 %, within five milliseconds."""

_HZ: Final = np.array(LOW_HZ + HIGH_HZ)
_OMEGA: Final = 2 * np.pi * _HZ / NARROWBAND_HZ
_GROUP: Final = len(LOW_HZ)
_OFF_HZ: Final = OFF_LIMIT * _HZ
_BIN_HZ: Final = NARROWBAND_HZ / BLOCK
_LEAST_ENERGY: Final = BLOCK * amplitude(LEAST_DBM0) ** 2 / 2
_TURN: Final = np.exp(-1j * _OMEGA * HALF).astype(np.complex64)
_DIGITS: Final = "".join(GRID)

Complex = npt.NDArray[np.complex64]
Singles = npt.NDArray[np.float32]


def _projection() -> Singles:
    """[80, 16] real and imaginary parts of e^(-j omega n), as a matrix to multiply half blocks with."""
    waves = np.exp(-1j * np.outer(np.arange(HALF), _OMEGA)).astype(np.complex64)
    matrix: Singles = waves.view(np.float32)
    return matrix


class Pressed(NamedTuple):
    """A press that ended."""

    row: int
    digit: str
    duration_ms: int


class _Block(NamedTuple):
    """20 ms of R rows."""

    wave: Complex
    """[R, 8]"""
    energy: Singles

    def only(self, keep: Index) -> "_Block":
        return _Block(self.wave[keep], self.energy[keep])


class _Hits(NamedTuple):
    """Rows whose block hit a digit."""

    rows: Index
    digit: Index
    pure: Mask
    """Whether it and the block before hold nothing else."""


@dataclass(slots=True)
class _Line:
    """What a leg with a tone, or with what may become one, is at."""

    digit: int = -1
    """The tone that sounds."""
    hits: int = 0
    misses: int = 0
    last: int = -1
    """What the last block hit."""
    run: int = 0
    """So many in a row did."""
    pure: bool = False
    """Two of them in a row were pure."""


_NO_HITS: Final = _Hits(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))


class ToneDetector:
    """State of the filters, one row per leg; frames in, presses out."""

    def __init__(self, count: int) -> None:
        self._projection = _projection()
        self._half: Complex = np.zeros((count, len(_HZ)), np.complex64)
        self._half_energy: Singles = np.zeros(count, np.float32)
        self._block: Complex = np.zeros((count, len(_HZ)), np.complex64)
        self._block_energy: Singles = np.zeros(count, np.float32)
        self._lines: dict[int, _Line] = {}

    def open(self, row: int) -> None:
        self._half[row] = 0
        self._block[row] = 0
        self._half_energy[row] = self._block_energy[row] = 0
        self._lines.pop(row, None)

    def step(self, rows: Index, pcm: Samples) -> list[Pressed]:
        """[R] rows, in order, and their next frames [R, 160]; presses that ended in them."""
        halves = pcm.astype(np.float32).reshape(-1, HALF)
        energy = np.vecdot(halves, halves).reshape(-1, 2)
        parts = (halves @ self._projection).view(np.complex64).reshape(-1, 2, len(_HZ))
        before = _Block(self._block[rows], self._block_energy[rows])
        first = _Block(self._half[rows] + _TURN * parts[:, 0], self._half_energy[rows] + energy[:, 0])
        second = _Block(parts[:, 0] + _TURN * parts[:, 1], energy[:, 0] + energy[:, 1])
        self._half[rows], self._half_energy[rows] = parts[:, 1], energy[:, 1]
        self._block[rows], self._block_energy[rows] = second
        pressed: list[Pressed] = []
        for last, block in ((before, first), (first, second)):
            hits = _look(rows, last, block)
            if hits.rows.size or self._lines:
                self._follow(rows, hits, pressed)
        return pressed

    def held(self) -> list[int]:
        """Rows in which a tone sounds."""
        return [row for row, line in self._lines.items() if line.digit >= 0]

    def _follow(self, rows: Index, hits: _Hits, pressed: list[Pressed]) -> None:
        """One block more of these rows; others, of another phase, are not due."""
        found = dict(
            zip(hits.rows.tolist(), zip(hits.digit.tolist(), hits.pure.tolist(), strict=True), strict=True)
        )
        for row in found.keys() | {row for row in self._lines if _holds(rows, row)}:
            digit, pure = found.get(row, (-1, False))
            line = self._lines.setdefault(row, _Line())
            self._count(line, digit, pure=pure)
            begins = line.run >= NEEDED and line.pure
            if line.digit >= 0 and (line.misses >= GAP or (begins and digit != line.digit)):
                pressed.append(Pressed(row, _DIGITS[line.digit], _duration_ms(line.hits)))
                line.digit, line.misses = -1, 0
            if line.digit < 0 and begins:
                line.digit, line.hits = digit, line.run
            if line.digit < 0 and digit < 0:
                del self._lines[row]

    @staticmethod
    def _count(line: _Line, digit: int, *, pure: bool) -> None:
        if digit != line.last:
            line.last, line.run, line.pure = digit, 0, False
        line.run += digit >= 0
        line.pure |= pure
        if line.digit < 0:
            return
        if digit == line.digit:
            line.hits += 1 + line.misses
            line.misses = 0
        else:
            line.misses += 1


def _holds(rows: Index, row: int) -> bool:
    """Whether a row is among sorted rows."""
    at = int(np.searchsorted(rows, row))
    return at < len(rows) and int(rows[at]) == row


def _duration_ms(hits: int) -> int:
    return round(samples_to_ms(HALF * hits + LENGTH_BIAS))


def _look(rows: Index, last: _Block, block: _Block) -> _Hits:
    """One block of every row, and the one 10 ms before it."""
    wave = block.wave
    power = wave.real**2 + wave.imag**2
    by_frequency = np.ascontiguousarray(
        power.T
    )  # a maximum over long rows is many times faster than over short ones
    strongest = np.maximum.reduce(by_frequency[:_GROUP]) + np.maximum.reduce(by_frequency[_GROUP:])
    strong = (strongest * (2 / BLOCK) > COARSE * block.energy) & (block.energy > _LEAST_ENERGY)
    coarse = np.flatnonzero(strong)
    if not coarse.size:
        return _NO_HITS
    return _measure(rows[coarse], power[coarse], last.only(coarse), block.only(coarse))


def _measure(rows: Index, power: Singles, last: _Block, block: _Block) -> _Hits:
    """The close look at blocks that have two strong frequencies."""
    low = power[:, :_GROUP].argmax(axis=1)
    high = power[:, _GROUP:].argmax(axis=1) + _GROUP
    at = np.arange(len(rows)), np.stack([low, high])
    now, then = block.wave[at], last.wave[at]
    turned = now * then.conj() * _TURN[at[1]]
    # After digital silence there is no phase to compare with: zeros have a sign, and its angle means nothing.
    off_hz = np.angle(turned) * (turned != 0) * (NARROWBAND_HZ / HALF / (2 * np.pi))
    limit_hz = _OFF_HZ[at[1]]
    # A tone off its bin's centre is seen weaker than it is, by the sinc of the distance.
    gain = (2 / BLOCK) / np.sinc(np.clip(off_hz, -limit_hz, limit_hz) / _BIN_HZ) ** 2
    level = gain * (now.real**2 + now.imag**2)
    share = level.sum(axis=0) / block.energy
    share_before = (gain * (then.real**2 + then.imag**2)).sum(axis=0) / np.maximum(last.energy, 1.0)
    twist_db = 10 * np.log10(level[1] / level[0])
    good = share >= SHARE
    pure = (np.abs(off_hz) <= limit_hz).all(axis=0) & (share >= PURE) & (share_before >= PURE)
    pure &= (twist_db <= TWIST_UP_DB) & (twist_db >= TWIST_DOWN_DB) & (level.min(axis=0) >= _LEAST_ENERGY)
    digit = low * _GROUP + high - _GROUP
    return _Hits(rows[good], digit[good], pure[good])
