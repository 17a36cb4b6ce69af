"""A call from INVITE to its end, on every path; afterwards nothing of it is left (I1)."""

import pytest

from shared.contracts import MediaOpen, MediaStart, MediaUpdate
from sipfront.core import lease
from sipfront.core.call import State
from sipfront.core.effects import Count, LogEvent, MarkAnswered, Observe, Release, Reserve, Send
from tests.support.front_bench import PLACE, FrontBench
from tests.support.sip_messages import Caller, reply

pytestmark = pytest.mark.unit


def closed(bench: FrontBench) -> None:
    """The media worker answers MediaClose; then nothing is left."""
    bench.media(message=bench.closes()[-1])
    bench.assert_empty()


def test_call_is_answered_only_after_the_leg_is_open():
    bench = FrontBench()
    caller = Caller()
    assert [a.code for a in bench.send(caller.invite())] == [100]
    assert bench.reserved() == []
    assert bench.last(Reserve).fields["app"] == "echo"
    [opened] = bench.opens()
    assert (opened.rtp_port, opened.remote.rtp_port, opened.reply_to) == (40_000, 6_000, "front-0.1")
    [answer] = bench.media()
    assert (answer.code, answer.header("X-Call-ID")) == (200, opened.call_id)
    assert answer.header("Contact") == "<sip:127.0.0.1:5060>"
    assert "c=IN IP4 192.0.2.9" in answer.body
    assert bench.last(MarkAnswered).call_id == opened.call_id


def test_record_route_is_copied_into_the_200_and_not_into_failures():
    routes = "Record-Route: <sip:192.0.2.7;lr;n=2>\r\nRecord-Route: <sip:192.0.2.8;lr>"
    bench = FrontBench()
    _, answer = bench.answered(data=Caller().invite(headers=routes))
    assert answer.values("Record-Route") == ["<sip:192.0.2.7;lr;n=2>", "<sip:192.0.2.8;lr>"]
    [refusal] = bench.send(Caller(number="2").invite(body="x", headers=routes))
    assert refusal.values("Record-Route") == []


def test_caller_hangs_up():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.advance(3_000)
    [answer] = bench.send(caller.bye())
    assert answer.code == 200
    assert bench.closes()[-1].reason == "bye"
    assert bench.all(Observe)[-1] == Observe("voicefarm_call_duration_seconds", 3.0)
    assert bench.send(caller.request("BYE"))[0].data == answer.data  # repeated
    closed(bench)
    assert bench.counted("voicefarm_calls", "bye") == 1
    assert not bench.released()


def test_200_is_repeated_until_the_ack_at_the_intervals_of_the_rfc():
    bench = FrontBench()
    caller, answer = bench.answered()
    times = []
    for _ in range(400):
        if bench.advance(50):
            times.append(round(bench.now_ns / 1e6))
        if len(times) == 6:
            break
    assert times == [500, 1_500, 3_500, 7_500, 11_500, 15_500]
    bench.send(caller.ack())
    assert bench.advance(20_000) == []
    assert answer.code == 200


def test_call_that_is_never_acknowledged_ends_with_bye_after_32_s():
    bench = FrontBench()
    caller, answer = bench.answered()
    answers = bench.advance(32_000)
    assert {a.data for a in answers if a.code} == {answer.data}
    bye = answers[-1]
    assert bye.start == "BYE sip:alice@127.0.0.1:5070 SIP/2.0"
    assert bench.closes()[-1].reason == "no_ack"
    bench.send(reply(bye))
    closed(bench)
    assert not bench.controls(MediaStart)
    assert bench.counted("voicefarm_calls", "no_ack") == 1
    assert caller.to_tag == answer.to_tag


def test_repeated_invite_gets_the_same_answer_and_makes_no_second_call():
    bench = FrontBench()
    caller = Caller()
    [trying] = bench.send(caller.invite())
    assert [a.data for a in bench.send(caller.invite())] == [trying.data]
    bench.reserved()
    bench.media()
    assert bench.send(caller.invite()) == []  # RFC 6026: absorbed, the call repeats its 200 itself
    assert len(bench.all(Reserve)) == 1


