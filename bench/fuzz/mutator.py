"""Damaged datagrams: a valid one changed a little, often, or much, seldom. The same seed gives the same datagrams."""

import random
from collections.abc import Callable

LONGEST = 2_048
EDGES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
"""Octets at which lengths, counts and signs turn over."""


class Mutator:
    """`valid` of 100 datagrams are left as they are: a parser's state must go on for damage to meet it."""

    def __init__(self, seed: int, *, valid: int = 25) -> None:
        self.random = random.Random(seed)
        self._valid = valid
        self._ways: tuple[Callable[[bytearray], None], ...] = (
            self._flip, self._edge, self._cut, self._grow, self._repeat, self._noise,
        )  # fmt: skip

    def damage(self, data: bytes) -> bytes:
        """The datagram, or what became of it."""
        draw = self.random
        if draw.randrange(100) < self._valid:
            return data
        if draw.randrange(100) < 3:
            return draw.randbytes(draw.randrange(300))
        mutant = bytearray(data)
        for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
            draw.choice(self._ways)(mutant)
        return bytes(mutant[:LONGEST])

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def _edge(self, data: bytearray) -> None:
        """Headers are at the front: half of these go there."""
        if data:
            end = min(len(data), 16) if self.random.randrange(2) else len(data)
            data[self.random.randrange(end)] = self.random.choice(EDGES)

    def _cut(self, data: bytearray) -> None:
        del data[self.random.randrange(len(data) + 1) :]

    def _grow(self, data: bytearray) -> None:
        data.extend(self.random.randbytes(self.random.choice((1, 3, 4, 80, 1_500))))

    def _repeat(self, data: bytearray) -> None:
        """A part of it once more, somewhere: counts and lengths no longer fit."""
        if data:
            start = self.random.randrange(len(data))
            part = data[start : start + self.random.choice((1, 4, 8, 24))]
            at = self.random.randrange(len(data) + 1)
            data[at:at] = part

    def _noise(self, data: bytearray) -> None:
        start = self.random.randrange(len(data) + 1)
        size = min(len(data) - start, self.random.choice((2, 4, 16)))
        data[start : start + size] = self.random.randbytes(size)
