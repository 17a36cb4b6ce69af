"""The transaction layer under virtual time: timers, repetitions, bounds (RFC 3261 section 17, RFC 6026)."""

import pytest

from sipfront.core.compose import response
from sipfront.core.effects import Count, Send
from sipfront.core.message import Request, Response, parse
from sipfront.core.timers import TimerQueue
from sipfront.core.transactions import Transactions, failure_ack
from tests.support.sip_messages import Answer, Caller, reply

pytestmark = pytest.mark.unit

SOURCE = ("127.0.0.1", 5070)
MS = 1_000_000


class Layer:
    """A layer whose time is moved by hand."""

    def __init__(self, limit: int = 100) -> None:
        self.out: list = []
        self.timers = TimerQueue()
        self.layer = Transactions(self.timers, self.out, limit)
        self.now_ns = 0
        self.told: list = []

    def open(self, data: bytes):
        request = parse(data)
        assert isinstance(request, Request)
        return self.layer.open(request, SOURCE)

    def say(self, txn, code: int) -> None:
        self.layer.respond(
            txn, code, response(txn.request, code, SOURCE, phrase="X", to_tag="t"), self.now_ns
        )

    def ask(self, method: str) -> bytes:
        data = Caller().request(method, branch="z9hG4bKours")
        self.layer.request(method, "ours", data, SOURCE, "call", self.now_ns)
        return data

    def hear(self, request: bytes, code: int):
        message = parse(reply(Answer(request), code, "X"))
        assert isinstance(message, Response)
        return self.layer.receive_response(message, self.now_ns)

    def advance(self, ms: int) -> list[float]:
        """When datagrams went out, ms."""
        end_ns, times = self.now_ns + ms * MS, []
        while (at_ns := self.timers.next_ns()) is not None and at_ns <= end_ns:
            self.now_ns = at_ns
            due = self.timers.pop(at_ns)
            before = len(self.sent)
            told = self.layer.timer(due, at_ns)
            self.told += [told] if told else []
            times += [at_ns / MS] * (len(self.sent) - before)
        self.now_ns = end_ns
        return times

    @property
    def sent(self) -> list[Send]:
        return [effect for effect in self.out if isinstance(effect, Send)]


