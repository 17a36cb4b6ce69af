"""The tone detector once more, for one leg, frequency by frequency, with plain decisions.

Written from ITU-T Q.23/Q.24 and the rules in `mediaworker.core.dtmf.detector`; shares nothing with it but its figures.
"""

import cmath
import math
from dataclasses import dataclass, field

import numpy as np

LOW = (697.0, 770.0, 852.0, 941.0)
HIGH = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = "123A456B789C*0#D"
BLOCK, HOP = 160, 80
ZERO_DBM0 = 32_636 / 10 ** (3.17 / 20)
LEAST = BLOCK * (ZERO_DBM0 * 10 ** (-36 / 20)) ** 2 / 2


def correlation(samples: list[int], hz: float) -> complex:
    """Sum of samples times e^(-j 2 pi hz n / 8000)."""
    turn = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / 8_000)
    return complex(np.dot(turn, np.array(samples, np.float64)))


def goertzel(samples: list[int], hz: float) -> complex:
    """The same by the second-order recursion."""
    omega = 2 * math.pi * hz / 8_000
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample + 2 * math.cos(omega) * last - before
    turned = last - cmath.exp(-1j * omega) * before
    return turned * cmath.exp(-1j * omega * (len(samples) - 1))


@dataclass
class Block:
    waves: dict[float, complex] = field(default_factory=lambda: dict.fromkeys(LOW + HIGH, 0j))
    energy: float = 0.0


@dataclass
class Detector:
    samples: list[int] = field(default_factory=lambda: [0] * HOP)
    """The last half block."""
    last: Block = field(default_factory=Block)
    digit: str = ""
    hits: int = 0
    misses: int = 0
    run_of: str = ""
    run: int = 0
    pure: bool = False

    def frame(self, frame: list[int]) -> list[tuple[str, int]]:
        """Digits that ended in these 160 samples, and how long they sounded in ms."""
        self.samples += frame
        found: list[tuple[str, int]] = []
        while len(self.samples) >= BLOCK:
            samples = self.samples[:BLOCK]
            block = Block(
                {hz: correlation(samples, hz) for hz in LOW + HIGH}, float(sum(s * s for s in samples))
            )
            self._follow(*self._judge(block), found)
            self.last = block
            del self.samples[:HOP]
        return found

    def _judge(self, block: Block) -> tuple[str, bool]:
        """The digit that the block hits, and whether it and the one before hold nothing else."""
        low = max(LOW, key=lambda hz: abs(block.waves[hz]))
        high = max(HIGH, key=lambda hz: abs(block.waves[hz]))
        tones = [abs(block.waves[hz]) ** 2 * 2 / BLOCK for hz in (low, high)]
        if block.energy <= LEAST or sum(tones) <= 0.25 * block.energy:
            return "", False
        levels, before, near = [], 0.0, True
        for hz in (low, high):
            turn = (
                block.waves[hz]
                * self.last.waves[hz].conjugate()
                * cmath.exp(-2j * math.pi * hz * HOP / 8_000)
            )
            off = cmath.phase(turn) * 8_000 / HOP / (2 * math.pi) if turn else 0.0
            limit = 0.025 * hz
            near = near and abs(off) <= limit
            off = min(max(off, -limit), limit) / (8_000 / BLOCK)
            seen = (math.sin(math.pi * off) / (math.pi * off)) ** 2 if off else 1.0
            levels.append(abs(block.waves[hz]) ** 2 * 2 / BLOCK / seen)
            before += abs(self.last.waves[hz]) ** 2 * 2 / BLOCK / seen
        share = sum(levels) / block.energy
        if share < 0.55:
            return "", False
        twist = 10 * math.log10(levels[1] / levels[0])
        pure = near and share >= 0.84 and before >= 0.84 * max(self.last.energy, 1.0)
        pure = pure and -11 <= twist <= 6 and min(levels) >= LEAST
        return KEYS[4 * LOW.index(low) + HIGH.index(high)], pure

    def _follow(self, digit: str, pure: bool, found: list[tuple[str, int]]) -> None:
        if digit != self.run_of:
            self.run_of, self.run, self.pure = digit, 0, False
        if digit:
            self.run += 1
            self.pure = self.pure or pure
        if self.digit and digit == self.digit:
            self.hits += self.misses + 1
            self.misses = 0
        elif self.digit:
            self.misses += 1
        begins = self.run >= 3 and self.pure
        if self.digit and (self.misses >= 3 or (begins and digit != self.digit)):
            found.append((self.digit, 10 * self.hits + 5))
            self.digit, self.misses = "", 0
        if not self.digit and begins:
            self.digit, self.hits = digit, self.run
