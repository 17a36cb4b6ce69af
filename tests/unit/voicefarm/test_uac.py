"""The caller's SIP dialog: every state and event, retransmission, refusal, cancel, hang-up from both sides."""

import itertools

import pytest
from aiosipua.message import SipMessage, SipRequest

from voicefarm.core.offer import Offer
from voicefarm.core.uac import (
    GIVE_UP_NS,
    RING_NS,
    T1_NS,
    T2_NS,
    Answered,
    Effect,
    Ended,
    Identity,
    Moved,
    Ringing,
    Send,
    Uac,
)
from voicefarm.core.uac_table import TRANSITIONS, Event, State, Step

pytestmark = pytest.mark.unit

PEER = ("192.0.2.10", 5070)
ME = Identity(
    target="sip:agent@192.0.2.10:5070", host="192.0.2.1", port=40_000, call_id="c1@x", tag="mine", branch="abc",
    headers={"X-Room-ID": "r7"},
)  # fmt: skip
SDP = Offer(host="192.0.2.10", rtp_port=20_000, session=5).sdp()


def uac() -> Uac:
    return Uac(ME, Offer(host="192.0.2.1", rtp_port=26_000, session=1))


def sent(effects: list[Effect]) -> list[SipRequest]:
    parsed = [SipMessage.parse(effect.data) for effect in effects if isinstance(effect, Send)]
    assert all(isinstance(message, SipRequest) for message in parsed)
    return parsed  # type: ignore[return-value]


def methods(effects: list[Effect]) -> list[str]:
    return [request.method for request in sent(effects)]


