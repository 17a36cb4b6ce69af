"""A dialogue rebuilt from its event log."""

import pytest

from aiworker.core.takeover import rebuild
from shared.contracts import CallEvent

pytestmark = pytest.mark.unit


def log(kind: str, /, **data: object) -> CallEvent:
    return CallEvent(call_id="c1", kind=kind, at_ns=0, by="x", data=data)


def segment(turn: int, number: int, text: str, **more: object) -> CallEvent:
    return log("agent.segment", turn=turn, segment=number, text=text, **more)


def said(events: list[CallEvent]) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in rebuild(events).history.messages(100)]


def test_both_sides_come_back() -> None:
    events = [
        log("call.answered"),
        segment(0, 0, "Hello,"),
        segment(0, 1, "who is it?", last=True),
        log("agent.heard", turn=0, text="Hello, who is it?", interrupted=False),
        log("speech.started", turn=1),
        log("transcript", turn=1, kind="final", text="me"),
        log("transcript", turn=1, kind="final", text="me"),
        log("transcript", turn=1, kind="partial", text="m"),
        segment(1, 0, "Ah,"),
    ]
    assert said(events) == [("assistant", "Hello, who is it?"), ("user", "me"), ("assistant", "Ah,")]
    found = rebuild(events)
    assert (found.turn, found.final_turn, found.texts, found.last, found.heard) == (
        1,
        1,
        ["Ah,"],
        False,
        False,
    )


def test_sentence_said_again_to_another_worker_counts_once() -> None:
    assert said([segment(0, 0, "Hello."), segment(0, 0, "Hello."), segment(0, 1, "You?")]) == [
        ("assistant", "Hello. You?")
    ]


def test_heard_text_replaces_what_was_handed_out() -> None:
    events = [segment(0, 0, "One two three."), log("agent.heard", turn=0, text="One", interrupted=True)]
    assert said(events) == [("assistant", "One…")]


def test_reply_is_cut_where_the_floor_changed_when_the_worker_died_before_it_could() -> None:
    floor = log(
        "speech.started",
        turn=1,
        barge_in=True,
        heard_turn=0,
        heard_segment=1,
        heard_samples=500,
        heard_of_samples=1_000,
    )
    assert said([segment(0, 0, "One two."), segment(0, 1, "Three four five six."), floor]) == [
        ("assistant", "One two. Three four…")
    ]
    late = log("agent.heard", turn=0, text="One two. Three", interrupted=True)
    assert (
        said([segment(0, 0, "One two."), segment(0, 1, "Three four five six."), floor, late])[0][1]
        == "One two. Three…"
    )


def test_floor_without_a_reply_cuts_nothing() -> None:
    assert said([segment(0, 0, "One."), log("speech.started", turn=1, heard_turn=0, heard_segment=-1)]) == [
        ("assistant", "One.")
    ]
    assert said([log("speech.started", turn=1, heard_turn=0, heard_segment=0)]) == []


def test_two_stretches_of_one_turn_are_two_messages() -> None:
    events = [
        segment(0, 0, "Hello.", last=True),
        log("dtmf", digit="5", duration_ms=80),
        segment(0, 1, "You pressed five."),
    ]
    assert said(events) == [
        ("assistant", "Hello."),
        ("user", "pressed 5"),
        ("assistant", "You pressed five."),
    ]


def test_heard_of_an_unknown_turn_is_passed_over() -> None:
    assert said([log("agent.heard", turn=4, text="x", interrupted=False), log("recording", path="p")]) == []
    assert said(
        [log("transcript", turn=1, kind="final", text="me"), log("agent.heard", turn=1, text="x")]
    ) == [("user", "me")]
