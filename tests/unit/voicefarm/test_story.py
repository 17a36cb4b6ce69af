"""The event log as people read it."""

from typing import Any

import pytest

from shared.contracts import CallEvent
from shared.units import NS_PER_S
from voicefarm.core.story import (
    BAR,
    Line,
    answered_ns,
    format_line,
    tell,
    transcripts,
    turn_times,
    waterfall,
)

pytestmark = pytest.mark.unit


def event(kind: str, at_s: float = 10.0, /, **data: Any) -> CallEvent:
    return CallEvent(call_id="c", kind=kind, at_ns=int(at_s * NS_PER_S), by="w", data=data)


LATENCY = {
    "turn": 2, "endpoint_ms": 500.0, "stt_wait_ms": 0.0, "stt_decode_ms": 30.0, "llm_first_token_ms": 5.0,
    "llm_first_segment_ms": 25.0, "tts_first_frame_ms": 10.0, "bus_ms": 7.0, "voice_to_voice_ms": 580.0,
}  # fmt: skip


def test_the_stages_of_a_turn_add_up_to_voice_to_voice() -> None:
    times = turn_times(event("turn.latency", **LATENCY))
    assert times is not None
    assert [(stage.name, stage.ms) for stage in times.stages] == [
        ("endpoint", 500.0), ("STT queue", 0.0), ("STT", 30.0), ("LLM 1st token", 5.0), ("1st sentence", 20.0),
        ("TTS 1st frame", 10.0), ("bus + playout", 15.0),
    ]  # fmt: skip
    assert sum(stage.ms for stage in times.stages) == times.voice_to_voice_ms == 580.0
    assert [stage.start_ms for stage in times.stages] == [0, 500, 500, 530, 535, 555, 565]


def test_stages_that_did_not_happen_are_left_out() -> None:
    times = turn_times(event("turn.latency", turn=1, voice_to_voice_ms=400, endpoint_ms=300, stt_wait_ms=-1))
    assert times is not None
    assert [stage.name for stage in times.stages] == ["endpoint", "bus + playout"]


@pytest.mark.parametrize(
    "other",
    [
        event("transcript", voice_to_voice_ms=5),
        event("turn.latency"),
        event("turn.latency", voice_to_voice_ms=-1),
    ],
)
def test_an_event_without_a_measured_turn_has_no_times(other: CallEvent) -> None:
    assert turn_times(other) is None


def test_a_waterfall_starts_each_bar_where_the_one_before_ended() -> None:
    times = turn_times(event("turn.latency", **LATENCY))
    assert times is not None
    lines = waterfall(times)
    assert len(lines) == 8
    starts = [line.find("█") for line in lines[:-1]]
    assert starts[0] == 17
    assert starts[1] == -1, "a stage of 0 ms has no bar"
    assert starts[2] == 17 + round(500 / 580 * BAR)
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].endswith("580 ms")


def test_a_waterfall_whose_stages_exceed_the_whole_stays_within_its_columns() -> None:
    times = turn_times(event("turn.latency", voice_to_voice_ms=10, endpoint_ms=500, stt_decode_ms=400))
    assert times is not None
    assert max(len(line) for line in waterfall(times)) <= 17 + BAR + 10


@pytest.mark.parametrize(
    ("told", "who", "text"),
    [
        (
            event("call.opened", app="agent", agent="demo", room_id="r", codec="PCMU"),
            "farm",
            "opened agent demo, room r, PCMU",
        ),
        (event("call.answered"), "farm", "answered"),
        (
            event("speech.started", barge_in=True, stop_ms=212.4),
            "farm",
            "interrupted: the agent fell silent after 212 ms",
        ),
        (event("speech.started", barge_in=True), "farm", "interrupted: the agent fell silent"),
        (event("transcript", kind="final", text="hello"), "caller", "hello"),
        (event("transcript", kind="final", text=""), "caller", "(nothing understood)"),
        (event("agent.segment", text="Hi."), "agent", "Hi."),
        (event("agent.heard", text="Hi", interrupted=True), "farm", 'heard of it: "Hi"'),
        (event("turn.latency", **LATENCY), "farm", "turn 2: voice to voice 580 ms"),
        (event("dtmf", digit="5"), "caller", "pressed 5"),
        (event("dtmf", digit="5", source="rfc4733"), "caller", "pressed 5"),
        (event("dtmf", digit="5", source="inband"), "caller", "pressed 5 (a tone)"),
        (event("dtmf", digit="5", source="info"), "caller", "pressed 5 (told by INFO)"),
        (event("dtmf.sent", count=4, via="auto"), "farm", "pressed 4 keys"),
        (event("attached", role="stt", worker="stt-1.x", epoch=2), "farm", "moved to stt worker stt-1.x"),
        (event("call.ended", reason="bye", duration_ms=12_340), "farm", "ended: bye after 12.3 s"),
        (event("recording", path="/a.flac"), "farm", "recording /a.flac"),
        (event("from.the.future", x=1), "farm", "from.the.future {'x': 1}"),
    ],
)
def test_every_event_is_told(told: CallEvent, who: str, text: str) -> None:
    assert tell(told, 8 * NS_PER_S) == Line(2.0, who, text)


@pytest.mark.parametrize(
    "quiet",
    [
        event("speech.started"), event("speech.ended", audio_ms=3), event("transcript", kind="speculative", text="x"),
        event("agent.heard", text="x"), event("attached", role="stt", worker="w", epoch=1), event("turn.latency"),
    ],
)  # fmt: skip
def test_what_says_nothing_to_people_is_left_out(quiet: CallEvent) -> None:
    assert tell(quiet, 0) is None


def test_an_event_that_lacks_its_fields_is_shown_all_the_same() -> None:
    for kind in ("call.opened", "call.ended", "dtmf", "recording", "agent.segment"):
        assert tell(event(kind), 0) is not None


def test_times_count_from_the_answer() -> None:
    events = [event("call.opened", 1.0), event("transcript", 2.0), event("call.answered", 3.0)]
    assert answered_ns(events) == 3 * NS_PER_S
    assert answered_ns(events[:2]) == NS_PER_S
    assert answered_ns(events[1:2]) == 2 * NS_PER_S
    assert answered_ns([]) == 0


def test_transcripts_are_the_final_ones_with_words() -> None:
    events = [
        event("transcript", kind="speculative", text="one"), event("transcript", kind="final", text="one two"),
        event("transcript", kind="final", text=""), event("agent.segment", text="three"),
    ]  # fmt: skip
    assert transcripts(events) == ["one two"]


def test_a_line_has_its_columns() -> None:
    assert format_line(Line(1.239, "agent", "Hi.")) == "   1.24  agent  Hi."
