"""Slow, obvious versions of the playout's array steps: one leg, one packet, one sample at a time."""

import math
from collections import deque


def splice(first: list[int], second: list[int]) -> list[int]:
    """Two frames heard as one: cut where 5 ms of them are most alike, of places half a millisecond apart."""
    size = len(first)
    fade = size // 4

    def likeness(start: int) -> float:
        a, b = first[start : start + fade], second[start : start + fade]
        product = sum(float(x) * y for x, y in zip(a, b, strict=True))
        return product / math.sqrt(sum(float(x) * x for x in a) * sum(float(y) * y for y in b) + 1.0)

    start = max(range(0, size - fade + 1, size // 40), key=likeness)
    out = []
    for index in range(size):
        share = min(1.0, max(0.0, (index - start + 1) / (fade + 1)))
        out.append(round(first[index] * (1 - share) + second[index] * share))
    return out


class Numbers:
    """Which packets of a leg came before, and which after a later one, of the last 64 numbers."""

    def __init__(self) -> None:
        self.came: set[int] = set()
        self.top = 0
        self.again = self.reordered = 0

    def packet(self, ext: int) -> bool:
        """Whether it is a repetition."""
        if ext > self.top:
            self.top = ext
            self.came = {number for number in self.came if number > ext - 64} | {ext}
            return False
        if ext in self.came and ext > self.top - 64:
            self.again += 1
            return True
        self.came.add(ext)
        self.reordered += 1
        return False


class Ring:
    """A leg's frames: what is heard if one is played per tick from frame `play` on, packets of whole 10 ms."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        self.play = 0
        self.samples: dict[int, int] = {}
        self.late = 0
        self.top = -1

    def packet(self, position: int, payload: list[int]) -> None:
        if (position + len(payload) - 1) // 160 < self.play:
            self.late += 1
        for offset, octet in enumerate(payload):
            frame = (position + offset) // 160
            if self.play <= frame < self.play + self.ahead:
                self.samples[position + offset] = octet
                self.top = max(self.top, frame)

    def tick(self) -> list[int] | None:
        """The octets of the frame due, None where not all of them are there."""
        start = self.play * 160
        self.play += 1
        found = [self.samples.get(place) for place in range(start, start + 160)]
        whole = [octet for octet in found if octet is not None]
        return whole if len(whole) == 160 else None


class Lateness:
    """How late packets come: every one in a list of milliseconds above the least transit, the newest last."""

    def __init__(self) -> None:
        self.transits: deque[int] = deque(maxlen=2_000)

    def packet(self, transit_ns: int) -> None:
        self.transits.append(transit_ns)

    def target_ns(self, share: float) -> int:
        least = min(self.transits)
        above = sorted(transit - least for transit in self.transits)
        return above[min(len(above) - 1, math.ceil(share * len(above)) - 1)]
