"""Answers to what is no request we can read."""

import pytest

from sipfront.core.refusal import bad_answer
from tests.support.sip_messages import Answer, Caller

pytestmark = pytest.mark.unit

SOURCE = ("10.0.0.1", 7)


def answer(data: bytes) -> Answer | None:
    made = bad_answer(data, SOURCE, 400, "Bad", "t1")
    return Answer(made) if made else None


def test_answer_is_made_of_the_clean_lines():
    made = answer(
        Caller().invite().replace(b"Max-Forwards: 70", b"Subject: x\0\r\nVia: SIP/2.0/UDP second;branch=2")
    )
    assert (made.code, made.to_tag, made.header("CSeq")) == (400, "t1", "1 INVITE")
    assert len(made.values("Via")) == 2
    assert made.values("Subject") == []


def test_tag_that_is_there_stays():
    assert answer(Caller().request("BYE", to_tag="x")).to_tag == "x"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"SIP/2.0 200 OK\r\nVia: x\r\n", b"sip/2.0 200 OK", b"no message at all", Caller().ack(),
        Caller().invite().replace(b"Call-ID: callid-1\r\n", b""),
        Caller().invite().replace(b"Call-ID: callid-1", b"Call-ID: a\x01b"),
    ],
)  # fmt: skip
def test_what_cannot_or_must_not_be_answered_is_not(data):
    assert answer(data) is None


def test_of_several_vias_in_one_line_the_top_one_is_stamped():
    data = Caller().invite().replace(b"Via: ", b"Via: SIP/2.0/UDP top;rport;branch=1, ", 1)
    vias = answer(data).values("Via")
    assert vias[0] == "SIP/2.0/UDP top;branch=1;received=10.0.0.1;rport=7"
    assert "received" not in vias[1]
