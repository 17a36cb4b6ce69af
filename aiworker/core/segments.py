"""Cuts a stream of tokens into pieces worth speaking: a first clause as soon as there is one, then sentences.

The first piece decides how soon the caller hears something; later ones decide how natural it sounds. Where the text is
cut depends on the text alone, never on how it was split into tokens. It must not drop a word.
"""

import re

MIN_CHARS = 12
"""Shorter pieces wait for more: a synthesiser gives "Yes." alone the melody of a whole announcement."""

MAX_CHARS = 200
"""A sentence that does not end is cut here, so that one call's sentence cannot hold up the synthesiser for others."""

_CJK_SENTENCE_END = "\u3002\uff01\uff1f"
_CJK_CLAUSE_END = _CJK_SENTENCE_END + "\uff0c\uff1b\uff1a\u3001"
_SENTENCE_END = ".!?\u2026" + _CJK_SENTENCE_END
_CLAUSE_END = _SENTENCE_END + ",;:\u2014" + _CJK_CLAUSE_END
_CLOSERS = "\"')]\u00bb\u201d\u2019"
_ABBREVIATIONS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "sr",
        "jr",
        "vs",
        "etc",
        "no",
        "approx",
        "dept",
        "inc",
        "ltd",
        "co",
        "fig",
        "ext",
        "tel",
        "min",
        "max",
        "e.g",
        "i.e",
        "a.m",
        "p.m",
        "u.s",
    ],
)
_MARKUP = re.compile(r"\*\*|__|`|^#+\s+|^\s*[-•*]\s+", re.MULTILINE)


def speakable(text: str) -> str:
    """`text` without the markup that models like to write, on one line."""
    return " ".join(_MARKUP.sub("", text).split())


class Segmenter:
    """Feeds on tokens; gives pieces in order. One per reply."""

    def __init__(self) -> None:
        self._buffer = ""
        self._first = True

    def feed(self, token: str) -> list[str]:
        """The pieces that `token` completed."""
        self._buffer += token
        pieces: list[str] = []
        while True:
            self._buffer = self._buffer.lstrip()
            cut = self._cut()
            if cut is None:
                return pieces
            self._emit(self._buffer[:cut], pieces)
            self._buffer = self._buffer[cut:]

    def finish(self) -> list[str]:
        """What is left when the stream ended."""
        pieces: list[str] = []
        self._emit(self._buffer, pieces)
        self._buffer = ""
        return pieces

    def _emit(self, raw: str, pieces: list[str]) -> None:
        piece = speakable(raw)
        if any(char.isalnum() for char in piece):
            pieces.append(piece)
            self._first = False

    def _cut(self) -> int | None:
        """Where the first piece of the buffer ends, or None while that cannot be said."""
        text = self._buffer
        ends = _CLAUSE_END if self._first else _SENTENCE_END
        for at in range(MIN_CHARS - 1, min(len(text) - 1, MAX_CHARS)):
            if text[at] == "\n" or (text[at] in _CJK_CLAUSE_END and text[at] in ends):
                return at + 1  # these need no space after them
            if text[at + 1].isspace() and _is_end(text, at, ends):
                return at + 1
        return _forced(text) if len(text) > MAX_CHARS else None


def split(text: str) -> list[str]:
    """The pieces of a whole text."""
    segmenter = Segmenter()
    return segmenter.feed(text) + segmenter.finish()


def _is_end(text: str, at: int, ends: str) -> bool:
    while at > 0 and text[at] in _CLOSERS:
        at -= 1
    if text[at] not in ends:
        return False
    if text[at] != ".":
        return True
    word = text[:at].rpartition(" ")[2].strip(_CLOSERS + "([\"'").lower()
    return not (word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()) or text[:at].isdigit())


def _forced(text: str) -> int:
    """A cut for a text longer than MAX_CHARS: after the last clause, else the last word, else anywhere."""
    head = text[:MAX_CHARS]
    for marks in (_CLAUSE_END, ""):
        for at in range(MAX_CHARS - 2, MIN_CHARS, -1):
            if head[at + 1].isspace() and (not marks or head[at] in marks):
                return at + 1
    return MAX_CHARS
