"""A call as captions, bars and a table, and the picture made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.contracts import CallEvent
from shared.units import NS_PER_S
from voicefarm.core.story import Stage, TurnTimes
from voicefarm.core.timeline import Caption, Timeline, TurnBar, middle_turn, table, timeline
from voicefarm.io.picture import WIDTH, draw_call

pytestmark = pytest.mark.unit


def event(kind: str, at_s: float, /, **data: Any) -> CallEvent:
    return CallEvent(call_id="c", kind=kind, at_ns=int((100 + at_s) * NS_PER_S), by="w", data=data)


CALL = [
    event("call.answered", 0),
    event("agent.segment", 0.1, turn=0, segment=0, text="Hello."),
    event("agent.segment", 0.1, turn=0, segment=1, text="Who is it?"),
    event("speech.started", 3.0, turn=1),
    event("transcript", 5.0, turn=1, kind="speculative", text="wea"),
    event("transcript", 5.5, turn=1, kind="final", text="weasels"),
    event("agent.segment", 5.6, turn=1, segment=0, text="Weasels again, and again."),
    event("turn.latency", 5.75, turn=1, voice_to_voice_ms=750, endpoint_ms=500),
    event("speech.started", 7.0, turn=2, barge_in=True),
    event("agent.heard", 7.0, turn=1, text="Weasels again,", interrupted=True),
    event("transcript", 8.0, turn=2, kind="final", text=""),
]


def turn(number: int, ms: float, *stages: Stage) -> TurnTimes:
    return TurnTimes(number, ms, stages)


def test_captions_stand_where_speech_began() -> None:
    story = timeline(CALL)
    assert story.captions == (
        Caption(0.1, "agent", "Hello. Who is it?"),
        Caption(3.0, "caller", "weasels"),
        Caption(5.75, "agent", "Weasels again,", interrupted=True),
    )


def test_a_turn_lies_between_the_callers_last_sound_and_the_first_packet() -> None:
    (bar,) = timeline(CALL).bars
    assert (bar.from_s, bar.to_s, bar.times.turn) == (5.0, 5.75, 1)


def test_a_call_without_events_is_empty() -> None:
    assert timeline([]) == Timeline((), ())


def test_the_table_has_a_column_for_every_stage_of_any_turn() -> None:
    turns = [
        turn(1, 600, Stage("endpoint", 500, 0), Stage("TTS", 99.6, 500)),
        turn(2, 40, Stage("TTS", 40, 0)),
    ]
    head, first, second = table(turns)
    assert head.split() == ["turn", "endpoint", "TTS", "voice", "to", "voice"]
    assert first.split() == ["1", "500", "100", "600"]
    assert second.split() == ["2", "-", "40", "40"]
    assert table([]) == []


@pytest.mark.parametrize(
    ("times_ms", "middle"), [([500.0], 1), ([900.0, 500.0, 700.0], 3), ([900.0, 500.0], 2)]
)
def test_the_middle_turn_has_the_median(times_ms: list[float], middle: int) -> None:
    turns = [turn(number, ms) for number, ms in enumerate(times_ms, 1)]
    found = middle_turn(turns)
    assert found is not None
    assert found.turn == middle
    assert middle_turn([]) is None


def test_the_picture_shows_both_voices_in_their_time(tmp_path: Path) -> None:
    pcm = np.zeros((80_000, 2), np.int16)
    pcm[:20_000, 0] = (12_000 * np.sin(np.arange(20_000) * 0.3)).astype(np.int16)
    pcm[40_000:, 1] = (12_000 * np.sin(np.arange(40_000) * 0.3)).astype(np.int16)
    long = " ".join(["word"] * 80)
    story = Timeline(
        (Caption(0.1, "caller", "hello"), Caption(5.0, "agent", long), Caption(5.3, "agent", "cut", interrupted=True)),
        (TurnBar(2.5, 5.0, turn(1, 2_500, Stage("endpoint", 500, 0), Stage("STT", 2_000, 500), Stage("?", 9, 0))),),
    )  # fmt: skip
    path = tmp_path / "new" / "call.png"
    draw_call(path, "a call", pcm, 8_000, story)
    with Image.open(path) as opened:
        image = np.asarray(opened.convert("RGB")).astype(int)
    assert image.shape[1] == WIDTH
    blue = (image[..., 2] > image[..., 0] + 100) & (image[:, :, 1] < 140)
    green = (image[..., 1] > image[..., 0] + 80) & (image[:, :, 1] > image[..., 2] + 20)
    voices = slice(52, 52 + 110)
    columns = np.flatnonzero(blue[voices].sum(axis=0) > 20)
    assert abs(columns.max() - (90 + 0.25 * (WIDTH - 120))) < 10, "the caller fell silent after a quarter"
    below = slice(52 + 169, 52 + 169 + 110)
    columns = np.flatnonzero(green[below].sum(axis=0) > 20)
    assert abs(columns.min() - (90 + 0.5 * (WIDTH - 120))) < 10, "the agent began in the middle"


def test_a_picture_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    draw_call(tmp_path / "empty.png", "", np.zeros((0, 2), np.int16), 8_000, Timeline((), ()))
    assert (tmp_path / "empty.png").stat().st_size > 100
