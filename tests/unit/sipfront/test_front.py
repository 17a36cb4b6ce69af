"""Requests as a stranger may send them, and what the front says (RFC 3261 section 8.2)."""

import time

import pytest

from shared.config import Route
from shared.contracts import MediaStart
from sipfront.core.call import State
from sipfront.core.datagram import MAX_BYTES
from sipfront.core.effects import Reserve, Send
from sipfront.core.farm import FarmLoad
from sipfront.core.networks import Networks
from tests.support.front_bench import SOURCE, FrontBench
from tests.support.sip_messages import OFFER, Answer, Caller

pytestmark = pytest.mark.unit


def test_options_says_how_full_the_farm_is():
    bench = FrontBench()
    bench.beat(load=FarmLoad(3, 10))
    [answer] = bench.send(Caller().request("OPTIONS"))
    assert (answer.code, answer.header("X-Farm-Load")) == (200, "3/10")
    assert "INVITE" in answer.header("Allow")


@pytest.mark.parametrize(
    ("load", "state"),
    [(FarmLoad(0, 0), "no_media"), (FarmLoad(10, 10), "full_media"), (FarmLoad(11, 10), "full_media")],
)
def test_options_is_503_when_no_call_can_come(load, state):
    bench = FrontBench(retry_after_s=9)
    bench.beat(load=load)
    [answer] = bench.send(Caller().request("OPTIONS"))
    assert (answer.code, answer.header("Retry-After"), answer.header("X-Farm-State")) == (503, "9", state)


def test_options_answer_is_the_same_when_the_request_comes_again():
    bench = FrontBench()
    first, second = (bench.send(Caller().request("OPTIONS"))[0].data for _ in range(2))
    assert first == second
    assert bench.front.transactions() == 0


def test_draining_front_refuses_new_calls_and_serves_old_ones():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.front.drain()
    assert bench.send(Caller(number="o").request("OPTIONS"))[0].code == 503
    [answer] = bench.send(Caller(number="2").invite())
    assert (answer.code, answer.header("X-Farm-State")) == (503, "draining")
    assert bench.send(caller.bye())[0].code == 200


@pytest.mark.parametrize(
    ("method", "code"),
    [("REGISTER", 405), ("SUBSCRIBE", 405), ("UPDATE", 405), ("FOO", 501), ("invite", 501)],
)
def test_method_we_do_not_serve_is_refused_with_allow(method, code):
    [answer] = FrontBench().send(Caller().request(method))
    assert answer.code == code
    assert answer.header("Allow") == "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO"


@pytest.mark.parametrize("method", ["BYE", "INFO"])
def test_request_of_a_dialog_that_is_not_there_is_481(method):
    bench = FrontBench()
    assert bench.send(Caller().request(method))[0].code == 481
    assert bench.send(Caller(number="2").request(method, to_tag="strange"))[0].code == 481
    assert bench.send(Caller(number="3").request("INVITE", OFFER, to_tag="strange"))[0].code == 481


def test_required_extension_is_420_and_named():
    [answer] = FrontBench().send(Caller().invite(headers="Require: 100rel, foo"))
    assert (answer.code, answer.header("Unsupported")) == (420, "100rel, foo")


def test_request_uri_of_an_unknown_scheme_is_416():
    data = Caller().invite().replace(b"sip:echo@127.0.0.1:5060 SIP", b"http://x.y/ SIP")
    assert FrontBench().send(data)[0].code == 416


def test_tel_uri_is_routed_by_its_number():
    bench = FrontBench(routes=[Route(user=r"\+4930.*", app="echo")])
    bench.send(Caller().invite().replace(b"sip:echo@127.0.0.1:5060 SIP", b"tel:+493012345 SIP"))
    assert bench.last(Reserve).fields["app"] == "echo"


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("text/plain", "hello", 415),
        ("application/sdp", "hello", 400),
        ("application/sdp", OFFER.replace("RTP/AVP", "RTP/SAVP"), 488),
        ("application/sdp", OFFER.replace("audio", "video"), 488),
        ("multipart/mixed", "x", 400),
    ],
)
def test_body_that_cannot_be_taken_is_refused_in_a_transaction(kind, body, code):
    bench = FrontBench()
    caller = Caller()
    [answer] = bench.send(caller.request("INVITE", body, kind=kind))
    assert answer.code == code
    assert bool(answer.header("Warning")) == (code == 488)
    assert bool(answer.header("Accept")) == (code == 415)
    assert bench.advance(500)[0].data == answer.data  # Timer G
    bench.send(caller.failure_ack(answer))
    bench.assert_empty()


