"""The picture of a call: what stands in it, looked at by its pixels, for calls of any length and kind."""

from pathlib import Path

import numpy as np
import pytest

from shared.contracts import CallEvent
from voicefarm.core.story import turn_times
from voicefarm.core.timeline import Caption, Timeline, TurnBar

image = pytest.importorskip("PIL.Image", reason="pip install 'voicefarm[demo]'")
picture = pytest.importorskip("voicefarm.io.picture")
pytestmark = pytest.mark.unit


def bar(turn: int, from_s: float, **stages: float) -> TurnBar:
    total = stages.get("voice_to_voice_ms", 0.0)
    event = CallEvent(call_id="c", kind="turn.latency", at_ns=0, by="m", data={"turn": turn, **stages})
    times = turn_times(event)
    assert times
    return TurnBar(from_s, from_s + total / 1_000, times)


def drawn(tmp_path: Path, pcm: np.ndarray, story: Timeline, title: str = "a call") -> np.ndarray:
    path = tmp_path / "deep" / "call.png"
    picture.draw_call(path, title, pcm, 8_000, story)
    with image.open(path) as found:
        assert found.format == "PNG"
        assert found.width == picture.WIDTH
        return np.asarray(found.convert("RGB")).astype(int)


def pixels(found: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(found - np.array(colour)).max(axis=2) < 12).sum())


NOTHING = Timeline((), ())
SILENCE = np.zeros((80_000, 2), np.int16)


def loud(side: int) -> np.ndarray:
    pcm = SILENCE.copy()
    pcm[20_000:60_000, side] = 20_000
    return pcm


@pytest.mark.parametrize(("side", "colour"), [(0, "_CALLER"), (1, "_AGENT")])
def test_each_voice_has_its_own_colour(tmp_path: Path, side: int, colour: str) -> None:
    quiet = pixels(drawn(tmp_path, SILENCE, NOTHING), getattr(picture, colour))
    heard = pixels(drawn(tmp_path, loud(side), NOTHING), getattr(picture, colour))
    assert heard > quiet + 10_000


def test_wait_of_a_turn_is_a_band_as_wide_as_it_took(tmp_path: Path) -> None:
    widths = []
    for wait_ms in (1_000.0, 2_000.0):
        story = Timeline((), (bar(1, 3.0, voice_to_voice_ms=wait_ms, endpoint_ms=500.0),))
        found = drawn(tmp_path, SILENCE, story)
        rows = np.abs(found - np.array(picture._WAIT)).max(axis=2) < 6
        widths.append(int(rows.sum(axis=1).max()))
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.05)


def test_stages_are_drawn_one_row_per_turn(tmp_path: Path) -> None:
    stages = {"voice_to_voice_ms": 900.0, "endpoint_ms": 500.0, "llm_first_token_ms": 300.0}
    one = drawn(tmp_path, SILENCE, Timeline((), (bar(1, 1.0, **stages),)))
    two = drawn(tmp_path, SILENCE, Timeline((), (bar(1, 1.0, **stages), bar(2, 5.0, **stages))))
    assert two.shape[0] > one.shape[0]
    llm = picture._STAGES["LLM 1st token"]
    assert pixels(two, llm) > 1.5 * pixels(one, llm) > 0


def test_captions_are_cut_to_their_room_and_an_interruption_is_seen(tmp_path: Path) -> None:
    long = "a very long sentence of the agent that never ends " * 20
    plain = Timeline(
        (Caption(1.0, "agent", long), Caption(2.0, "agent", "next"), Caption(9.9, "caller", "end")), ()
    )
    cut = Timeline((Caption(1.0, "agent", "what I wanted to", interrupted=True),), ())
    assert pixels(drawn(tmp_path, SILENCE, plain), picture._CUT) == 0
    assert pixels(drawn(tmp_path, SILENCE, cut), picture._CUT) > 20


@pytest.mark.parametrize("samples", [0, 1, 8_000, 8_000 * 700])
def test_call_of_any_length_is_drawn(tmp_path: Path, samples: int) -> None:
    found = drawn(tmp_path, np.ones((samples, 2), np.int16), NOTHING)
    assert found.shape[0] > 200


def test_turn_that_took_no_time_is_drawn(tmp_path: Path) -> None:
    drawn(tmp_path, SILENCE, Timeline((), (bar(1, 1.0, voice_to_voice_ms=0.0),)))


@pytest.mark.parametrize("text", ["", "Zoë 日本 😀", "x" * 300])
def test_any_text_can_be_written(tmp_path: Path, text: str) -> None:
    drawn(tmp_path, SILENCE, Timeline((Caption(0.0, "caller", text),), ()), title=text)
