"""Re-INVITEs: hold, resume, new addresses, refusals (RFC 3261 section 14.2, RFC 3264 section 8)."""

import pytest

from shared.contracts import MediaStart, MediaUpdate
from sipfront.core.call import State, Talk
from sipfront.core.effects import Send
from sipfront.core.terms import Terms
from tests.support.front_bench import FrontBench
from tests.support.sip_messages import OFFER, Caller, offer, reply

pytestmark = pytest.mark.unit

HELD = OFFER.replace("a=sendrecv", "a=sendonly")


def version(sdp: str) -> int:
    return int(sdp.split("\r\n")[1].split(" ")[2])


def reinvite(caller: Caller, body: str, **changes) -> bytes:
    caller.cseq += 1
    return caller.invite(body=body, **changes)


def test_hold_and_resume_change_direction_and_version():
    bench = FrontBench()
    caller, first = bench.confirmed()
    assert bench.send(reinvite(caller, HELD)) == []
    assert bench.controls(MediaUpdate)[-1].format.direction == "recvonly"
    [held] = bench.media()
    assert held.code == 200
    assert "a=recvonly" in held.body
    assert version(held.body) == version(first.body) + 1
    assert held.header("X-Call-ID") == first.header("X-Call-ID")
    bench.send(caller.ack())
    bench.send(reinvite(caller, OFFER))
    [resumed] = bench.media()
    assert "a=sendrecv" in resumed.body
    bench.send(caller.ack())
    assert bench.advance(40_000) == []
    assert bench.call.state is State.CONFIRMED


def test_same_description_again_is_a_refresh_without_the_media_worker():
    bench = FrontBench()
    caller, first = bench.confirmed()
    [again] = bench.send(reinvite(caller, OFFER))
    assert (again.code, version(again.body)) == (200, version(first.body))
    assert not bench.controls(MediaUpdate)
    bench.send(caller.ack())
    assert bench.call.talk is Talk.SETTLED


def test_new_contact_is_where_our_bye_goes():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    moved = reinvite(caller, OFFER).replace(
        b"Contact: <sip:alice@127.0.0.1:5070>", b"Contact: <sip:bob@127.0.0.1:9>"
    )
    bench.send(moved)
    bench.send(caller.ack())
    [bye] = bench.media_ended()
    assert bye.start == "BYE sip:bob@127.0.0.1:9 SIP/2.0"
    bench.send(reply(bye))


@pytest.mark.parametrize(
    ("body", "code"), [(OFFER.replace("RTP/AVP", "RTP/SAVP"), 488), ("nonsense", 400), (OFFER, 415)]
)
def test_refused_reinvite_leaves_the_session_as_it_was(body, code):
    bench = FrontBench()
    caller, _ = bench.confirmed()
    data = reinvite(caller, body)
    if code == 415:
        data = data.replace(b"application/sdp", b"text/plain")
    [answer] = bench.send(data)
    assert answer.code == code
    assert not bench.controls(MediaUpdate)
    assert bench.call.state is State.CONFIRMED


def test_change_that_the_worker_refuses_is_500_and_the_call_goes_on():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, HELD))
    [answer] = bench.media(ok=False, reason="bad_request")
    assert answer.code == 500
    assert bench.call.agreement.format.direction == "sendrecv"
    assert bench.call.talk is Talk.SETTLED


def test_change_that_the_worker_does_not_answer_is_undone():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, HELD))
    [answer] = bench.advance(2_000)
    assert answer.code == 500
    changes = [update.format.direction for update in bench.controls(MediaUpdate)]
    assert changes == ["recvonly", "sendrecv"]
    bench.media(message=bench.controls(MediaUpdate)[0])  # late
    assert bench.call.talk is Talk.SETTLED


def test_second_reinvite_waits_for_the_first():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, HELD))
    [busy] = bench.send(reinvite(caller, OFFER))
    assert (busy.code, busy.header("Retry-After")) == (500, "1")
    bench.media()
    assert bench.send(reinvite(caller, OFFER))[0].code == 491


def test_reinvite_before_the_ack_of_the_first_answer_is_491():
    bench = FrontBench()
    caller, _ = bench.answered()
    assert bench.send(reinvite(caller, OFFER))[0].code == 491


def test_reinvite_while_we_hang_up_is_481():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.media_ended()
    assert bench.send(reinvite(caller, OFFER))[0].code == 481


def test_cancelled_reinvite_is_487_and_undone():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, HELD))
    answers = bench.send(caller.request("CANCEL"))
    assert [a.code for a in answers] == [200, 487]
    assert bench.controls(MediaUpdate)[-1].format.direction == "sendrecv"
    assert bench.call.state is State.CONFIRMED
    assert [a.code for a in bench.send(caller.request("CANCEL"))] == [200]


