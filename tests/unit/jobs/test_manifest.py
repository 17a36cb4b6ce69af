"""What a manifest says about a call."""

import json

import pytest

from jobs.audio import AudioFile
from jobs.manifest import build, ended, transcript
from tests.support.finished_calls import T0_NS, agent_call, event

pytestmark = pytest.mark.unit

FILE = AudioFile(name="c1.flac", format="flac", bytes=10, seconds=3.0, sha256="ab")


def test_transcript_gives_both_sides_in_the_order_they_began_when_finals_and_heard_text_are_logged():
    lines = transcript(agent_call(), T0_NS)

    assert lines == [
        {"who": "agent", "turn": 0, "at_s": 0.02, "text": "Hello.", "interrupted": False},
        {"who": "caller", "turn": 1, "at_s": 1.0, "text": "billing please", "interrupted": False},
        {"who": "agent", "turn": 1, "at_s": 2.1, "text": "Your bill", "interrupted": True},
    ]


def test_transcript_takes_the_times_of_its_own_lines_when_nothing_else_is_logged():
    events = [
        event("transcript", 500, turn=3, kind="final", text="hello"),
        event("agent.heard", 900, turn=3, text="yes"),
    ]

    assert [(line["who"], line["at_s"]) for line in transcript(events, T0_NS)] == [
        ("caller", 0.5),
        ("agent", 0.9),
    ]


@pytest.mark.parametrize(
    "data",
    [{"kind": "partial", "text": "he"}, {"kind": "speculative", "text": "he"}, {"kind": "final", "text": ""}],
)
def test_transcript_leaves_out_what_was_not_finally_said(data):
    assert transcript([event("transcript", 1, turn=1, **data)], T0_NS) == []


def test_build_counts_from_the_answer_and_names_the_call():
    made = build("c1", agent_call(), [FILE], 3.0004)

    assert made["started"] == "2023-11-14T22:13:20+00:00"
    assert made["duration_s"] == 3.0
    assert (made["tenant"], made["room_id"], made["app"], made["agent"]) == ("acme", "r1", "agent", "demo")
    assert made["files"] == [
        {"name": "c1.flac", "format": "flac", "bytes": 10, "seconds": 3.0, "sha256": "ab"}
    ]
    assert made["events"][0]["at_s"] == -0.4
    assert [e["kind"] for e in made["events"]] == [e.kind for e in agent_call()]


def test_build_counts_from_the_opening_when_the_answer_is_missing():
    events = [event("call.opened", 100), event("call.ended", 600)]

    assert [e["at_s"] for e in build("c1", events, [], 0.0)["events"]] == [0.0, 0.5]


def test_build_is_json_when_an_event_carries_bytes_and_nested_data():
    events = [event("odd", 0, blob=b"\x00", deep={"list": [1, (2, b"x")], "none": None})]

    data = json.loads(json.dumps(build("c1", events, [], 0.0)))["events"][0]["data"]

    assert data == {"blob": "b'\\x00'", "deep": {"list": [1, [2, "b'x'"]], "none": None}}


def test_build_stands_alone_when_the_log_is_gone():
    made = build("c1", [], [FILE], 1.0)

    assert (made["started"], made["transcript"], made["events"]) == ("", [], [])


def test_ended_is_told_by_the_log():
    assert ended(agent_call())
    assert not ended(agent_call()[:-1])