def test_caller_outside_the_allowed_networks_gets_403_and_costs_nothing():
    bench = FrontBench()
    [answer] = bench.send(Caller().invite(), ("192.0.2.1", 5060))
    assert answer.code == 403
    assert bench.front.transactions() == 0
    assert bench.counted("voicefarm_sip_refused", "acl") == 1
    assert bench.send(Caller().ack(), ("192.0.2.1", 5060)) == []


def test_answers_go_where_the_packet_came_from_whatever_it_claims():
    bench = FrontBench()
    data = Caller().request("OPTIONS").replace(b";rport;", b";rport=9;received=203.0.113.5;")
    [answer] = bench.send(data, ("10.1.2.3", 1234))
    assert bench.last(Send).to == ("10.1.2.3", 1234)
    assert "203.0.113.5" not in answer.header("Via")
    assert answer.header("Via").endswith(";received=10.1.2.3;rport=1234")


@pytest.mark.parametrize(
    ("inject", "reason"),
    [
        (b"Subject: a\rX-Room-ID: evil", "bare_cr"), (b"Subject: a\nX-Room-ID: evil", "bare_lf"),
        (b"Subject: a\0b", "nul"), (b"Subject: a\x07b", "control"),
    ],
)  # fmt: skip
def test_line_tricks_are_refused_with_400_before_parsing(inject, reason):
    bench = FrontBench()
    [answer] = bench.send(Caller().invite().replace(b"Max-Forwards: 70", inject))
    assert answer.code == 400
    assert b"evil" not in answer.data
    assert bench.counted("voicefarm_sip_refused", reason) == 1
    assert not bench.all(Reserve)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"x" * 20_000, b"hello", b"SIP/2.0 200 OK\r\n\r\n"])
def test_datagram_that_is_no_request_gets_no_answer(data):
    bench = FrontBench()
    assert bench.send(data) == []
    assert bench.front.transactions() == 0


def test_merged_request_is_482_and_the_call_goes_on():
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    [answer] = bench.send(caller.invite(branch="z9hG4bKother"))
    assert answer.code == 482
    bench.reserved()
    assert bench.media()[-1].code == 200


def test_fork_of_one_call_with_two_tags_is_two_calls():
    bench = FrontBench()
    bench.send(Caller().invite())
    bench.send(Caller().invite(from_tag="other", branch="z9hG4bKother"))
    assert len(bench.all(Reserve)) == 2
    assert len({reserve.call_id for reserve in bench.all(Reserve)}) == 2


def test_new_calls_stop_before_the_tables_are_full():
    bench = FrontBench(max_dialogs=1)
    bench.confirmed()
    [answer] = bench.send(Caller(number="2").invite())
    assert (answer.code, answer.header("X-Farm-State")) == (503, "overload")


def test_full_transaction_table_keeps_room_for_bye():
    bench = FrontBench(max_transactions=10)
    caller, _ = bench.confirmed()
    for number in range(20):
        bench.send(Caller(number=f"n{number}").invite(body="hello"))
    assert bench.front.transactions() == 9
    assert bench.send(caller.bye())[0].code == 200
    other = Caller(number="1", to_tag=caller.to_tag, cseq=9)
    assert bench.front.transactions() == 10
    assert bench.send(other.request("INFO"))[0].code == 481  # the dialog is over


def test_in_dialog_request_is_503_when_no_transaction_is_left():
    bench = FrontBench(max_transactions=2)
    caller, _ = bench.confirmed()
    bench.send(Caller(number="2").invite(body="hello"))
    caller.cseq = 2
    [answer] = bench.send(caller.request("INFO"))
    assert answer.code == 503


def test_info_and_options_inside_a_call_are_answered():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    for cseq, method in ((2, "INFO"), (3, "OPTIONS")):
        assert bench.send(caller.request(method, cseq=cseq))[0].code == 200
    assert bench.send(caller.request("REFER", cseq=4))[0].code == 405
    assert bench.send(caller.request("INFO", cseq=5, headers="Require: foo"))[0].code == 420


def test_cseq_that_goes_back_is_500():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    assert bench.send(caller.request("INFO", cseq=5))[0].code == 200
    [answer] = bench.send(caller.request("INFO", cseq=4))
    assert (answer.code, answer.start) == (500, "SIP/2.0 500 CSeq Out Of Order")


@pytest.mark.parametrize("change", [{"from_tag": "wrong"}, {"to_tag": "wrong"}])
def test_bye_of_a_stranger_is_481_and_the_call_goes_on(change):
    bench = FrontBench()
    caller, _ = bench.confirmed()
    assert bench.send(caller.bye(**change))[0].code == 481
    assert bench.call.state is State.CONFIRMED


