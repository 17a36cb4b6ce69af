"""Messages between front and media worker: which fields must come, which values exist, what an old sender omits."""

from typing import Any, get_args

import msgpack
import msgspec
import pytest

from shared.contracts import (
    AppSpec,
    EndReason,
    MediaAnswer,
    MediaClose,
    MediaEnded,
    MediaFormat,
    MediaOpen,
    MediaStart,
    MediaUpdate,
    Message,
    RtpEndpoint,
    TurnSettings,
    decode,
    encode,
)
from shared.errors import ContractError
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.unit

REQUESTS = (MediaOpen, MediaStart, MediaUpdate, MediaClose)
CONTROL = [m for m in SAMPLES if isinstance(m, (*REQUESTS, MediaAnswer, MediaEnded))]


def fields(message: Message) -> dict[str, Any]:
    found = msgpack.unpackb(encode(message))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("message", CONTROL, ids=lambda m: type(m).__name__)
def test_message_without_a_required_field_is_refused_by_name(message: Message) -> None:
    required = [f.name for f in msgspec.structs.fields(type(message)) if f.required]
    assert required
    for name in required:
        short = {k: v for k, v in fields(message).items() if k != name}
        with pytest.raises(ContractError, match=name):
            decode(msgpack.packb(short))


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda k: k.__name__)
def test_every_request_says_whom_to_answer_about_which_call(kind: type[Message]) -> None:
    required = {f.name for f in msgspec.structs.fields(kind) if f.required}
    assert {"msg_id", "reply_to", "call_id"} <= required


@pytest.mark.parametrize("reason", get_args(EndReason))
def test_every_reason_of_an_end_travels(reason: Any) -> None:
    for message in (
        MediaClose(msg_id="m", reply_to="f", call_id="c", reason=reason),
        MediaEnded(msg_id="m", call_id="c", reason=reason),
    ):
        assert decode(encode(message)) == message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format", "codec"), "G729"),
        (("format", "direction"), "both"),
        (("format", "payload_type"), "0"),
        (("app", "kind"), "karaoke"),
        (("remote", "rtp_port"), "4000"),
        (("rtp_port",), None),
        (("record",), "yes"),
        (("metadata",), {"x": 1}),
        (("media_cidrs",), "10.0.0.0/8"),
    ],
)
def test_open_with_a_wrong_value_is_refused(path: tuple[str, ...], value: object) -> None:
    tree = fields(SAMPLES[0])
    node = tree
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value
    with pytest.raises(ContractError, match=path[-1]):
        decode(msgpack.packb(tree))


def test_open_of_a_front_that_knows_no_options_gets_their_defaults() -> None:
    opened = MediaOpen(
        msg_id="m", reply_to="f", call_id="c", sip_call_id="s", tenant="t", room_id="r", session_id="e",
        rtp_port=20_000, remote=RtpEndpoint(host="192.0.2.1", rtp_port=4_000),
        format=MediaFormat(codec="PCMU", payload_type=0), app=AppSpec(kind="echo"),
    )  # fmt: skip
    sent = fields(opened)
    assert {"ai", "record", "media_cidrs", "metadata"}.isdisjoint(sent), "defaults are not sent"
    read = decode(encode(opened))
    assert isinstance(read, MediaOpen)
    assert read.app.turn == TurnSettings()
    assert read.format.dtmf_payload_type is None
    assert (read.format.ptime_ms, read.format.direction) == (20, "sendrecv")
    assert (read.ai.stt, read.ai.llm, read.ai.tts) == ("", "", "")
    assert read.remote.rtcp_port == 0


def test_defaults_of_a_turn_follow_each_other() -> None:
    turn = TurnSettings()
    assert turn.onset_ms < turn.pre_roll_ms
    assert turn.onset_ms < turn.barge_in_ms
    assert turn.pause_ms < turn.endpoint_ms < turn.max_utterance_ms
    assert turn.max_utterance_ms < 30_000  # Whisper's window