def test_bye_during_a_reinvite_answers_both():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, HELD))
    answers = bench.send(caller.bye())
    assert sorted(a.code for a in answers) == [200, 487]
    bench.media(message=bench.closes()[-1])
    bench.assert_empty()


def test_reinvite_that_is_never_acknowledged_ends_the_call():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, OFFER))
    assert bench.advance(32_000)[-1].method == "BYE"
    assert bench.closes()[-1].reason == "no_ack"


def test_reinvite_without_offer_gets_our_formats_and_the_ack_decides():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    [answer] = bench.send(reinvite(caller, ""))
    assert "m=audio 40000 RTP/AVP 0 8 13 96" in answer.body
    bench.send(caller.ack(offer(c="IN IP4 127.0.0.2")))
    assert bench.controls(MediaUpdate)[-1].remote.host == "127.0.0.2"
    assert bench.call.state is State.CONFIRMED


def test_reinvite_without_offer_whose_ack_is_unusable_keeps_the_session():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, ""))
    bench.send(caller.ack("rubbish"))
    assert not bench.controls(MediaUpdate)
    assert bench.call.state is State.CONFIRMED


def test_repeated_ack_of_an_earlier_answer_changes_nothing():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(reinvite(caller, OFFER))
    first_ack = caller.request("ACK", cseq=1)
    bench.send(first_ack)
    assert bench.call.talk is Talk.SAID
    bench.send(caller.ack())
    assert bench.call.talk is Talk.SETTLED
    assert bench.advance(1_000) == []
    assert bench.all(Send)


def test_body_of_another_kind_is_told_what_is_taken():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    caller.cseq += 1
    [answer] = bench.send(caller.invite(body="x", kind="text/plain"))
    assert (answer.code, answer.header("Accept")) == (415, "application/sdp")
    assert bench.call.state is State.CONFIRMED


# --- codecs and keys

WIDE = Terms(codecs=("OPUS", "G722", "PCMU", "PCMA"), srtp="optional")
KEYED = (
    OFFER.replace("RTP/AVP", "RTP/SAVP") + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\r\n"
)
OPUS = offer(m="audio 6000 RTP/AVP 107 8") + "a=rtpmap:107 opus/48000/2\r\n"


def confirmed(body: str) -> tuple[FrontBench, Caller]:
    bench, caller = FrontBench(terms=WIDE), Caller()
    bench.answered(caller, caller.invite(body=body))
    bench.send(caller.ack())
    bench.media(message=bench.controls(MediaStart)[-1])
    return bench, caller


def test_another_codec_is_an_update():
    bench, caller = confirmed(OFFER)
    bench.send(reinvite(caller, OPUS))
    assert bench.controls(MediaUpdate)[-1].format.codec == "OPUS"
    [answer] = bench.media()
    assert "a=rtpmap:107 opus/48000/2" in answer.body


def test_same_keys_again_change_nothing_and_other_keys_come_with_a_new_one_of_ours():
    bench, caller = confirmed(KEYED)
    ours = bench.opens()[-1].srtp.local
    [answer] = bench.send(reinvite(caller, KEYED))
    assert answer.code == 200
    assert not bench.controls(MediaUpdate)
    bench.send(caller.ack())
    bench.send(reinvite(caller, KEYED.replace("A" * 40, "B" * 40)))
    changed = bench.controls(MediaUpdate)[-1].srtp
    assert changed.remote != bytes(30)
    assert changed.local != ours
    [answer] = bench.media()
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" in answer.body


def test_offer_of_ours_in_a_call_with_keys_keeps_them():
    bench, caller = confirmed(KEYED)
    [answer] = bench.send(reinvite(caller, ""))
    assert "m=audio 40000 RTP/SAVP" in answer.body
    bench.send(caller.ack(KEYED))
    assert not bench.controls(MediaUpdate)
    assert bench.call.offer is None
    caller.cseq += 1
    [answer] = bench.send(caller.invite(body=""))
    bench.send(caller.ack(KEYED.replace("A" * 40, "B" * 40)))
    update = bench.controls(MediaUpdate)[-1]
    assert update.srtp.local == bench.opens()[-1].srtp.local
    assert update.srtp.remote != bytes(30)


def test_late_offer_brings_the_codec_with_the_ack():
    bench, caller = FrontBench(terms=WIDE), Caller()
    bench.answered(caller, caller.invite(body=""))
    bench.send(caller.ack(OPUS))
    update = bench.controls(MediaUpdate)[-1]
    assert (update.format.codec, update.format.payload_type, update.format.direction) == (
        "OPUS",
        107,
        "sendrecv",
    )


def test_address_that_only_the_worker_refuses_is_488():
    bench, caller = FrontBench(), Caller()
    bench.send(caller.invite())
    bench.reserved()
    [answer] = bench.media(ok=False, reason="remote_denied")
    assert answer.code == 488
    assert "remote_denied" in answer.header("Warning")
