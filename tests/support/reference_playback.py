"""The plain version of `mediaworker.core.playing.playback`: one line as a list of samples, each knowing whose it is."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PlainItem:
    number: int
    samples: deque[int] | None
    """None: a mark."""
    whole: bool = True
    played: int = 0
    told: bool = False


@dataclass
class PlainLine:
    """Items in order; `frame` samples per tick. Events are (item, what, samples, position)."""

    frame: int
    items: list[PlainItem] = field(default_factory=list)
    position: int = 0
    paused: bool = False
    events: list[tuple[int, str, int, int]] = field(default_factory=list)

    def add(self, number: int, samples: list[int] | None, *, whole: bool = True) -> None:
        self.items.append(PlainItem(number, None if samples is None else deque(samples), whole))
        self._settle()

    def feed(self, number: int, samples: list[int], *, whole: bool) -> None:
        for item in self.items:
            if item.number == number and item.samples is not None:
                item.samples.extend(samples)
                item.whole = whole
        self._settle()

    def flush(self, number: int = 0) -> None:
        for item in [i for i in self.items if not number or i.number == number]:
            self.events.append((item.number, "flushed", item.played, self.position))
            self.items.remove(item)
        if not number:
            self.paused = False
        self._settle()

    def tick(self) -> list[int]:
        """The next frame, sample by sample."""
        out: list[int] = []
        while not self.paused and len(out) < self.frame:
            first: Any = self.items[0] if self.items else None
            if first is None or first.samples is None or not first.samples:
                break
            if not first.told:
                first.told = True
                self.events.append((first.number, "started", 0, self.position))
            out.append(first.samples.popleft())
            first.played += 1
            self.position += 1
            self._settle()
        return out + [0] * (self.frame - len(out))

    def _settle(self) -> None:
        """Ends what is over: a mark that is first, an item that was played and gets no more."""
        while self.items:
            first = self.items[0]
            if first.samples is None:
                self.events.append((first.number, "mark", 0, self.position))
            elif not first.samples and first.whole:
                if not first.told:
                    self.events.append((first.number, "started", 0, self.position))
                self.events.append((first.number, "finished", first.played, self.position))
            else:
                return
            self.items.pop(0)
