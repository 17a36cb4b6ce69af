"""When a frame of one leg is heard, told leg by leg and tick by tick from decision 0005; times in ms."""

from dataclasses import dataclass, field

FRAME = 20.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is tuned: times in ms, `patience` and `hurried` in ticks, `alive` in frames."""

    spare: float
    hurry: float
    patience: int
    hurried: int
    alive: int
    longest: int
    """Frames of a packet."""
    window: int
    """Numbers that are remembered."""


@dataclass
class Frame:
    """A frame of which something came: its packet's number, whether all of it is there, whether it is loud."""

    number: int
    whole: bool
    loud: bool


@dataclass
class PlainPace:
    """`ahead` frames may wait; `slots` are remembered, what is older is overwritten."""

    ahead: int
    slots: int
    figures: Figures
    goal: float = 0.0
    noise: bool = False
    calm: int = -1
    loud_room: bool = False
    """Whether what was heard last is loud."""
    play: int = 0
    top: int = -1
    waited: int = 0
    patience: int = 0
    run: int = 0
    last_good: int = -1
    losses: int = 0
    came: set[int] = field(default_factory=set)
    """Numbers of all packets, late ones included."""
    frames: dict[int, tuple[int, Frame]] = field(default_factory=dict)

    def insert(self, at: int, frame: Frame) -> None:
        self.frames[at % self.slots] = (at, frame)
        self.top = max(self.top, at)

    def there(self, at: int) -> Frame | None:
        found = self.frames.get(at % self.slots)
        return found[1] if found and found[0] == at else None

    def missing(self, before: int, number: int) -> int:
        newest = max(self.came, default=0)
        came = {there for there in self.came if there > newest - self.figures.window}
        return sum(there not in came for there in range(before + 1, number))

    def tick(self, now: float) -> tuple[str, int]:
        """What becomes of the leg in this tick, and which frame is meant."""
        due = self.there(self.play)
        spare = now - self.play * FRAME - self.goal
        act, step = self._whole(due, spare) if due and due.whole else self._hole(spare)
        meant = self.play
        self.play += step
        if act in {"PLAY", "MERGE"}:
            self.run = self.waited = 0
            self.last_good = self.play - 1
        else:
            self.run += 1
        return act, meant

    def _whole(self, due: Frame, spare: float) -> tuple[str, int]:
        if spare >= self.figures.spare:
            self.patience = max(self.patience, 0) + 1
            following = self.there(self.play + 1)
            if following and following.whole and (self.top - self.play) * FRAME > spare - FRAME:
                enough = self.figures.hurried if spare >= self.figures.hurry else self.figures.patience
                if self.patience >= enough or not (due.loud or following.loud):
                    self.patience = 0
                    return "MERGE", 2
        elif spare < 0:
            self.patience = min(self.patience, 0) - 1
            if self.patience <= -self.figures.patience or not (due.loud or self.loud_room):
                self.patience = 0
                return "HOLD", 0
        else:
            self.patience = 0
        return "PLAY", 1

    def _hole(self, spare: float) -> tuple[str, int]:
        self.patience = 0
        act, step = self._before_more(spare) if self.top > self.play else ("HOLD", 0)
        if act == "HOLD" and (self.noise or self.run >= self.figures.alive):
            act = "QUIET"
        if act == "HOLD" or (act == "QUIET" and step == 0):
            self.waited += 1
        return act, step

    def _before_more(self, spare: float) -> tuple[str, int]:
        gap = next((gap for gap in range(self.ahead) if self.there(self.play + gap)), self.ahead)
        following, before = (
            self.there(self.play + gap) if gap < self.ahead else None,
            self.there(self.last_good),
        )
        known = before.number if before else self.calm
        missing = self.missing(known, following.number) if following else 0
        silence = bool(following and gap and (not missing or following.number == self.calm + 1))
        if not silence and spare < 0 and self.waited == 0:
            return "HOLD", 0
        enough = max(int(spare // FRAME), 0) if silence else self.waited
        passed = min(gap, enough) if gap < self.ahead else 0
        self.play += passed
        self.waited = 0 if silence else self.waited - passed
        self.losses += 0 if silence else min(passed, missing * self.figures.longest)
        if passed == gap and following and following.whole:
            return "PLAY", 1
        if silence and passed < gap:
            return "QUIET", 0 if spare < 0 else 1
        self.losses += self.missing(known, max(self.came, default=0) + 1) > 0
        return "LOSS", 1