def answer(request: SipMessage, status: str, *more: str, body: bytes = b"", tag: str = "theirs") -> bytes:
    assert request.to_addr is not None
    to = request.get_header("To") or ""
    lines = [
        f"SIP/2.0 {status}",
        f"Via: {request.get_header_values('Via')[0]}",
        f"From: {request.get_header('From')}",
        f"To: {to}" if ";tag=" in to else f"To: {to};tag={tag}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.get_header('CSeq')}",
        *more,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def called() -> tuple[Uac, SipRequest]:
    made = uac()
    return made, sent(made.call(0))[0]


def talking(*more: str) -> tuple[Uac, SipRequest, list[Effect]]:
    made, invite = called()
    lines = ("Contact: <sip:farm@192.0.2.11:5080>", "X-Call-ID: 0190aa", *more)
    return made, invite, made.receive(answer(invite, "200 OK", *lines, body=SDP), PEER, 1)


def from_farm(
    method: str, *more: str, cseq: int = 1, tag: str = "mine", body: bytes = b"", branch: str = "z9hG4bKf1"
) -> bytes:
    lines = [
        f"{method} sip:caller@192.0.2.1:40000 SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.10:5070;branch={branch}",
        "From: <sip:agent@192.0.2.10:5070>;tag=theirs",
        f"To: <sip:caller@192.0.2.1>;tag={tag}",
        "Call-ID: c1@x",
        f"CSeq: {cseq} {method}",
        *more,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(effect: Effect) -> int:
    assert isinstance(effect, Send)
    return int(effect.data.split()[1])


def test_invite_offers_audio_and_carries_the_headers() -> None:
    made, invite = called()
    assert (invite.method, invite.uri) == ("INVITE", "sip:agent@192.0.2.10:5070")
    assert invite.get_header("X-Room-ID") == "r7"
    assert b"m=audio 26000 RTP/AVP 0 8 101" in invite.body
    assert made.state is State.CALLING


def test_an_unanswered_invite_is_repeated_at_doubling_intervals_and_given_up() -> None:
    made, _ = called()
    times = []
    while made.due_ns is not None and made.due_ns < GIVE_UP_NS:
        times.append(made.due_ns)
        assert methods(made.tick(made.due_ns)) == ["INVITE"]
    assert times == [T1_NS * (2**n - 1) for n in range(1, 7)]
    assert made.tick(GIVE_UP_NS) == [Ended(by_farm=False, code=408, reason="no answer")]
    assert made.state is State.ENDED
    assert made.due_ns is None


def test_a_provisional_response_stops_the_repeats() -> None:
    made, invite = called()
    assert made.receive(answer(invite, "180 Ringing"), PEER, 1) == [Ringing(180)]
    assert made.due_ns == 1 + RING_NS
    assert made.tick(T1_NS) == []
    assert methods(made.tick(1 + RING_NS)) == ["CANCEL"]


def test_an_answer_is_acknowledged_at_the_contact() -> None:
    made, invite, effects = talking()
    ack = sent(effects)[0]
    assert (ack.method, ack.uri) == ("ACK", "sip:farm@192.0.2.11:5080")
    assert effects[0] == Send(effects[0].data, "192.0.2.11", 5080)  # type: ignore[union-attr]
    assert ack.to_addr is not None
    assert ack.to_addr.tag == "theirs"
    assert ack.via[0].params["branch"] != invite.via[0].params["branch"], (
        "an ACK to a 2xx is a transaction of its own"
    )
    answered = effects[1]
    assert isinstance(answered, Answered)
    assert (answered.call_id, answered.remote.host, answered.remote.port) == ("0190aa", "192.0.2.10", 20_000)
    assert made.due_ns is None


def test_a_repeated_200_is_acknowledged_again_and_tells_nothing() -> None:
    made, invite, _ = talking()
    again = made.receive(answer(invite, "200 OK", "Contact: <sip:farm@192.0.2.11:5080>", body=SDP), PEER, 2)
    assert methods(again) == ["ACK"]
    assert len(again) == 1


def test_record_route_is_followed_backwards() -> None:
    made, _, effects = talking("Record-Route: <sip:192.0.2.20:5061;lr>, <sip:192.0.2.21;lr>")
    ack = sent(effects)[0]
    assert ack.get_header_values("Route") == ["<sip:192.0.2.21;lr>", "<sip:192.0.2.20:5061;lr>"]
    assert ack.uri == "sip:farm@192.0.2.11:5080"
    bye = made.hang_up(3)[0]
    assert isinstance(bye, Send)
    assert (bye.host, bye.port) == ("192.0.2.21", 5060)


def test_an_answer_without_usable_audio_is_hung_up() -> None:
    made, invite = called()
    effects = made.receive(answer(invite, "200 OK", body=SDP.replace(b" 0 8 101", b" 96")), PEER, 1)
    assert methods(effects) == ["ACK", "BYE"]
    assert effects[-1] == Ended(by_farm=True, code=488, reason="no usable audio in the answer")


def test_a_refusal_is_acknowledged_within_the_transaction() -> None:
    made, invite = called()
    response = answer(invite, "503 Service Unavailable", "Retry-After: 5")
    effects = made.receive(response, PEER, 1)
    ack = sent(effects)[0]
    assert ack.method == "ACK"
    assert ack.via[0].params["branch"] == invite.via[0].params["branch"]
    assert ack.get_header("CSeq") == "1 ACK"
    assert effects[1] == Ended(by_farm=True, code=503, reason="Service Unavailable")
    assert methods(made.receive(response, PEER, 2)) == ["ACK"], "the refusal came again: our ACK was lost"


def test_hang_up_before_any_answer_waits_for_one_before_it_cancels() -> None:
    made, invite = called()
    assert made.hang_up(1) == []
    cancel = sent(made.receive(answer(invite, "100 Trying"), PEER, 2))[0]
    assert cancel.method == "CANCEL"
    assert cancel.via[0].params["branch"] == invite.via[0].params["branch"]
    assert cancel.get_header("CSeq") == "1 CANCEL"
    assert made.receive(answer(cancel, "200 OK"), PEER, 3) == []
    assert made.tick(T1_NS * 2) == [], "an answered CANCEL is not repeated"
    effects = made.receive(answer(invite, "487 Request Terminated"), PEER, 4)
    assert methods(effects) == ["ACK"]
    assert effects[-1] == Ended(by_farm=False)


def test_an_answer_that_crosses_the_cancel_is_hung_up() -> None:
    made, invite = called()
    made.receive(answer(invite, "180 Ringing"), PEER, 1)
    assert methods(made.hang_up(2)) == ["CANCEL"]
    effects = made.receive(answer(invite, "200 OK", body=SDP), PEER, 3)
    assert methods(effects) == ["ACK", "BYE"]
    assert made.state is State.ENDING


def test_a_bye_is_repeated_until_it_is_answered() -> None:
    made, _, _ = talking()
    bye = sent(made.hang_up(0))[0]
    assert bye.get_header("CSeq") == "2 BYE"
    times = []
    while made.due_ns is not None and len(times) < 6:
        times.append(made.due_ns)
        assert methods(made.tick(made.due_ns)) == ["BYE"]
    gaps = [b - a for a, b in itertools.pairwise([0, *times])]
    assert gaps == [T1_NS, 2 * T1_NS, 4 * T1_NS, T2_NS, T2_NS, T2_NS]
    assert made.receive(answer(bye, "100 Trying"), PEER, times[-1]) == []
    assert made.receive(answer(bye, "200 OK"), PEER, times[-1]) == [Ended(by_farm=False)]
    assert made.due_ns is None


def test_a_200_that_comes_again_does_not_stop_the_repeats_of_a_bye() -> None:
    made, invite, _ = talking()
    made.hang_up(2)
    again = made.receive(answer(invite, "200 OK", "Contact: <sip:farm@192.0.2.11:5080>", body=SDP), PEER, 3)
    assert methods(again) == ["ACK"]
    assert made.due_ns == 2 + T1_NS
    assert methods(made.tick(2 + T1_NS)) == ["BYE"]


def test_a_bye_that_nobody_answers_ends_the_call_all_the_same() -> None:
    made, _, _ = talking()
    made.hang_up(0)
    assert made.tick(GIVE_UP_NS) == [Ended(by_farm=False)]


def test_the_farms_bye_is_answered_also_when_it_comes_again() -> None:
    made, _, _ = talking()
    effects = made.receive(from_farm("BYE"), PEER, 5)
    assert status_of(effects[0]) == 200
    assert effects[1] == Ended(by_farm=True)
    again = made.receive(from_farm("BYE"), PEER, 6)
    assert [status_of(effect) for effect in again] == [200]


def test_replies_go_to_where_the_request_came_from() -> None:
    made, _, _ = talking()
    effect = made.receive(from_farm("OPTIONS"), ("198.51.100.9", 9), 5)[0]
    assert isinstance(effect, Send)
    assert (effect.host, effect.port) == ("198.51.100.9", 9)


def test_a_reinvite_moves_the_audio() -> None:
    made, _, _ = talking()
    offer = Offer(host="192.0.2.30", rtp_port=21_000, session=5).sdp("sendonly")
    effects = made.receive(from_farm("INVITE", "Contact: <sip:farm@192.0.2.12>", body=offer), PEER, 5)
    assert status_of(effects[0]) == 200
    assert b"a=recvonly" in effects[0].data  # type: ignore[union-attr]
    moved = effects[1]
    assert isinstance(moved, Moved)
    assert (moved.remote.host, moved.remote.port) == ("192.0.2.30", 21_000)
    bye = made.hang_up(6)[0]
    assert isinstance(bye, Send)
    assert bye.host == "192.0.2.12", "the re-INVITE's Contact is the new target (section 12.2.2)"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (from_farm("BYE", tag="other"), 481),
        (from_farm("INVITE", body=b"v=0\r\n"), 488),
        (from_farm("OPTIONS"), 200),
        (from_farm("INFO"), 200),
        (from_farm("REFER"), 405),
    ],
)
def test_other_requests_are_answered(request_bytes: bytes, status: int) -> None:
    made, _, _ = talking()
    assert [status_of(effect) for effect in made.receive(request_bytes, PEER, 5)] == [status]
    assert made.state is State.TALKING


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00\x80 garbage",
        b"SIP/2.0 abc\r\n\r\n",
        b"SIP/2.0 200 OK\r\nCall-ID: c1@x\r\nCSeq: 1 INVITE\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKother\r\nCall-ID: c1@x\r\nCSeq: 1 INVITE\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1abc\r\nCall-ID: c2@x\r\nCSeq: 1 INVITE\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1abc\r\nCall-ID: c1@x\r\nCSeq: x INVITE\r\n\r\n",
        from_farm("ACK"),
    ],
)
def test_what_is_not_ours_is_passed_over(data: bytes) -> None:
    made, _ = called()
    assert made.receive(data, PEER, 1) == []
    assert made.state is State.CALLING


def test_hang_up_before_the_call_ends_it() -> None:
    made = uac()
    assert made.hang_up(0) == [Ended(by_farm=False)]
    assert made.call(1) == [], "an ended call does not begin"


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_an_event_that_is_not_listed_changes_nothing(state: State, event: Event) -> None:
    made, _ = called()
    made.state = state
    if event in TRANSITIONS[state]:
        assert TRANSITIONS[state][event][0] in State
        return
    assert made._happen(event, 5) == []
    assert made.state is state


def test_the_table_ends_every_call_it_can_lose() -> None:
    for state in set(State) - {State.IDLE, State.TALKING, State.ENDED}:
        assert Event.TIMEOUT in TRANSITIONS[state], f"{state} would last for ever"
    tells = {Step.TELL_ENDED, Step.TELL_REFUSED, Step.TELL_TIMEOUT, Step.TELL_HUNG_UP}
    for state, row in TRANSITIONS.items():
        for event, (then, steps) in row.items():
            if then is State.ENDED and state is not State.ENDED:
                assert tells & set(steps), f"{state} {event} ends the call and says nothing"
