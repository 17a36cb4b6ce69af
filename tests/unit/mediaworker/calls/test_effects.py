"""Effects are gathered in order; utterance frames of a tick travel together, one message per worker, after the rest."""

import typing

import pytest

from mediaworker.core.calls import effects
from mediaworker.core.calls.effects import Assign, Count, Effects, Note, Released, SendAudio
from shared.contracts import Mark, UtteranceFrame, decode, encode

pytestmark = pytest.mark.unit


def frame(call: str, offset: int = 0) -> UtteranceFrame:
    return UtteranceFrame(call, 1, 1, offset, Mark.AUDIO, b"\x01\x02")


def test_effects_come_out_in_order_and_once() -> None:
    gathered = Effects()
    given = [
        Note("c1", "a", {}),
        Count("m", ("x",)),
        Assign("c1", "stt", "stt-0.a"),
        Released(0, "c1", 20_000, recorded=False),
    ]
    for effect in given:
        gathered.add(effect)
    assert gathered.take() == given
    assert gathered.take() == []


def test_frames_of_many_calls_are_one_message_per_worker_in_their_order() -> None:
    gathered = Effects()
    for n in range(3):
        gathered.utterance("stt-0.a", frame(f"c{n}"))
        gathered.utterance("stt-1.b", frame(f"d{n}"))
    one, other = gathered.take()
    assert isinstance(one, SendAudio)
    assert isinstance(other, SendAudio)
    assert (one.worker_id, other.worker_id) == ("stt-0.a", "stt-1.b")
    assert [f.call_id for f in one.message.frames] == ["c0", "c1", "c2"]
    assert [f.call_id for f in other.message.frames] == ["d0", "d1", "d2"]
    assert decode(encode(one.message)) == one.message
    assert one.message.rate_hz == 8_000


def test_audio_follows_what_was_said_about_it_in_the_same_tick() -> None:
    gathered = Effects()
    gathered.utterance("stt-0.a", frame("c1"))
    gathered.add(Note("c1", "speech.started", {}))
    note, audio = gathered.take()
    assert isinstance(note, Note)
    assert isinstance(audio, SendAudio)


def test_frames_taken_do_not_come_again() -> None:
    gathered = Effects()
    gathered.utterance("stt-0.a", frame("c1"))
    gathered.take()
    gathered.utterance("stt-0.a", frame("c1", 1))
    [again] = gathered.take()
    assert isinstance(again, SendAudio)
    assert [f.offset for f in again.message.frames] == [1]


def test_effects_and_commands_are_different_things() -> None:
    made, taken = set(typing.get_args(effects.Effect)), set(typing.get_args(effects.Command))
    assert not made & taken
    assert len(made) == 10
    assert Count("m", ()).amount == 1
