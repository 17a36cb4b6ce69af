"""What the agent says within one turn: sentences that wait, are at TTS, are being played, were played.

At most AHEAD sentences are unplayed at any time, so that an interruption wastes little and a slow engine still has a
sentence of time. Sentence numbers rise within the turn, also when the agent speaks twice in it (after a key press, or
when the caller is silent). Each stretch of speech is an entry of the history.
"""

from collections import deque
from dataclasses import dataclass, field

from aiworker.core.history import AgentSaid, History, Pace, heard_part
from shared.units import NS_PER_S

AHEAD = 2
_STALL_NS = 8 * NS_PER_S


@dataclass(slots=True)
class _Part:
    entry: AgentSaid
    start: int
    logged: bool = False


@dataclass(slots=True)
class Reply:
    """The agent's speech of one turn."""

    turn: int
    texts: list[str] = field(default_factory=list)
    """Sentences handed to TTS; the index is the segment number."""
    waiting: deque[str] = field(default_factory=deque)
    complete: bool = True
    """Nothing more will come to `waiting`."""
    hangup: bool = False
    announced: int = -1
    """Segments the last ReplyEnd spoke of."""
    played: int = 0
    """Segments played to their end."""
    _parts: list[_Part] = field(default_factory=list)
    _open: bool = False

    def begin(self, pieces: list[str] | None = None, *, hangup: bool = False) -> None:
        """A new stretch of speech; with `pieces` it is whole already. What still waited is given up."""
        self.waiting.clear()
        self.waiting.extend(pieces or [])
        self.complete = pieces is not None
        self.hangup = hangup
        self._open = False

    def next(self, history: History) -> str | None:
        """The sentence to hand to TTS now, if there is room ahead."""
        if not self.waiting or len(self.texts) - self.played >= AHEAD:
            return None
        text = self.waiting.popleft()
        if not self._open:
            self._parts.append(_Part(history.agent(self.turn), len(self.texts)))
            self._open = True
        self.texts.append(text)
        part = self._parts[-1]
        part.entry.text = " ".join(self.texts[part.start :])
        return text

    def said(self) -> bool:
        """A sentence of the present stretch was handed to TTS."""
        return self._open

    def is_last(self) -> bool:
        """The newest sentence at TTS ends the reply."""
        return self.complete and not self.waiting

    def finished(self) -> bool:
        return self.is_last() and self.played >= len(self.texts)

    def unplayed(self) -> list[tuple[int, str]]:
        return list(enumerate(self.texts))[self.played :]

    def segment_played(self, segment: int) -> bool:
        """Whether that is news."""
        if not self.played <= segment < len(self.texts):
            return False
        self.played = segment + 1
        return True

    def stall_ns(self, pace: Pace, rate_hz: int) -> int:
        """After so long without news the sentences at TTS count as played: their reports were lost with Redis."""
        samples = sum(pace.samples(text) for _, text in self.unplayed())
        return _STALL_NS + 2 * samples * NS_PER_S // rate_hz

    def cut(self, segment: int, samples: int, total: int, pace: Pace) -> None:
        """The caller interrupted: keeps of every stretch what was heard; `segment` was playing (-1: none was)."""
        heard = max(self.played, segment)
        for number, part in enumerate(self._parts):
            end = self._parts[number + 1].start if number + 1 < len(self._parts) else len(self.texts)
            words = self.texts[part.start : max(part.start, min(end, heard))]
            whole = heard >= end
            if part.start <= segment < end and segment >= self.played:
                text = self.texts[segment]
                words.append(heard_part(text, samples, total or pace.samples(text)))
            part.entry.text = " ".join(word for word in words if word)
            part.entry.interrupted = not whole or (number + 1 == len(self._parts) and not self.is_last())

    def heard(self) -> list[AgentSaid]:
        """Entries that are final now and were not given before."""
        fresh = [part for part in self._parts if not part.logged]
        for part in fresh:
            part.logged = True
        return [part.entry for part in fresh]
