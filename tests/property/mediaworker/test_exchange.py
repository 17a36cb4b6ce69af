"""Whatever comes in whatever order, the exchange answers, fences turns and gives everything back."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.calls.effects import Assigned, Count, Drain, EndAll, Forgotten, LiveWorkers, Released
from mediaworker.core.legs import DtmfEvent, LegLost, Speech
from shared.contracts import (
    MediaAnswer,
    MediaClose,
    MediaEnded,
    MediaStart,
    ReplyEnd,
    SpeechStarted,
    SttDetach,
    TurnSettings,
)
from tests.support.exchange_bench import Bench, frames, notes, opening, sent

pytestmark = pytest.mark.property

CALLS = ("c0", "c1", "c2")

Step = Callable[[Bench], object]


def _row(bench: Bench, call_id: str) -> int | None:
    call = bench.exchange.call(call_id)
    return call.row if call else None


def _on_row(call_id: str, act: Callable[[Bench, int], object]) -> Step:
    def step(bench: Bench) -> None:
        row = _row(bench, call_id)
        if row is not None:
            act(bench, row)

    return step


def _turn(bench: Bench, call_id: str, back: int) -> int:
    call = bench.exchange.call(call_id)
    return max(0, call.floor.turn - back) if call else back


@st.composite
def steps(draw: st.DrawFn) -> Step:
    call_id = draw(st.sampled_from(CALLS))
    number = draw(st.integers(0, 10**9))
    segment, back, ms = (
        draw(st.integers(0, 3)),
        draw(st.integers(0, 2)),
        draw(st.sampled_from([0, 20, 500, 3_000])),
    )
    kind = draw(st.sampled_from(["agent", "transcribe", "echo", "conference", "parrot"]))
    options = {"mode": "after_silence"} if kind == "parrot" else {}
    app = "echo" if kind == "parrot" else kind
    port = 20_000 + 2 * CALLS.index(call_id)
    front = {"msg_id": f"m{number}", "reply_to": "front.1", "call_id": call_id}
    barge = TurnSettings(barge_in_ms=draw(st.sampled_from([0, 200])))
    opened = opening(call_id, app, port=port, msg_id=f"m{number}", room_id="r", options=options, turn=barge)
    return draw(st.sampled_from([
        lambda b: b.do(opened),
        lambda b: b.do(MediaStart(**front)),
        lambda b: b.do(MediaClose(**front, reason="bye")),
        _on_row(call_id, lambda b, row: b.speech(row, draw_speech(number), inside=True)),
        _on_row(call_id, lambda b, row: b.tick(1 + number % 30, inside=(row,))),
        _on_row(call_id, lambda b, row: b.found(dtmf=[DtmfEvent(row, "1", 80)])),
        lambda b: b.reply(_turn(b, call_id, back), segment, ms=ms, last=bool(number % 2), call_id=call_id),
        lambda b: b.do(ReplyEnd(call_id=call_id, turn=_turn(b, call_id, back), segments=segment, hangup=not number % 5)),
        lambda b: b.do(LiveWorkers({"stt": frozenset(), "llm": frozenset({"llm.1"})})),
        lambda b: b.do(Assigned(call_id, "stt", "stt.1", "stt.2")),
        lambda b: b.do(Forgotten()),
        _on_row(call_id, lambda b, row: b.found(lost=[LegLost(row, "rtp_timeout")])),
        lambda b: b.tick(number % 50),
    ]))  # fmt: skip


def draw_speech(number: int) -> Speech:
    return list(Speech)[number % len(Speech)]


def running() -> Bench:
    """Two calls are up already: an agent that speaks, and a parrot."""
    bench = Bench()
    bench.open("c0", port=20_000, room_id="r")
    bench.open("c1", "echo", port=20_002, room_id="r", options={"mode": "after_silence"})
    bench.reply(0, ms=3_000, call_id="c0")
    return bench


def invariants(bench: Bench) -> None:
    live = [call_id for call_id in CALLS if bench.exchange.call(call_id)]
    assert len(bench.exchange) == len(live) == len(bench.wire.bound) == bench.engine.snapshot().totals["legs"]
    for call_id in live:
        call = bench.exchange.call(call_id)
        assert call is not None
        assert call.floor.turn <= call.floor.utterance_turn


@settings(max_examples=80, deadline=None)
@given(st.lists(steps(), min_size=5, max_size=50))
def test_any_order_of_events_keeps_the_books(story: list[Step]) -> None:
    bench = running()
    for step in story:
        step(bench)
        invariants(bench)
    bench.do(Drain())
    bench.do(EndAll("drain"))
    bench.tick(3)
    assert len(bench.exchange) == 0
    assert bench.wire.bound == {}
    effects = bench.effects
    opened, ended = len(notes(effects, "call.opened")), notes(effects, "call.ended")
    released = [effect for effect in effects if isinstance(effect, Released)]
    assert opened == len(ended) == len(released), "each call is given back once"
    assert len(sent(effects, MediaEnded)) <= opened
    totals = bench.engine.snapshot().totals
    assert totals["legs"] == 0
    assert totals["playout_chunks_free"] == Bench().engine.snapshot().totals["playout_chunks_free"]


@settings(max_examples=60, deadline=None)
@given(st.lists(steps(), min_size=5, max_size=50))
def test_turns_and_offsets_of_a_call_only_rise(story: list[Step]) -> None:
    bench = running()
    for step in story:
        step(bench)
    lives = dict.fromkeys(CALLS, 0)
    newest: dict[tuple[str, int], int] = {}
    for effect in bench.effects:
        if isinstance(effect, Released):
            lives[effect.call_id] += 1
        for told in sent([effect], SpeechStarted):
            key = (told.call_id, lives[told.call_id])
            assert told.turn > newest.get(key, 0)
            newest[key] = told.turn
    for worker in ("stt.1", "stt.2"):
        reach: dict[tuple[str, int, int], int] = {}
        for frame in frames(bench.effects, worker):
            key3 = (frame.call_id, frame.epoch, frame.turn)
            if frame.offset == 0:
                reach[key3] = 0
            assert frame.offset == reach[key3]
            reach[key3] = frame.offset + len(frame.pcm) // 2


@settings(max_examples=60, deadline=None)
@given(st.lists(steps(), min_size=5, max_size=40))
def test_every_request_is_answered_and_nothing_goes_to_nobody(story: list[Step]) -> None:
    bench = running()
    for step in story:
        before = len(bench.effects)
        step(bench)
        fresh = bench.effects[before:]
        assert all(getattr(effect, "worker_id", "x") for effect in fresh)
        assert not [e for e in fresh if isinstance(e, Count) and e.labels == ("unknown",)]
        for answer in sent(fresh, MediaAnswer):
            assert answer.ok == (answer.reason == "")
    assert len(sent(bench.effects, SttDetach)) <= len(notes(bench.effects, "call.ended"))
