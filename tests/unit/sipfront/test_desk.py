"""What the parts of the core share: answering, counting, and knowing how long a caller waited."""

import pytest

from shared.units import NS_PER_MS, NS_PER_S
from sipfront.core.desk import Desk, Settings
from sipfront.core.effects import Count, Observe, Send
from sipfront.core.message import parse
from sipfront.core.mint import CountingMint
from sipfront.core.networks import Networks
from tests.support.sip_messages import Answer, Caller

pytestmark = pytest.mark.unit

SOURCE = ("192.0.2.7", 5070)


@pytest.fixture
def desk():
    everybody = Networks(["0.0.0.0/0"])
    return Desk(
        settings=Settings(front="f", port=5066, trusted=everybody, allowed=everybody, retry_after_s=9),
        mint=CountingMint(),
    )


def answers(desk):
    return [Answer(effect.data) for effect in desk.out if isinstance(effect, Send)]


@pytest.mark.parametrize(("host", "text"), [("192.0.2.1", "192.0.2.1:5066"), ("2001:db8::1", "[2001:db8::1]:5066")])  # fmt: skip
def test_own_address_is_written_as_others_need_it(desk, host, text):
    assert desk.sent_by(host) == text


def test_retry_after_is_the_operators(desk):
    assert desk.retry_after() == ("Retry-After", "9")


def test_setup_time_runs_from_the_request_to_its_final_answer(desk):
    txn = desk.opened(parse(Caller().invite()), SOURCE, 1 * NS_PER_S)
    desk.answer(txn, 100, 1 * NS_PER_S)
    assert not [e for e in desk.out if isinstance(e, Observe)], "a provisional answer ends nothing"
    desk.answer(txn, 200, 1 * NS_PER_S + 250 * NS_PER_MS, to_tag="t")
    assert [e for e in desk.out if isinstance(e, Observe)] == [Observe("voicefarm_sip_setup_seconds", 0.25)]
    assert desk.out.count(Count("voicefarm_sip_responses", "200")) == 1
    assert not desk.arrivals


def test_reinvite_is_counted_and_not_taken_for_a_setup(desk):
    txn = desk.opened(parse(Caller(to_tag="ours").invite()), SOURCE, 0)
    desk.answer(txn, 200, NS_PER_S)
    assert Count("voicefarm_sip_responses", "200") in desk.out
    assert not [e for e in desk.out if isinstance(e, Observe)]
    assert not desk.arrivals


def test_answers_to_other_requests_are_not_counted_as_calls(desk):
    txn = desk.opened(parse(Caller().request("OPTIONS")), SOURCE, 0)
    desk.answer(txn, 200, 0)
    counted = [e for e in desk.out if isinstance(e, Count)]
    assert counted == [Count("voicefarm_sip_requests", "OPTIONS")]


def test_answer_goes_to_the_source_with_what_was_asked(desk):
    txn = desk.opened(parse(Caller().invite()), SOURCE, 0)
    data = desk.answer(
        txn, 488, 0, to_tag="t9", phrase="Not Today", extra=[("Warning", "w")], body=b"v=0\r\n"
    )
    sent = next(e for e in desk.out if isinstance(e, Send))
    assert (sent.data, sent.to) == (data, SOURCE)
    [answer] = answers(desk)
    assert (answer.start, answer.to_tag, answer.header("Warning")) == ("SIP/2.0 488 Not Today", "t9", "w")
    assert answer.header("Content-Length") == "5"


def test_stateless_answer_is_the_same_again_and_keeps_nothing(desk):
    request = parse(Caller().request("OPTIONS"))
    for _ in range(2):
        desk.answer_once(request, SOURCE, 481, tag="t")
    one, other = answers(desk)
    assert one.data == other.data
    assert (one.code, one.to_tag) == (481, "t")
    assert len(desk.transactions) == 0
    assert desk.timers.next_ns() is None
