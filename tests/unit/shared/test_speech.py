"""Messages of a turn: audio stays bytes, marks are numbers that never change, frames are arrays without names."""

from typing import Any

import msgpack
import msgspec
import pytest

from shared.contracts import (
    DialogueAttach,
    Mark,
    Message,
    PcmToMedia,
    PcmToStt,
    ReplyEnd,
    ReplyFrame,
    Speak,
    SpeechStarted,
    StageTimes,
    Transcript,
    UtteranceFrame,
    contracts,
    decode,
    encode,
)
from shared.errors import ContractError
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.unit

TURNS = [m for m in SAMPLES if str(type(m).__struct_config__.tag).startswith(("stt.", "llm.", "tts."))]


def fields(message: Message) -> dict[str, Any]:
    return dict(msgpack.unpackb(encode(message)))


def test_numbers_of_the_marks_never_change() -> None:
    assert [(mark.name, mark.value) for mark in Mark] == [
        ("AUDIO", 0), ("START", 1), ("PAUSE", 2), ("RESUME", 3), ("END", 4), ("ABORT", 5),
    ]  # fmt: skip


@pytest.mark.parametrize("mark", Mark)
def test_utterance_frame_is_an_array_and_its_audio_bytes(mark: Mark) -> None:
    frame = UtteranceFrame("c", 1, 2, 160, mark, bytes(range(256)), 40)
    message = PcmToStt(rate_hz=8_000, frames=[frame])
    assert fields(message)["frames"] == [["c", 1, 2, 160, int(mark), bytes(range(256)), 40]]
    assert decode(encode(message)) == message


def test_frame_of_an_older_sender_lacks_its_last_fields() -> None:
    old = {"t": "pcm.stt", "v": 1, "rate_hz": 8_000, "frames": [["c", 1, 2, 0, 1, b"ab"]]}
    read = decode(msgpack.packb(old))
    assert isinstance(read, PcmToStt)
    assert read.frames[0].silence_ms == 0
    reply = {"t": "pcm.media", "v": 1, "rate_hz": 8_000, "frames": [["c", 1, 2, 0, b"ab"]]}
    heard = decode(msgpack.packb(reply))
    assert isinstance(heard, PcmToMedia)
    assert heard.frames[0] == ReplyFrame("c", 1, 2, 0, b"ab", last=False)


def test_frame_of_a_newer_sender_has_more_fields() -> None:
    new = {"t": "pcm.stt", "v": 1, "rate_hz": 8_000, "frames": [["c", 1, 2, 0, 1, b"ab", 0, "added later"]]}
    read = decode(msgpack.packb(new))
    assert isinstance(read, PcmToStt)
    assert read.frames == [UtteranceFrame("c", 1, 2, 0, Mark.START, b"ab", 0)]


@pytest.mark.parametrize(
    "frame",
    [
        ["c", 1, 2, 0, 6, b"ab"],  # a mark that is none
        ["c", 1, 2, 0, 1, "text"],
        ["c", 1, 2, 0, 1],
        ["c", "1", 2, 0, 1, b""],
        {"call_id": "c"},
        [],
        None,
    ],
)
def test_broken_frame_is_refused_with_its_whole_entry(frame: object) -> None:
    with pytest.raises(ContractError, match=r"pcm\.stt"):
        decode(msgpack.packb({"t": "pcm.stt", "v": 1, "rate_hz": 8_000, "frames": [frame]}))


@pytest.mark.parametrize("kind", ["guess", "FINAL", "", None])
def test_transcript_of_another_kind_is_refused(kind: object) -> None:
    sample = Transcript(call_id="c", epoch=1, turn=1, kind="final", text="x")
    with pytest.raises(ContractError, match="kind"):
        decode(msgpack.packb(fields(sample) | {"kind": kind}))


@pytest.mark.parametrize("message", TURNS, ids=lambda m: type(m).__name__)
def test_every_message_of_a_dialogue_says_which_call(message: Message) -> None:
    assert "call_id" in {f.name for f in msgspec.structs.fields(type(message)) if f.required}


@pytest.mark.parametrize("kind", [SpeechStarted, Transcript, Speak, ReplyEnd], ids=lambda k: k.__name__)
def test_what_belongs_to_a_turn_is_fenced_by_its_number(kind: type[Message]) -> None:
    """I4: a number that is left out must not be taken for the current one."""
    assert "turn" in {f.name for f in msgspec.structs.fields(kind) if f.required}


def test_stage_that_did_not_happen_is_told_apart_from_one_that_took_no_time() -> None:
    assert set(msgspec.structs.asdict(StageTimes()).values()) == {-1.0}
    message = Speak(
        call_id="c", epoch=1, turn=1, segment=0, text="x", media="m", times=StageTimes(stt_decode_ms=0.0)
    )
    read = decode(encode(message))
    assert isinstance(read, Speak)
    assert (read.times.stt_decode_ms, read.times.stt_wait_ms) == (0.0, -1.0)


def test_new_dialogue_is_not_taken_for_one_that_moved() -> None:
    attach = next(m for m in SAMPLES if isinstance(m, DialogueAttach))
    assert attach.resumed
    short = {k: v for k, v in fields(attach).items() if k not in {"resumed", "turn"}}
    read = decode(msgpack.packb(short))
    assert isinstance(read, DialogueAttach)
    assert not read.resumed
    assert read.turn == 0


def test_every_contract_is_at_its_first_version_or_has_an_upgrade() -> None:
    from shared.contracts.codec import _UPGRADES  # noqa: PLC0415  the table has no other reader

    for tag, kind in contracts().items():
        assert all((tag, old) in _UPGRADES for old in range(1, kind.version))
