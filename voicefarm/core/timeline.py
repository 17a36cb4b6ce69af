"""A call as captions and bars on one time axis, for the picture and the table of the demo. No I/O."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from shared.contracts import CallEvent
from shared.units import NS_PER_S
from voicefarm.core.story import TurnTimes, answered_ns, turn_times


@dataclass(frozen=True, slots=True)
class Caption:
    """What somebody said, where it began."""

    at_s: float
    who: str
    text: str
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class TurnBar:
    """A turn: from the caller's last sound to the agent's first."""

    from_s: float
    to_s: float
    times: TurnTimes


@dataclass(frozen=True, slots=True)
class Timeline:
    captions: tuple[Caption, ...]
    bars: tuple[TurnBar, ...]


def timeline(events: Sequence[CallEvent]) -> Timeline:
    """Captions stand where speech began: a transcript comes at its end, a sentence is made before it is played."""
    origin_ns = answered_ns(events)
    bars = tuple(
        TurnBar(at_s - times.voice_to_voice_ms / 1_000, at_s, times)
        for event in events
        if (times := turn_times(event))
        for at_s in [(event.at_ns - origin_ns) / NS_PER_S]
    )
    captions = [*_caller_captions(events, origin_ns), *_agent_captions(events, origin_ns, bars)]
    return Timeline(tuple(sorted(captions, key=lambda caption: caption.at_s)), bars)


def _caller_captions(events: Sequence[CallEvent], origin_ns: int) -> list[Caption]:
    captions, began_ns = [], origin_ns
    for event in events:
        if event.kind == "speech.started":
            began_ns = event.at_ns
        elif event.kind == "transcript" and event.data.get("kind") == "final" and event.data.get("text"):
            captions.append(Caption((began_ns - origin_ns) / NS_PER_S, "caller", str(event.data["text"])))
    return captions


def _agent_captions(events: Sequence[CallEvent], origin_ns: int, bars: Sequence[TurnBar]) -> list[Caption]:
    first_packet = {bar.times.turn: bar.to_s for bar in bars}
    texts: dict[int, list[str]] = defaultdict(list)
    made_s: dict[int, float] = {}
    cut: dict[int, str] = {}
    for event in events:
        turn = int(event.data.get("turn", -1))
        if event.kind == "agent.segment":
            texts[turn].append(str(event.data.get("text", "")))
            made_s.setdefault(turn, (event.at_ns - origin_ns) / NS_PER_S)
        elif event.kind == "agent.heard" and event.data.get("interrupted"):
            cut[turn] = str(event.data.get("text", ""))
    return [
        Caption(first_packet.get(turn, made_s[turn]), "agent", cut.get(turn, " ".join(parts)), turn in cut)
        for turn, parts in texts.items()
    ]


def table(turns: Sequence[TurnTimes]) -> list[str]:
    """One row per turn, a column per stage, ms."""
    if not turns:
        return []
    names = [*dict.fromkeys(stage.name for times in turns for stage in times.stages), "voice to voice"]
    rows = ["  turn  " + "  ".join(names)]
    for times in turns:
        by_name = {stage.name: f"{stage.ms:.0f}" for stage in times.stages}
        by_name["voice to voice"] = f"{times.voice_to_voice_ms:.0f}"
        rows.append(
            f"  {times.turn:4}  " + "  ".join(f"{by_name.get(name, '-'):>{len(name)}}" for name in names)
        )
    return rows


def middle_turn(turns: Sequence[TurnTimes]) -> TurnTimes | None:
    """The turn with the median voice-to-voice time."""
    if not turns:
        return None
    middle_ms = median_low(times.voice_to_voice_ms for times in turns)
    return next(times for times in turns if times.voice_to_voice_ms == middle_ms)
