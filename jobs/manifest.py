"""The manifest of a recorded call, made of its event log: who said what, when, and what happened.

Pure: events in, plain data out. `at_s` counts from the answer of the call, where its recording begins; a caller's line
stands where the caller began to speak, the agent's where its first packet of that turn left, as far as the log tells.
Sources: the table of kinds in shared/contracts/events.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobs.audio import AudioFile
from shared.contracts import CallEvent

MANIFEST_VERSION = 1

_NS = 1_000_000_000


def build(
    call_id: str, events: Sequence[CallEvent], files: Iterable[AudioFile], duration_s: float
) -> dict[str, Any]:
    """The manifest as it is written to JSON; `duration_s` is the recording's."""
    zero_ns = _zero_ns(events)
    return {
        "version": MANIFEST_VERSION,
        "call_id": call_id,
        "started": datetime.fromtimestamp(zero_ns / _NS, UTC).isoformat() if events else "",
        "duration_s": round(duration_s, 3),
        **_about(events),
        "files": [asdict(file) for file in files],
        "transcript": transcript(events, zero_ns),
        "events": [
            {"kind": e.kind, "at_s": _at_s(e.at_ns, zero_ns), "by": e.by, "data": _plain(e.data)}
            for e in events
        ],
    }


def transcript(events: Sequence[CallEvent], zero_ns: int) -> list[dict[str, Any]]:
    """What both sides said, in the order in which they began: `{who, turn, at_s, text, interrupted}`."""
    began = _first_by_turn(events, "speech.started")
    replied = _first_by_turn(events, "turn.latency") or {}
    written = _first_by_turn(events, "agent.segment")
    lines = []
    for event in events:
        turn = event.data.get("turn", 0)
        text = str(event.data.get("text", ""))
        if event.kind == "transcript" and event.data.get("kind") == "final" and text:
            at_ns, who = began.get(turn, event.at_ns), "caller"
        elif event.kind == "agent.heard" and text:
            at_ns, who = replied.get(turn, written.get(turn, event.at_ns)), "agent"
        else:
            continue
        interrupted = bool(event.data.get("interrupted", False))
        lines.append(
            {
                "who": who,
                "turn": turn,
                "at_s": _at_s(at_ns, zero_ns),
                "text": text,
                "interrupted": interrupted,
            }
        )
    return sorted(lines, key=lambda line: line["at_s"])


def ended(events: Iterable[CallEvent]) -> bool:
    """Whether the log says that the call is over."""
    return any(event.kind == "call.ended" for event in events)


def _zero_ns(events: Sequence[CallEvent]) -> int:
    """The answer; else the opening; else the first thing known."""
    for kind in ("call.answered", "call.opened"):
        for event in events:
            if event.kind == kind:
                return event.at_ns
    return events[0].at_ns if events else 0


def _about(events: Iterable[CallEvent]) -> dict[str, Any]:
    names = ("tenant", "room_id", "session_id", "app", "agent")
    for event in events:
        if event.kind == "call.opened":
            return {name: _plain(event.data[name]) for name in names if name in event.data}
    return {}


def _first_by_turn(events: Iterable[CallEvent], kind: str) -> dict[int, int]:
    first: dict[int, int] = {}
    for event in events:
        if event.kind == kind and isinstance(event.data.get("turn"), int):
            first.setdefault(event.data["turn"], event.at_ns)
    return first


def _at_s(at_ns: int, zero_ns: int) -> float:
    return round((at_ns - zero_ns) / _NS, 3)


def _plain(value: Any) -> Any:
    """`value` as JSON can carry it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
