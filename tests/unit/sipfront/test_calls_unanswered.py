"""What a call does when the registry, the media worker or the caller is slow, and when messages get lost on the way."""

import pytest

from shared.contracts import MediaStart, MediaUpdate
from sipfront.core.call import State
from sipfront.core.effects import LogEvent, Note
from tests.support.front_bench import FrontBench
from tests.support.sip_messages import Caller, reply

pytestmark = pytest.mark.unit

NO_OFFER_ANSWER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 7000 RTP/AVP 8\r\n"
)


def test_slow_set_up_rings_once_in_the_dialog_that_the_200_confirms():
    bench = FrontBench()
    caller = Caller()
    route = "Record-Route: <sip:10.0.0.7;lr>"
    assert [a.code for a in bench.send(caller.invite(headers=route))] == [100]
    [ringing] = bench.advance(1_900)
    assert (ringing.code, ringing.contact) == (180, "sip:127.0.0.1:5060")
    assert ringing.values("Record-Route") == ["<sip:10.0.0.7;lr>"]
    assert (ringing.body, ringing.header("Content-Type")) == ("", "")
    assert [a.data for a in bench.send(caller.invite(headers=route))] == [ringing.data]
    bench.reserved()
    [answer] = bench.media()
    assert (answer.code, answer.to_tag) == (200, ringing.to_tag)


def test_quick_set_up_does_not_ring():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    assert bench.advance(5_000) == []
    bench.send(caller.bye())
    bench.media()
    bench.assert_empty()


@pytest.mark.parametrize("how", ["cancel", "refused", "bye"])
def test_call_that_ends_before_it_rings_never_does(how):
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    if how == "cancel":
        assert [a.code for a in bench.send(caller.request("CANCEL"))] == [200, 487]
        bench.send(caller.failure_ack(bench.send(caller.invite())[0]))
    elif how == "refused":
        [refusal] = bench.refused()
        bench.send(caller.failure_ack(refusal))
    else:
        bench.front.calls.end(bench.call.call_id, "drain", bench.now_ns)
    assert 180 not in [answer.code for answer in bench.advance(1_900)]


def test_early_dialog_takes_a_bye_and_no_second_offer():
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    [ringing] = bench.advance(600)
    caller.answered(ringing)
    caller.cseq += 1
    [pending] = bench.send(caller.invite())
    assert (pending.code, pending.header("Retry-After")) == (500, "1")
    assert sorted(a.code for a in bench.send(caller.bye())) == [200, 487]
    bench.reserved()
    bench.assert_empty()


def test_start_that_redis_lost_is_sent_again_under_its_own_id():
    bench = FrontBench()
    caller, _ = bench.answered()
    bench.send(caller.ack())
    bench.advance(2_100)
    first, second = bench.controls(MediaStart)
    assert first == second
    bench.media(message=second)
    bench.media(message=first)
    assert bench.advance(120_000) == []
    assert len(bench.controls(MediaStart)) == 2
    assert bench.call.state is State.CONFIRMED


def test_call_whose_media_never_starts_is_hung_up():
    """Its worker beats, so it is not lost, and the caller would hear nothing until it gives up."""
    bench = FrontBench()
    caller, _ = bench.answered()
    bench.send(caller.ack())
    [bye] = bench.advance(30_000)
    assert bye.method == "BYE"
    assert len(bench.controls(MediaStart)) == 4
    bench.send(reply(bye))
    bench.media()
    bench.assert_empty()


def test_only_what_is_unanswered_is_sent_again():
    bench = FrontBench()
    caller, _ = bench.answered(data=Caller().invite(body=""))
    bench.send(caller.ack(NO_OFFER_ANSWER))
    bench.media(message=bench.controls(MediaUpdate)[0])
    bench.advance(2_100)
    assert (len(bench.controls(MediaUpdate)), len(bench.controls(MediaStart))) == (1, 2)


@pytest.mark.parametrize("how", ["bye", "lost"])
def test_start_is_not_sent_again_after_the_end(how):
    bench = FrontBench()
    caller, _ = bench.answered()
    bench.send(caller.ack())
    if how == "bye":
        bench.send(caller.bye())
        bench.media()
    else:
        bench.beat(live=[])
        bench.advance(3_000)
        bench.beat(live=[])
        assert bench.last(LogEvent).kind == "call.ended"
    sent = len(bench.controls(MediaStart))
    bench.advance(60_000)
    assert len(bench.controls(MediaStart)) == sent


def test_close_that_redis_lost_is_sent_again_before_the_lease_is_released():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(caller.bye())
    bench.advance(4_100)
    assert len(bench.closes()) == 2
    assert len({message.msg_id for message in bench.closes()}) == 1
    assert not bench.released()
    bench.media(message=bench.closes()[0])
    assert not bench.released()
    bench.assert_empty()


def test_close_that_is_never_answered_is_released_by_us_once():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(caller.bye())
    bench.assert_empty()
    assert (len(bench.closes()), len(bench.released())) == (2, 1)


def test_cancel_that_crossed_the_200_is_not_why_the_call_ended():
    bench = FrontBench()
    caller, _ = bench.answered()
    assert [a.code for a in bench.send(caller.request("CANCEL", to_tag=""))] == [200]
    bench.send(caller.ack())
    bench.send(caller.bye())
    assert bench.closes()[-1].reason == "bye"
    assert bench.counted("voicefarm_calls", "cancel") == 0


def test_log_line_of_an_answered_call_names_no_reason_and_its_last_line_does():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(caller.bye())
    answered, over = bench.all(Note)
    assert "reason" not in answered.fields
    assert (over.event, over.fields["reason"]) == ("call over", "bye")


def test_call_hung_up_for_a_fault_keeps_its_reason_when_the_caller_hangs_up_too():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.media_ended("error")
    bench.send(caller.bye())
    assert bench.closes()[-1].reason == "error"
    assert bench.call.end_reason == "error"
