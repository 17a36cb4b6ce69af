"""The source policy of one leg, one packet at a time, as docs/media-security.md tells it."""

from dataclasses import dataclass

SILENCE_NS = 200_000_000
LATCH_NS = 1_000_000_000


@dataclass
class Leg:
    """`allowed` are the addresses that media may come from; 0 is no source yet. `roams`: it has media networks."""

    allowed: frozenset[int]
    opened_ns: int = 0
    latch: bool = False
    roams: bool = True
    source: int = 0
    ssrc: int | None = None
    heard_ns: int = -(1 << 60)

    def packet(self, source: int, ssrc: int, now_ns: int) -> str:
        """ "" for one that is taken, else why it is refused."""
        if self.source:
            if source != self.source:
                return "source"
        elif source not in self.allowed or now_ns < self.opened_ns:
            return "source"
        if self.ssrc is not None and ssrc != self.ssrc:
            let_go = not self.source
            if let_go or now_ns - self.heard_ns < SILENCE_NS:
                return "ssrc"
        self.source, self.ssrc, self.heard_ns = source, ssrc, now_ns
        return ""

    def watch(self, now_ns: int) -> None:
        """The look of every half second: a leg with one address alone has no other to let come."""
        if self.latch and self.roams and self.ssrc is not None and now_ns - self.heard_ns > LATCH_NS:
            self.source = 0

    def move(self, allowed: frozenset[int]) -> None:
        """The signalling named another address."""
        self.allowed, self.source, self.ssrc = allowed, 0, None
