"""One stream of an engine: what it gave so far, and whether any of it may leave the worker yet."""

import re
from dataclasses import dataclass, field

from aiworker.core.segments import Segmenter, split

MAX_PIECES = 200
"""Sentences of one stream; a model that does not stop is not heard further. Media workers take 256 in a turn."""

_WORD = re.compile(r"\w+")


@dataclass(slots=True)
class Stream:
    generation: int
    engine: int
    text: str
    """What the caller was thought to say, of a speculation."""
    gated: bool
    first_token_ns: int | None = None
    hangup: bool = False
    done: bool = False
    _segmenter: Segmenter = field(default_factory=Segmenter)
    _ready: list[str] = field(default_factory=list)
    _pieces: int = 0

    def feed(self, text: str) -> None:
        self._add(self._segmenter.feed(text))

    def finish(self, farewell: str) -> None:
        """The stream ended; an engine that hung up without a word says `farewell`."""
        self._add(self._segmenter.finish())
        self.done = True
        if self.hangup and not self._pieces:
            self._add(split(farewell))

    def empty(self) -> bool:
        """Nothing to say and nothing to do came of it."""
        return not self._pieces and not self.hangup

    def taken(self) -> list[str]:
        """The pieces that are new."""
        ready, self._ready = self._ready, []
        return ready

    def _add(self, pieces: list[str]) -> None:
        kept = pieces[: MAX_PIECES - self._pieces]
        self._ready += kept
        self._pieces += len(kept)


def same_words(one: str, other: str) -> bool:
    """Whether two transcripts say the same: case and punctuation come and go between two decodes of one utterance."""
    return _WORD.findall(one.lower()) == _WORD.findall(other.lower())