@pytest.mark.parametrize("moment", ["reserving", "opening"])
def test_cancel_before_the_answer_is_487_and_gives_everything_back(moment):
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    if moment == "opening":
        bench.reserved()
    ok, terminated = bench.send(caller.request("CANCEL", contact=False))
    assert (ok.code, ok.header("CSeq")) == (200, "1 CANCEL")
    assert (terminated.code, terminated.header("CSeq")) == (487, "1 INVITE")
    assert ok.to_tag == terminated.to_tag
    bench.send(caller.failure_ack(terminated))
    if moment == "reserving":
        assert len(bench.front.calls) == 1
        bench.reserved()
        assert bench.released() == [Release(bench.last(Reserve).call_id, PLACE)]
        assert not bench.opens()
    else:
        assert bench.closes()[-1].reason == "cancel"
        bench.media(message=bench.opens()[0])  # its answer comes late
        bench.media(message=bench.closes()[0])
        assert not bench.released()
    bench.assert_empty()
    assert bench.counted("voicefarm_calls", "cancel") == 1


def test_cancel_before_a_reservation_that_is_refused_leaves_nothing_to_release():
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    bench.send(caller.request("CANCEL"))
    bench.refused()
    assert not bench.released()
    bench.assert_empty()


def test_cancel_that_crosses_the_200_changes_nothing():
    bench = FrontBench()
    caller, _ = bench.answered()
    [ok] = bench.send(caller.request("CANCEL", to_tag=""))
    assert ok.code == 200
    bench.send(caller.ack())
    assert bench.call.state is State.CONFIRMED
    assert bench.send(caller.request("CANCEL", to_tag=""))[0].code == 200
    assert bench.call.state is State.CONFIRMED


@pytest.mark.parametrize("forgery", ["branch", "call-id", "source", "tag"])
def test_cancel_from_elsewhere_is_481(forgery):
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    data, source = caller.request("CANCEL"), ("127.0.0.1", 5070)
    if forgery == "branch":
        data = data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx")
    elif forgery == "call-id":
        data = data.replace(b"callid-1", b"callid-2")
    elif forgery == "tag":
        data = data.replace(b"tag=a1", b"tag=a2")
    else:
        source = ("10.0.0.9", 5070)
    assert [a.code for a in bench.send(data, source)] == [481]
    assert bench.call.state is State.INVITED


def test_refused_reservation_is_503_with_its_reason():
    bench = FrontBench(retry_after_s=7)
    caller = Caller()
    bench.send(caller.invite())
    [answer] = bench.refused("full_stt")
    assert (answer.code, answer.header("Retry-After")) == (503, "7")
    assert "full_stt" in answer.header("Warning")
    assert not bench.released()
    bench.send(caller.failure_ack(answer))
    bench.assert_empty()


def test_refused_leg_is_503_and_released_once():
    bench = FrontBench()
    bench.send(Caller().invite())
    bench.reserved()
    [answer] = bench.media(ok=False, reason="full")
    assert answer.code == 503
    assert bench.released() == [Release(bench.last(Reserve).call_id)]
    bench.assert_empty()


def test_busy_port_is_reserved_again_at_most_three_times():
    bench = FrontBench()
    bench.send(Caller().invite())
    for _ in range(2):
        bench.reserved()
        assert bench.media(ok=False, reason="port_busy") == []
        assert bench.last(Reserve).again
    bench.reserved()
    assert bench.media(ok=False, reason="port_busy")[0].code == 503
    assert len(bench.all(Reserve)) == 3
    bench.assert_empty()


def test_registry_that_does_not_answer_costs_a_503_and_gives_back_what_comes_late():
    bench = FrontBench()
    bench.send(Caller().invite())
    assert [answer.code for answer in bench.advance(2_000)] == [180, 503]
    bench.reserved()
    assert bench.released() == [Release(bench.last(Reserve).call_id, PLACE)]
    bench.assert_empty()


def test_media_worker_that_does_not_answer_costs_a_503_and_is_released_by_us():
    bench = FrontBench()
    bench.send(Caller().invite())
    bench.reserved()
    assert [answer.code for answer in bench.advance(2_000)] == [180, 503]
    assert bench.closes()[-1].reason == "setup_failed"
    assert not bench.released()
    bench.advance(8_000)
    assert len(bench.released()) == 1
    bench.assert_empty()


