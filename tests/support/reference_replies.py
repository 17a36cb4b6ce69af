"""The plain version of `mediaworker.core.outbound.playout` for one leg: sentences of a turn as lists of samples."""

from dataclasses import dataclass, field


@dataclass
class PlainSentence:
    turn: int
    number: int
    samples: list[int] = field(default_factory=list)
    ended: bool = False
    played: int = 0
    """Frames."""

    def frames(self, size: int) -> int:
        return -(-len(self.samples) // size) if self.ended else len(self.samples) // size


@dataclass
class PlainReplies:
    """Events are ("started", turn, number, 0) and ("ended", turn, number, samples)."""

    size: int
    sentences: list[PlainSentence] = field(default_factory=list)
    paused: bool = False
    turn: int | None = None
    last: tuple[int, int, int] = (-1, -1, 0)
    events: list[tuple[str, int, int, int]] = field(default_factory=list)

    def queue(self, turn: int, number: int, samples: list[int], *, last: bool) -> None:
        newest = self.sentences[-1] if self.sentences else None
        if newest is None or newest.ended or (newest.turn, newest.number) != (turn, number):
            if newest:
                newest.ended = True
            newest = PlainSentence(turn, number)
            self.sentences.append(newest)
        newest.samples += samples
        newest.ended = newest.ended or last
        self._settle()

    def heard(self) -> tuple[int, int, int]:
        first = self.sentences[0] if self.sentences else None
        if first and first.played:
            return (first.turn, first.number, min(first.played * self.size, len(first.samples)))
        return self.last

    def flush(self) -> tuple[int, int, int]:
        self.last = self.heard()
        self.sentences.clear()
        self.paused = False
        return self.last

    def tick(self) -> list[int] | None:
        """A frame, or None where there is none to play."""
        first = next((s for s in self.sentences if s.frames(self.size) > s.played), None)
        if self.paused or first is None:
            return None
        if first.played == 0 and first.turn != self.turn:
            self.turn = first.turn
            self.events.append(("started", first.turn, first.number, 0))
        at = first.played * self.size
        frame = first.samples[at : at + self.size]
        first.played += 1
        self._settle()
        return frame + [0] * (self.size - len(frame))

    def _settle(self) -> None:
        while self.sentences and self.sentences[0].ended:
            first = self.sentences[0]
            if first.played < first.frames(self.size):
                return
            self.last = (first.turn, first.number, len(first.samples))
            self.events.append(("ended", *self.last))
            self.sentences.pop(0)
