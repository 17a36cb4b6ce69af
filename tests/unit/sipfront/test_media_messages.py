"""What a call asks of its media worker: every fact of the call is in it, and nothing of another call."""

import pytest

from shared.config import Route
from shared.contracts import (
    AiWorkers,
    MediaClose,
    MediaFormat,
    MediaOpen,
    RtpEndpoint,
    SrtpKeys,
    TurnSettings,
    decode,
    encode,
)
from sipfront.core.effects import Place, Reserve
from sipfront.core.info import Press
from sipfront.core.media_messages import (
    close_message,
    digit_message,
    open_message,
    reservation,
    start_message,
    update_message,
)
from sipfront.core.offer_answer import Agreement
from sipfront.core.terms import Terms
from tests.support.front_bench import PLACE, FrontBench
from tests.support.sip_messages import OFFER, Caller

pytestmark = pytest.mark.unit

HEADERS = "X-Room-ID: lobby\r\nX-Session-ID: s9\r\nX-Tenant-ID: acme\r\nX-Color: red\r\n"
TURN = TurnSettings(endpoint_ms=700)
ROUTES = [
    Route(
        user="helper",
        app="agent",
        agent="demo",
        language="de",
        record=True,
        turn=TURN,
        options={"mode": "x"},
        media_cidrs=("198.51.100.0/24",),
    )
]


@pytest.fixture
def bench():
    made = FrontBench(ROUTES, media_cidrs=("10.9.0.0/16",))
    made.send(Caller(user="helper").invite(headers=HEADERS))
    return made


def settings(bench):
    return bench.front._desk.settings


def test_reservation_says_who_calls_whom_for_what(bench):
    asked = reservation(bench.call, settings(bench))
    assert asked == bench.last(Reserve)
    assert asked.needs == ("stt", "llm", "tts")
    assert not asked.again
    assert {k: asked.fields[k] for k in ("tenant", "room_id", "session_id", "app", "agent", "front")} == {
        "tenant": "acme", "room_id": "lobby", "session_id": "s9", "app": "agent", "agent": "demo",
        "front": "front-0.1",
    }  # fmt: skip
    assert asked.fields["sip_call_id"] == "callid-1"
    assert asked.fields["caller"].startswith("alice@")
    assert reservation(bench.call, settings(bench), again=True).again


def test_every_field_of_a_reservation_is_text(bench):
    assert all(isinstance(value, str) for value in reservation(bench.call, settings(bench)).fields.values())


def test_open_carries_the_whole_call(bench):
    place = Place("media-9.x", 40_100, "192.0.2.9", "stt-0.a", "llm-0.b", "tts-0.c")
    opened = open_message(bench.call, place, settings(bench), "m7")
    assert isinstance(opened, MediaOpen)
    assert decode(encode(opened)) == opened
    assert (opened.msg_id, opened.reply_to, opened.call_id) == ("m7", "front-0.1", bench.call.call_id)
    assert opened.rtp_port == 40_100
    assert opened.ai == AiWorkers(stt="stt-0.a", llm="llm-0.b", tts="tts-0.c")
    assert (opened.app.kind, opened.app.agent, opened.app.language) == ("agent", "demo", "de")
    assert opened.app.turn == TURN
    assert opened.app.options == {"mode": "x"}
    assert opened.record
    assert opened.media_cidrs == ["10.9.0.0/16", "198.51.100.0/24"]
    assert opened.metadata["x-color"] == "red"
    assert opened.remote.rtp_port == 6_000
    assert (opened.format.codec, opened.format.payload_type, opened.format.dtmf_payload_type) == (
        "PCMA",
        8,
        96,
    )


def test_later_messages_name_the_call_and_who_waits(bench):
    call, ours = bench.call, settings(bench)
    remote = RtpEndpoint(host="192.0.2.8", rtp_port=7_000)
    changed = MediaFormat(codec="PCMU", payload_type=0, direction="recvonly")
    keys = SrtpKeys(suite="AEAD_AES_128_GCM", local=b"1" * 28, remote=b"2" * 28)
    update = update_message(call, ours, "m2", Agreement(remote=remote, format=changed, srtp=keys))
    assert (update.remote, update.format, update.srtp) == (remote, changed, keys)
    for message in (start_message(call, ours, "m1"), update, close_message(call, ours, "m3")):
        assert (message.call_id, message.reply_to) == (call.call_id, "front-0.1")
        assert decode(encode(message)) == message


def test_close_says_why_the_call_ended(bench):
    bench.reserved(PLACE)
    bench.media()
    caller = Caller(user="helper", to_tag=bench.call.dialog.local_tag)
    bench.send(caller.ack())
    bench.send(caller.bye())
    [closed] = bench.controls(MediaClose)
    assert closed.reason == "bye"


def test_key_press_is_told_as_it_came(bench):
    told = digit_message(bench.call, settings(bench), "m4", Press("#", 90))
    assert (told.call_id, told.reply_to, told.digit, told.duration_ms) == (
        bench.call.call_id,
        "front-0.1",
        "#",
        90,
    )
    assert decode(encode(told)) == told


def test_keys_reach_the_media_worker_with_the_call():
    bench = FrontBench(ROUTES, terms=Terms(srtp="optional"))
    line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
    bench.send(Caller(user="helper").invite(body=f"{OFFER}{line}\r\n"))
    opened = open_message(bench.call, PLACE, settings(bench), "m8")
    assert opened.srtp
    assert opened.srtp == bench.call.agreement.srtp
    assert decode(encode(opened)).srtp == opened.srtp