def test_close_that_the_worker_does_not_know_is_released_by_us():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(caller.bye())
    bench.media(ok=False, reason="unknown_call")
    assert len(bench.released()) == 1
    bench.assert_empty()


def test_leg_that_the_worker_ended_is_hung_up_with_a_repeated_bye():
    bench = FrontBench()
    bench.confirmed()
    [bye] = bench.media_ended("rtp_timeout")
    assert bye.method == "BYE"
    assert 'text="rtp_timeout"' in bye.header("Reason")
    again = bench.advance(1_500)
    assert [a.data for a in again] == [bye.data, bye.data]
    bench.send(reply(bye))
    assert bench.advance(10_000) == []
    assert bench.closes()[-1].reason == "rtp_timeout"
    assert bench.media_ended("rtp_timeout") == []  # said twice
    closed(bench)
    assert bench.counted("voicefarm_calls", "rtp_timeout") == 1


def test_bye_that_nobody_answers_is_given_up():
    bench = FrontBench()
    bench.confirmed()
    bench.media_ended()
    assert len(bench.advance(32_000)) == 10
    closed(bench)


def test_bye_of_both_sides_at_once_ends_the_call():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    [bye] = bench.media_ended()
    assert bench.send(caller.bye())[0].code == 200
    bench.send(reply(bye, 481, "Gone"))
    closed(bench)


def test_end_before_the_ack_waits_for_it_before_the_bye():
    bench = FrontBench()
    caller, _ = bench.answered()
    assert bench.media_ended() == []
    assert bench.call.state is State.DUE
    [bye] = bench.send(caller.ack())
    assert bye.method == "BYE"
    assert not bench.controls(MediaStart)
    bench.send(reply(bye))
    closed(bench)


def test_end_before_the_ack_that_never_comes_says_bye_after_32_s():
    bench = FrontBench()
    bench.answered()
    bench.media_ended()
    assert bench.end() == []
    assert bench.advance(32_000)[-1].method == "BYE"
    closed(bench)


def test_caller_who_hangs_up_before_its_ack_is_answered():
    bench = FrontBench()
    caller, _ = bench.answered()
    assert bench.send(caller.bye())[0].code == 200
    closed(bench)
    bench = FrontBench()
    caller, _ = bench.answered()
    bench.media_ended()
    assert bench.send(caller.bye())[0].code == 200
    closed(bench)


def test_dead_worker_ends_its_calls_and_their_event_logs():
    bench = FrontBench()
    bench.confirmed()
    assert bench.beat(live=[]) == []
    bench.advance(2_000)
    assert bench.beat(live=[]) == []
    bench.advance(1_000)
    [bye] = bench.beat(live=[])
    assert bye.method == "BYE"
    assert bench.last(LogEvent).kind == "call.ended"
    assert not bench.closes()
    assert len(bench.released()) == 1
    bench.send(reply(bye))
    bench.assert_empty()


def test_worker_that_dies_while_opening_costs_a_503():
    bench = FrontBench(answer_wait_ns=10**11)
    bench.send(Caller().invite())
    bench.reserved()
    bench.beat(live=[])
    bench.advance(3_000)
    assert bench.beat(live=[])[0].code == 503
    bench.assert_empty()


def test_worker_that_dies_while_closing_is_released_by_us():
    bench = FrontBench(close_wait_ns=10**11)
    caller, _ = bench.confirmed()
    bench.send(caller.bye())
    bench.beat(live=[])
    bench.advance(3_000)
    bench.beat(live=[])
    assert len(bench.released()) == 1
    bench.assert_empty()


def test_redis_without_memory_kills_no_call():
    bench = FrontBench()
    bench.confirmed()
    bench.beat(live=[])
    bench.advance(2_900)
    bench.beat(live=[], forgotten=True)
    bench.advance(2_900)
    bench.beat()
    assert bench.call.state is State.CONFIRMED


