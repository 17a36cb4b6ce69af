"""What was said in a dialogue, as far as it was heard: what an engine gets to see.

The agent's side holds only what the caller heard (I5): a reply that was cut off is cut in the history at the word that
had been played, and a reply of which nothing was played is not there at all.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

SAMPLES_PER_CHAR = 533.0
"""15 characters a second at 8 kHz, about 165 words a minute; each call learns its voice's own figure."""

_LEARN = 0.3
_KEPT = 400
"""Entries kept of a dialogue; older ones are forgotten (I6)."""


class ChatMessage(NamedTuple):
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(slots=True)
class UserSaid:
    turn: int
    text: str


@dataclass(slots=True)
class AgentSaid:
    """A reply; `text` grows as sentences are handed to TTS and is cut when the caller interrupts."""

    turn: int
    text: str = ""
    interrupted: bool = False


@dataclass(slots=True)
class Pace:
    """How long text becomes as audio in this call, learned from sentences played to their end."""

    samples_per_char: float = SAMPLES_PER_CHAR

    def learn(self, text: str, samples: int) -> None:
        if samples > 0 and len(text) >= 4:
            self.samples_per_char += _LEARN * (samples / len(text) - self.samples_per_char)

    def samples(self, text: str) -> int:
        return int(len(text) * self.samples_per_char)


@dataclass(slots=True)
class History:
    """Both sides in order."""

    prompt: str = ""
    entries: list[UserSaid | AgentSaid] = field(default_factory=list)

    def user(self, turn: int, text: str) -> None:
        """The caller said something; nothing when there are no words."""
        if text.strip():
            self._add(UserSaid(turn, text.strip()))

    def agent(self, turn: int) -> AgentSaid:
        """A reply begins; the caller of this fills the entry in."""
        entry = AgentSaid(turn)
        self._add(entry)
        return entry

    def pending(self) -> bool:
        """The caller's last words have no answer yet."""
        heard = [entry for entry in self.entries if entry.text]
        return bool(heard) and isinstance(heard[-1], UserSaid)

    def user_turns(self) -> int:
        return len({entry.turn for entry in self.entries if isinstance(entry, UserSaid)})

    def messages(self, limit: int, extra: str = "") -> list[ChatMessage]:
        """The prompt and the newest `limit` messages; `extra` is something the caller may just have said."""
        said = [_message(entry) for entry in self.entries if entry.text]
        if extra:
            said.append(ChatMessage("user", extra))
        head = [ChatMessage("system", self.prompt)] if self.prompt else []
        return head + said[-limit:]

    def _add(self, entry: UserSaid | AgentSaid) -> None:
        self.entries.append(entry)
        del self.entries[:-_KEPT]


def _message(entry: UserSaid | AgentSaid) -> ChatMessage:
    if isinstance(entry, UserSaid):
        return ChatMessage("user", entry.text)
    return ChatMessage("assistant", f"{entry.text}…" if entry.interrupted else entry.text)


def heard_part(text: str, played: int, total: int) -> str:
    """The words of `text` that had been played whole when `played` of its `total` samples had left the socket.

    The sentence did not reach its end, so the last word is never among them, whatever an estimated `total` says.
    """
    last_gap = text.rstrip().rfind(" ")
    if last_gap < 0 or played <= 0 or total <= 0:
        return ""
    reached = len(text) * played // total
    if reached >= last_gap:
        return text[:last_gap].rstrip()
    return text[: text.rfind(" ", 0, reached + 1)].rstrip() if " " in text[: reached + 1] else ""
