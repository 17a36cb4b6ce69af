"""Rebuilds a dialogue from the call's event log, after the worker that led it died.

Nothing that was spoken is spoken again: sentences handed to TTS count as heard unless the log says otherwise, because
TTS and media went on without their dialogue.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiworker.core.history import AgentSaid, History, UserSaid, heard_part
from aiworker.core.script import PRESSED
from shared.contracts import CallEvent


@dataclass(slots=True)
class Rebuilt:
    """What the log says of a dialogue."""

    history: History = field(default_factory=History)
    turn: int = 0
    """Newest turn that anything in the log belongs to."""
    final_turn: int = -1
    """Newest turn whose final transcript is known."""
    texts: list[str] = field(default_factory=list)
    """Sentences of the newest turn handed to TTS."""
    last: bool = False
    """The newest of them ended its reply."""
    hangup: bool = False
    heard: bool = False
    """The reply of the newest turn was played or cut already."""


def rebuild(events: Iterable[CallEvent]) -> Rebuilt:
    """The dialogue in `events`; entries that are not understood are passed over."""
    found = Rebuilt()
    for event in events:
        reader = _READERS.get(event.kind)
        if reader is not None:
            reader(found, event.data)
    return found


def _turn(found: Rebuilt, data: dict[str, Any]) -> int:
    turn = int(data.get("turn", found.turn))
    if turn > found.turn:
        found.turn, found.texts, found.last, found.hangup, found.heard = turn, [], False, False, False
    return turn


def _transcript(found: Rebuilt, data: dict[str, Any]) -> None:
    if data.get("kind", "final") != "final":
        return
    turn = _turn(found, data)
    if turn > found.final_turn:
        found.final_turn = turn
        found.history.user(turn, str(data.get("text", "")))


def _dtmf(found: Rebuilt, data: dict[str, Any]) -> None:
    _turn(found, data)
    found.history.user(found.turn, f"{PRESSED}{data.get('digit', '')}")


def _segment(found: Rebuilt, data: dict[str, Any]) -> None:
    turn, text = _turn(found, data), str(data.get("text", ""))
    if turn != found.turn or int(data.get("segment", -1)) != len(found.texts):
        return  # said again to another TTS worker
    entry = _open_entry(found, turn) if found.texts and not found.last and not found.heard else None
    if entry is None:
        entry = found.history.agent(turn)
    entry.text = f"{entry.text} {text}".strip()
    found.texts.append(text)
    found.last, found.hangup, found.heard = bool(data.get("last")), bool(data.get("hangup")), False


def _heard(found: Rebuilt, data: dict[str, Any]) -> None:
    turn = int(data.get("turn", -1))
    entry = _open_entry(found, turn)
    if entry is not None:
        entry.text, entry.interrupted = str(data.get("text", "")), bool(data.get("interrupted"))
    if turn == found.turn:
        found.heard = True


def _floor(found: Rebuilt, data: dict[str, Any]) -> None:
    texts, before = found.texts, found.turn
    turn = _turn(found, data)
    segment = int(data.get("heard_segment", -1))
    if turn == before or int(data.get("heard_turn", -1)) != before or not 0 <= segment < len(texts):
        return
    entry = _open_entry(found, before)
    if entry is not None:
        total = int(data.get("heard_of_samples", 0)) or int(len(texts[segment]) * 533)
        words = [*texts[:segment], heard_part(texts[segment], int(data.get("heard_samples", 0)), total)]
        entry.text, entry.interrupted = " ".join(word for word in words if word), True


def _open_entry(found: Rebuilt, turn: int) -> AgentSaid | None:
    for entry in reversed(found.history.entries):
        if isinstance(entry, AgentSaid) and entry.turn == turn:
            return entry
        if isinstance(entry, UserSaid) and entry.turn == turn:
            return None
    return None


_READERS = {
    "transcript": _transcript,
    "dtmf": _dtmf,
    "agent.segment": _segment,
    "agent.heard": _heard,
    "speech.started": _floor,
}