def test_longest_call_ends_at_its_limit():
    bench = FrontBench(max_call_ns=60 * 10**9)
    caller, _ = bench.confirmed()
    [bye] = bench.advance(60_000)
    assert bye.method == "BYE"
    assert bench.closes()[-1].reason == "max_duration"
    bench.send(reply(bye))
    closed(bench)
    assert caller.to_tag


@pytest.mark.parametrize("reached", ["reserving", "opening", "answered", "confirmed"])
def test_operator_ends_calls_in_every_state(reached):
    bench = FrontBench()
    caller = Caller()
    if reached in {"reserving", "opening"}:
        bench.send(caller.invite())
        if reached == "opening":
            bench.reserved()
        assert bench.end()[0].code == 503
    else:
        caller, _ = bench.answered()
        if reached == "confirmed":
            bench.send(caller.ack())
        byes = bench.end() if reached == "confirmed" else bench.end() + bench.send(caller.ack())
        bench.send(reply(byes[-1]))
    if reached == "reserving":
        bench.reserved()
    else:
        bench.media(message=bench.closes()[-1])
    bench.assert_empty()
    assert bench.counted("voicefarm_calls", "drain") == 1


def test_start_that_the_worker_refuses_ends_the_call():
    bench = FrontBench()
    caller, _ = bench.answered()
    bench.send(caller.ack())
    [bye] = bench.media(ok=False, reason="unknown_call", message=bench.controls(MediaStart)[0])
    assert bye.method == "BYE"
    bench.send(reply(bye))
    closed(bench)


def test_messages_about_calls_that_are_gone_are_passed_over():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    opened = bench.opens()[0]
    bench.send(caller.bye())
    closed(bench)
    assert bench.media(message=opened) == []
    assert bench.media_ended() == []
    assert bench.reserved() == []
    assert bench.refused() == []
    assert bench.front.end([opened.call_id], "drain", bench.now_ns) == []


def test_invite_without_offer_gets_ours_and_the_ack_brings_the_answer():
    bench = FrontBench()
    caller, answer = bench.answered(data=Caller().invite(body=""))
    assert "m=audio 40000 RTP/AVP 0 8 13 101" in answer.body
    assert bench.opens()[0].format.direction == "inactive"
    sdp = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 7000 RTP/AVP 8\r\n"
    )
    bench.send(caller.ack(sdp))
    update, start = bench.controls(MediaUpdate)[0], bench.controls(MediaStart)[0]
    assert (update.remote.rtp_port, update.format.codec, update.format.direction) == (
        7_000,
        "PCMA",
        "sendrecv",
    )
    assert bench.controls().index(update) < bench.controls().index(start)
    assert bench.call.state is State.CONFIRMED


@pytest.mark.parametrize("body", ["", "rubbish"])
def test_invite_without_offer_whose_ack_brings_none_is_hung_up(body):
    bench = FrontBench()
    caller, _ = bench.answered(data=Caller().invite(body=""))
    [bye] = bench.send(caller.ack(body))
    assert bye.method == "BYE"
    assert bench.closes()[-1].reason == "setup_failed"


def test_own_requests_follow_the_route_set():
    bench = FrontBench()
    caller, _ = bench.answered(data=Caller().invite(headers="Record-Route: <sip:10.0.0.7:5080;lr>"))
    bench.send(caller.ack())
    [bye] = bench.media_ended()
    assert bye.header("Route") == "<sip:10.0.0.7:5080;lr>"
    assert bench.last(Send).to == ("10.0.0.7", 5080)


def test_ended_leg_before_its_open_was_answered_is_a_refusal():
    bench = FrontBench()
    bench.send(Caller().invite())
    bench.reserved()
    assert bench.media_ended("error")[0].code == 503
    assert bench.call if len(bench.front.calls) else bench.released()
    bench.assert_empty()


def test_counts_of_responses_and_setup_time():
    bench = FrontBench()
    bench.send(Caller().invite())
    bench.advance(30)
    bench.reserved()
    bench.media()
    assert Count("voicefarm_sip_responses", "200") in bench.effects
    assert Observe("voicefarm_sip_setup_seconds", 0.03) in bench.effects
    assert bench.counted("voicefarm_sip_requests", "INVITE") == 1
    assert bench.call.lease is lease.State.OPEN
    assert isinstance(bench.controls()[0], MediaOpen)
