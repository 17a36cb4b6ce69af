"""Laws of a dialogue under any sequence of events, of the segmenter under any tokens, of frames under any chunks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiworker.core.agent import Dtmf
from aiworker.core.effects import (
    Act,
    Acted,
    Generate,
    Send,
    Stop,
    StreamEnded,
    StreamFailed,
    TimePassed,
    Token,
)
from aiworker.core.frames import Framer
from aiworker.core.history import heard_part
from aiworker.core.segments import MAX_CHARS, Segmenter, split
from aiworker.core.takeover import rebuild
from aiworker.core.turn import TABLE, Input, State, UnlistedInput, step
from shared.contracts import (
    AiWorkers,
    CallEvent,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    ReplyEnd,
    SegmentPlayed,
    Speak,
    SpeechStarted,
    Transcript,
)
from tests.support.dialogue import IDLE, Driver, agent

pytestmark = pytest.mark.property

TURNS = st.integers(0, 6)
TEXTS = st.sampled_from(["", "hello", "hello there", "what is the time"])
SPOKEN = st.sampled_from(["Well then, ", "this is it. ", "And ", "more of it! ", " "])


def _events() -> st.SearchStrategy[Any]:
    generation = st.integers(0, 8)
    return st.one_of(
        st.builds(
            SpeechStarted, call_id=st.just("c1"), epoch=st.integers(1, 2), turn=TURNS, heard_turn=TURNS,
            heard_segment=st.integers(-1, 4), heard_samples=st.integers(0, 20_000), heard_of_samples=st.integers(0, 9_000),
        ),
        st.builds(
            Transcript, call_id=st.just("c1"), epoch=st.just(1), turn=TURNS, text=TEXTS,
            kind=st.sampled_from(["partial", "speculative", "final"]),
        ),
        st.builds(SegmentPlayed, call_id=st.just("c1"), turn=TURNS, segment=st.integers(0, 5), samples=st.integers(0, 9_000)),
        st.builds(DtmfReceived, call_id=st.just("c1"), turn=TURNS, digit=st.sampled_from("12#"), duration_ms=st.just(90)),
        st.builds(DialogueUpdate, call_id=st.just("c1"), epoch=st.integers(1, 4), ai=st.builds(AiWorkers, tts=st.sampled_from(["a", "b"]))),
        st.builds(Token, generation, SPOKEN),
        st.builds(Acted, generation, st.just(Act("hangup"))),
        st.builds(StreamEnded, generation),
        st.builds(StreamFailed, generation, st.just("timeout")),
        st.just(TimePassed()),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_events(), st.integers(0, 9_000)), max_size=40))
def test_dialogue_keeps_its_promises_whatever_happens(events: list[tuple[Any, int]]) -> None:
    driver = Driver(agent(idle=IDLE, dtmf=Dtmf(max_digits=2)))
    running: set[int] = set()
    next_segment: dict[int, int] = {}
    played: dict[int, int] = {}
    for event, after_ms in events:
        if isinstance(event, SegmentPlayed):
            played[event.turn] = max(played.get(event.turn, 0), event.segment + 1)
        turn_before = driver.dialogue.turn
        effects = driver.event(event, after_ms)
        assert driver.dialogue.turn >= turn_before
        for effect in effects:
            if isinstance(effect, Generate):
                running.add(effect.generation)
            elif isinstance(effect, Stop):
                running.discard(effect.generation)
            elif isinstance(effect, Send) and isinstance(effect.message, Speak | ReplyEnd):
                assert effect.message.turn == driver.dialogue.turn  # nothing of an older turn is ever said
                if isinstance(effect.message, Speak) and not isinstance(event, DialogueUpdate):
                    turn = effect.message.turn
                    assert effect.message.segment == next_segment.get(turn, effect.message.segment)
                    next_segment[turn] = effect.message.segment + 1
        if isinstance(event, StreamEnded | StreamFailed):
            running.discard(event.generation)
        assert len(running) <= 1  # a stream that is not wanted is stopped
        assert (driver.dialogue.state is State.SPECULATING) == bool(
            driver.dialogue._stream and driver.dialogue._stream.gated
        )
    driver.event(DialogueDetach(call_id="c1", reason="bye"))
    assert driver.dialogue.state is State.ENDED
    assert driver.dialogue.deadline_ns() is None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_events(), st.integers(0, 3_000)), max_size=30))
def test_every_prefix_of_the_log_can_be_taken_over(events: list[tuple[Any, int]]) -> None:
    driver = Driver()
    for event, after_ms in events:
        driver.event(event, after_ms)
    log = [
        CallEvent(call_id="c1", kind=kind, at_ns=0, by="x", data=data)
        for effect in driver.all
        if type(effect).__name__ == "Log"
        for kind, data in [(effect.kind, effect.data)]  # type: ignore[union-attr]
    ]
    for cut in range(len(log) + 1):
        found = rebuild(log[:cut])
        heir = Driver(rebuilt=found, turn=found.turn, epoch=9, resumed=True)
        segments = [speak.segment for speak in heir.sent(Speak)]
        assert all(segment >= len(found.texts) - 2 for segment in segments)
        assert heir.dialogue.state is not State.ENDED


@given(st.sampled_from(list(State)), st.sampled_from(list(Input)))
def test_every_state_answers_or_refuses_every_input(state: State, happened: Input) -> None:
    if happened in TABLE[state]:
        assert step(state, happened) == TABLE[state][happened]
    else:
        with pytest.raises(UnlistedInput):
            step(state, happened)


PROSE = st.text(alphabet=st.sampled_from(list('ab Cd., !?;:12\n")*`。…-')), max_size=600)


@settings(max_examples=200, deadline=None)
@given(PROSE, st.data())
def test_cuts_do_not_depend_on_the_tokens(text: str, data: st.DataObject) -> None:
    segmenter, at, pieces = Segmenter(), 0, []
    while at < len(text):
        size = data.draw(st.integers(1, 40))
        pieces += segmenter.feed(text[at : at + size])
        at += size
    pieces += segmenter.finish()
    assert pieces == split(text)


@settings(max_examples=200, deadline=None)
@given(PROSE)
def test_no_word_is_lost_and_no_piece_is_too_long(text: str) -> None:
    pieces = split(text)
    assert all(0 < len(piece) <= MAX_CHARS for piece in pieces)
    letters = [char for char in text if char.isalnum()]
    assert [char for piece in pieces for char in piece if char.isalnum()] == letters


@given(st.lists(st.integers(0, 4_000), max_size=12), st.sampled_from([8_000, 16_000]))
def test_frames_join_to_the_audio(chunks: list[int], rate_hz: int) -> None:
    audio = np.arange(sum(chunks)).astype(np.int16)
    framer, at, out = Framer(rate_hz), 0, []
    for size in chunks:
        out += framer.feed(audio[at : at + size])
        at += size
    out += framer.finish()
    assert b"".join(pcm for _, pcm, _ in out) == audio.tobytes()
    assert [last for _, _, last in out] == [False] * (len(out) - 1) + [True]
    tick, sizes = rate_hz // 50, [len(pcm) // 2 for _, pcm, _ in out]
    assert [offset for offset, _, _ in out] == [sum(sizes[:n]) for n in range(len(sizes))]
    assert all(size % tick == 0 and tick <= size <= 10 * tick for size in sizes[:-1])
    assert sizes[-1] <= 10 * tick


@given(st.text(alphabet="ab c.", max_size=80), st.integers(0, 2_000), st.integers(0, 1_000))
def test_heard_part_is_whole_words_and_grows(text: str, played: int, total: int) -> None:
    heard = heard_part(text, played, total)
    assert text.startswith(heard)
    assert len(heard) <= len(heard_part(text, played + 100, total))
    if heard:
        assert text[len(heard)] == " "