def test_failure_of_an_invite_is_repeated_by_timer_g_until_timer_h():
    layer = Layer()
    txn = layer.open(Caller().invite())
    layer.say(txn, 486)
    assert layer.advance(32_000) == [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    assert len(layer.layer) == 0
    assert layer.timers.next_ns() is None


def test_ack_stops_timer_g_and_timer_i_forgets():
    layer = Layer()
    caller = Caller()
    txn = layer.open(caller.invite())
    layer.say(txn, 486)
    assert layer.layer.acknowledged(txn, 0) is False
    layer.layer.acknowledged(txn, 0)
    layer.layer.repeated(txn, 0)
    assert layer.advance(4_999) == []
    assert len(layer.layer) == 1
    layer.advance(1)
    assert len(layer.layer) == 0


def test_accepted_invite_absorbs_repetitions_until_timer_l():
    layer = Layer()
    txn = layer.open(Caller().invite())
    layer.say(txn, 100)
    layer.say(txn, 200)
    sent = len(layer.sent)
    layer.layer.repeated(txn, 0)
    assert len(layer.sent) == sent
    assert layer.layer.acknowledged(txn, 0) is True
    layer.advance(31_999)
    assert len(layer.layer) == 1
    layer.advance(1)
    assert len(layer.layer) == 0


def test_repeated_request_gets_its_last_answer_until_timer_j():
    layer = Layer()
    txn = layer.open(Caller().request("BYE", to_tag="t"))
    layer.layer.repeated(txn, 0)
    assert layer.sent == []
    assert layer.layer.unanswered(txn)
    layer.say(txn, 180)
    layer.layer.repeated(txn, 0)
    layer.say(txn, 200)
    layer.layer.repeated(txn, 0)
    assert [Answer(send.data).code for send in layer.sent] == [180, 180, 200, 200]
    assert not layer.layer.unanswered(txn)
    layer.advance(32_000)
    assert len(layer.layer) == 0


def test_request_of_ours_is_repeated_by_timer_e_until_timer_f():
    layer = Layer()
    layer.ask("BYE")
    times = layer.advance(32_000)
    assert times == [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    assert [(told.owner, told.response) for told in layer.told] == [("call", None)]
    assert len(layer.layer) == 0


def test_provisional_answer_slows_timer_e_to_t2():
    layer = Layer()
    asked = layer.ask("BYE")
    assert layer.hear(asked, 100).response.code == 100
    assert layer.advance(9_000) == [500, 4_500, 8_500]


def test_final_answer_is_told_once_and_timer_k_forgets():
    layer = Layer()
    asked = layer.ask("BYE")
    assert layer.hear(asked, 200).response.code == 200
    assert layer.hear(asked, 200) is None
    assert layer.hear(asked, 100) is None
    assert layer.hear(asked, 481) is None
    assert layer.advance(5_000) == []
    assert len(layer.layer) == 0


def test_invite_of_ours_is_repeated_by_timer_a_until_timer_b():
    layer = Layer()
    layer.ask("INVITE")
    assert layer.advance(32_000) == [500, 1_500, 3_500, 7_500, 15_500, 31_500]
    assert layer.told[0].response is None


def test_invite_of_ours_that_is_refused_is_acknowledged_each_time():
    layer = Layer()
    asked = layer.ask("INVITE")
    assert layer.hear(asked, 180).response.code == 180
    assert layer.hear(asked, 486).response.code == 486
    assert layer.hear(asked, 486) is None
    assert [Answer(send.data).method for send in layer.sent] == ["INVITE", "ACK", "ACK"]
    layer.advance(32_000)
    assert len(layer.layer) == 0


def test_invite_of_ours_hands_up_every_2xx_until_timer_m():
    layer = Layer()
    asked = layer.ask("INVITE")
    assert layer.hear(asked, 200)
    assert layer.hear(asked, 200)
    assert layer.hear(asked, 180) is None
    layer.advance(32_000)
    assert len(layer.layer) == 0


def test_invite_of_ours_that_only_rings_is_given_up_by_timer_c():
    layer = Layer()
    layer.hear(layer.ask("INVITE"), 180)
    layer.advance(180_000)
    assert layer.told[0].response is None
    assert len(layer.layer) == 0


def test_unknown_response_is_counted():
    layer = Layer()
    assert layer.hear(Caller().request("BYE"), 200) is None
    assert Count("voicefarm_sip_refused", "stray_response") in layer.out


def test_merged_request_is_seen_by_its_other_branch():
    layer = Layer()
    txn = layer.open(Caller().invite())
    assert not layer.layer.is_merged(txn.request)
    assert layer.layer.is_merged(parse(Caller().invite(branch="z9hG4bKb")))
    assert not layer.layer.is_merged(parse(Caller().invite(from_tag="b", branch="z9hG4bKc")))


def test_table_says_when_it_is_full():
    layer = Layer(limit=2)
    layer.open(Caller(number="1").invite())
    assert layer.layer.has_room()
    assert not layer.layer.has_room(0.5)
    layer.ask("BYE")
    assert not layer.layer.has_room()


def test_ack_of_a_failure_repeats_the_head_of_the_invite():
    invite = Caller().invite(headers="Route: <sip:p;lr>")
    answer = parse(
        reply(Answer(invite), 486, "Busy").replace(b"<sip:echo@127.0.0.1>", b"<sip:echo@127.0.0.1>;tag=z")
    )
    ack = Answer(failure_ack(invite, answer))
    assert ack.start == "ACK sip:echo@127.0.0.1:5060 SIP/2.0"
    assert ack.header("Via") == Answer(invite).header("Via")
    assert (ack.header("To"), ack.header("CSeq")) == ("<sip:echo@127.0.0.1>;tag=z", "1 ACK")
    assert ack.header("Route") == "<sip:p;lr>"