def test_trusted_headers_decide_room_session_and_tenant_and_the_last_one_counts():
    bench = FrontBench()
    bench.send(
        Caller().invite(headers="X-Room-ID: evil\r\nX-Room-ID: r1\r\nX-Session-ID: s1\r\nX-Tenant-ID: t1")
    )
    fields = bench.last(Reserve).fields
    assert (fields["room_id"], fields["session_id"], fields["tenant"]) == ("r1", "s1", "t1")


def test_headers_of_strangers_are_dropped():
    bench = FrontBench()
    bench.send(Caller().invite(headers="X-Room-ID: evil\r\nX-Tenant-ID: evil"), ("10.0.0.1", 5060))
    fields = bench.last(Reserve).fields
    assert (fields["room_id"], fields["session_id"], fields["tenant"]) == (
        "callid-1",
        "alice@127.0.0.1",
        "default",
    )


def test_agent_call_needs_all_ai_roles():
    bench = FrontBench()
    bench.send(Caller(user="agent").invite())
    assert bench.last(Reserve).needs == ("stt", "llm", "tts")


def test_media_starts_only_after_the_ack():
    bench = FrontBench()
    caller, _ = bench.answered()
    assert not bench.controls(MediaStart)
    bench.send(caller.ack())
    assert len(bench.controls(MediaStart)) == 1


def test_stray_ack_is_counted_and_passed_over():
    bench = FrontBench()
    assert bench.send(Caller(to_tag="x").ack()) == []
    assert bench.counted("voicefarm_sip_refused", "stray_ack") == 1


def test_stray_response_is_counted_and_passed_over():
    bench = FrontBench()
    data = Caller().request("OPTIONS").replace(b"OPTIONS sip:echo@127.0.0.1:5060 SIP/2.0", b"SIP/2.0 200 OK")
    assert bench.send(data) == []
    assert bench.counted("voicefarm_sip_refused", "stray_response") == 1


def test_leading_empty_lines_are_passed_over():
    assert FrontBench().send(b"\r\n\r\n" + Caller().request("OPTIONS"))[0].code == 200


def test_raw_refusal_is_answered_to_the_source():
    bench = FrontBench(allowed=Networks([]))
    bench.send(Caller().invite())
    send = bench.last(Send)
    assert (send.to, Answer(send.data).code) == (SOURCE, 403)


def test_options_is_503_while_the_registry_is_away():
    """Every call would be refused then: the load balancer is to send them elsewhere (I2)."""
    bench = FrontBench()
    bench.advance(2_900)
    assert bench.send(Caller().request("OPTIONS"))[0].code == 200
    bench.advance(200)
    [answer] = bench.send(Caller(number="2").request("OPTIONS"))
    assert (answer.code, answer.header("X-Farm-State")) == (503, "registry")
    bench.beat()
    assert bench.send(Caller(number="3").request("OPTIONS"))[0].code == 200


def test_trying_repeats_the_timestamp():
    [trying] = FrontBench().send(Caller().invite(headers="Timestamp: 54.2"))
    assert (trying.code, trying.header("Timestamp")) == (100, "54.2")


def test_methods_that_a_caller_makes_up_share_one_label():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    for method in ("ODD", "ODDER"):
        caller.cseq += 1
        assert bench.send(caller.request(method))[0].code == 501
    assert bench.counted("voicefarm_sip_requests", "other") == 2
    assert not bench.counted("voicefarm_sip_requests", "ODD")


HOSTILE = {
    "rport and spaces": (";rport;", ";rport" + " " * 15_000 + "x;"),
    "spaces before a slash": ("SIP/2.0/UDP", "SIP  " + " " * 15_000 + "x/2.0/UDP"),
    "open quotes": (";tag=a1", ";tag=a1;x=" + '\\"' * 7_500),
    "one open quote": (";tag=a1", ';tag=a1;x="' + '\\"' * 7_500),
    "open display name": ('"Caller"', '"' + '\\"' * 7_500),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_datagram_keeps_the_front_busy(name):
    """One that did would silence every call. Milliseconds of CPU here; with a backtracking pattern it was a second."""
    old, new = HOSTILE[name]
    bench = FrontBench()
    data = Caller().invite().replace(old.encode(), new.encode(), 1)
    assert len(data) < MAX_BYTES
    begin = time.process_time()
    answers = bench.send(data)
    assert time.process_time() - begin < 0.25
    assert [answer.code for answer in answers] == [400]
