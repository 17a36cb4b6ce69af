"""A call's event log told to people: who said what when, and where the time of each turn went. No I/O.

An event it does not know is shown by its kind; one that lacks a field is shown without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.contracts import CallEvent
from shared.units import NS_PER_S

BAR = 48
"""Columns of a waterfall."""

_MARK = "█"


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the time between the caller's last sound and the agent's first."""

    name: str
    ms: float
    start_ms: float


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """The `turn.latency` of one turn."""

    turn: int
    voice_to_voice_ms: float
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Something that somebody said or that happened, `at_s` after the call was answered."""

    at_s: float
    who: str
    text: str


_STAGES = (
    ("endpoint", "endpoint_ms"),
    ("STT queue", "stt_wait_ms"),
    ("STT", "stt_decode_ms"),
    ("LLM 1st token", "llm_first_token_ms"),
    ("1st sentence", ""),
    ("TTS 1st frame", "tts_first_frame_ms"),
    ("bus + playout", ""),
)


def turn_times(event: CallEvent) -> TurnTimes | None:
    """The stages of a `turn.latency` event, one after the other; stages that did not happen are left out.

    What the stages do not account for went over the bus and into playout.
    """
    total = _ms(event.data, "voice_to_voice_ms")
    if event.kind != "turn.latency" or total < 0:
        return None
    parts = {name: _ms(event.data, key) for name, key in _STAGES if key}
    token, sentence = parts["LLM 1st token"], _ms(event.data, "llm_first_segment_ms")
    parts["1st sentence"] = max(0.0, sentence - max(token, 0.0)) if sentence >= 0 else -1.0
    parts["bus + playout"] = max(0.0, total - sum(ms for ms in parts.values() if ms > 0))
    stages: list[Stage] = []
    start_ms = 0.0
    for name, _ in _STAGES:
        ms = parts[name]
        if ms >= 0:
            stages.append(Stage(name, ms, start_ms))
            start_ms += ms
    return TurnTimes(int(event.data.get("turn", 0)), total, tuple(stages))


def waterfall(times: TurnTimes) -> list[str]:
    """The stages as bars below each other, the last line the sum."""
    scale = BAR / max(times.voice_to_voice_ms, sum(stage.ms for stage in times.stages), 1.0)
    lines = []
    for stage in times.stages:
        start = round(stage.start_ms * scale)
        length = max(1, round((stage.start_ms + stage.ms) * scale) - start) if stage.ms >= 0.5 else 0
        lines.append(
            f"  {stage.name:14} {' ' * min(start, BAR)}{_MARK * min(length, BAR - start):{BAR - start}} {stage.ms:6.0f} ms"
        )
    lines.append(f"  {'voice to voice':14} {' ' * BAR} {times.voice_to_voice_ms:6.0f} ms")
    return lines


def answered_ns(events: Sequence[CallEvent]) -> int:
    """Wall time that the times of a call are counted from."""
    for kind in ("call.answered", "call.opened"):
        for event in events:
            if event.kind == kind:
                return event.at_ns
    return events[0].at_ns if events else 0


def transcripts(events: Sequence[CallEvent]) -> list[str]:
    """What the farm understood, final texts in order; silence understood as nothing is left out."""
    return [
        str(event.data.get("text", ""))
        for event in events
        if event.kind == "transcript" and event.data.get("kind") == "final" and event.data.get("text")
    ]


def tell(event: CallEvent, origin_ns: int) -> Line | None:
    """One event as a line, None when it says nothing to people."""
    data = event.data
    told = _TELLERS.get(event.kind, _unknown)(event.kind, data)
    if told is None:
        return None
    who, text = told
    return Line((event.at_ns - origin_ns) / NS_PER_S, who, text)


def format_line(line: Line) -> str:
    return f"{line.at_s:7.2f}  {line.who:6} {line.text}"


# --- one teller per kind of event; each gives (who, text) or None

Told = tuple[str, str] | None


def _ms(data: dict[str, Any], key: str) -> float:
    value = data.get(key, -1.0)
    return float(value) if isinstance(value, int | float) else -1.0


def _opened(_kind: str, data: dict[str, Any]) -> Told:
    agent = f" {data['agent']}" if data.get("agent") else ""
    return (
        "farm",
        f"opened {data.get('app', 'call')}{agent}, room {data.get('room_id', '?')}, {data.get('codec', '?')}",
    )


def _answered(_kind: str, _data: dict[str, Any]) -> Told:
    return "farm", "answered"


def _speech_started(_kind: str, data: dict[str, Any]) -> Told:
    if not data.get("barge_in"):
        return None
    stop_ms = _ms(data, "stop_ms")
    took = f" after {stop_ms:.0f} ms" if stop_ms >= 0 else ""
    return "farm", f"interrupted: the agent fell silent{took}"


def _transcript(_kind: str, data: dict[str, Any]) -> Told:
    if data.get("kind") != "final":
        return None
    return "caller", str(data.get("text") or "(nothing understood)")


def _segment(_kind: str, data: dict[str, Any]) -> Told:
    return "agent", str(data.get("text", ""))


def _heard(_kind: str, data: dict[str, Any]) -> Told:
    if not data.get("interrupted"):
        return None
    return "farm", f'heard of it: "{data.get("text", "")}"'


def _latency(_kind: str, data: dict[str, Any]) -> Told:
    total = _ms(data, "voice_to_voice_ms")
    return ("farm", f"turn {data.get('turn', '?')}: voice to voice {total:.0f} ms") if total >= 0 else None


def _dtmf(_kind: str, data: dict[str, Any]) -> Told:
    way = {"inband": " (a tone)", "info": " (told by INFO)"}.get(str(data.get("source")), "")
    return "caller", f"pressed {data.get('digit', '?')}{way}"


def _dtmf_sent(_kind: str, data: dict[str, Any]) -> Told:
    return "farm", f"pressed {data.get('count', '?')} keys"


def _attached(_kind: str, data: dict[str, Any]) -> Told:
    if int(data.get("epoch", 0)) <= 1:
        return None
    return "farm", f"moved to {data.get('role', '?')} worker {data.get('worker', '?')}"


def _ended(_kind: str, data: dict[str, Any]) -> Told:
    duration = _ms(data, "duration_ms")
    took = f" after {duration / 1_000:.1f} s" if duration >= 0 else ""
    return "farm", f"ended: {data.get('reason', '?')}{took}"


def _recording(_kind: str, data: dict[str, Any]) -> Told:
    return "farm", f"recording {data.get('path', '?')}"


def _unsaid(_kind: str, _data: dict[str, Any]) -> Told:
    return None


def _unknown(kind: str, data: dict[str, Any]) -> Told:
    return "farm", f"{kind} {data}"


_TELLERS = {
    "call.opened": _opened,
    "call.answered": _answered,
    "speech.started": _speech_started,
    "speech.ended": _unsaid,
    "transcript": _transcript,
    "agent.segment": _segment,
    "agent.heard": _heard,
    "turn.latency": _latency,
    "dtmf": _dtmf,
    "dtmf.sent": _dtmf_sent,
    "attached": _attached,
    "call.ended": _ended,
    "recording": _recording,
}
