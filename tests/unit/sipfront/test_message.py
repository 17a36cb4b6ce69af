"""Messages in the wild, in the manner of RFC 4475; every one of our own making."""

import pytest

from sipfront.core.message import BadMessage, Request, Response, parse
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.unit

GOOD = Caller().invite()


def code_of(data: bytes) -> int:
    with pytest.raises(BadMessage) as caught:
        parse(data)
    return caught.value.code


def test_request_as_the_core_sees_it():
    request = parse(GOOD)
    assert isinstance(request, Request)
    assert (request.method, request.target.user, request.cseq, request.from_tag) == (
        "INVITE",
        "echo",
        1,
        "a1",
    )
    assert (request.to_tag, request.sip_call_id, request.contact) == (
        "",
        "callid-1",
        "sip:alice@127.0.0.1:5070",
    )
    assert request.values("max-forwards") == ["70"]


def test_odd_but_right_forms_are_read():
    data = (
        b"INVITE sip:echo@h SIP/2.0\r\nv : SIP / 2.0 / UDP h1;branch=z9hG4bK1 ,\r\n SIP/2.0/UDP h2;branch=z9hG4bK2\r\n"
        b't: "a;b, <c>" <sip:x@y>\r\nf:sip:a@b;tag=q\r\ni:1@2\r\nCSEQ: 0009\r\n\t INVITE\r\nm:<sip:z@q>\r\nl:0\r\n\r\n'
    )
    request = parse(data)
    assert isinstance(request, Request)
    assert [len(request.vias), request.cseq, request.from_tag] == [2, 9, "q"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"INVITE sip", b"INVITE  sip", 400),
        (b" SIP/2.0\r\nVia", b" SIP/2.0 \r\nVia", 400),
        (b" SIP/2.0\r\nVia", b" SIP/7.0\r\nVia", 505),
        (b" SIP/2.0\r\nVia", b"\r\nVia", 400),
        (b"sip:echo@127.0.0.1:5060 SIP", b"<sip:echo@127.0.0.1> SIP", 400),
        (b"CSeq: 1 INVITE", b"CSeq: one INVITE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: 36893488147419103232 INVITE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: 2147483648 INVITE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE", 400),
        (b"CSeq: 1 INVITE", b"CSeq: 1", 400),
        (b"CSeq: 1 INVITE\r\n", b"", 400),
        (b"Call-ID: callid-1\r\n", b"", 400),
        (b"Call-ID: callid-1\r\n", b"Call-ID: a\r\nCall-ID: b\r\n", 400),
        (b"Call-ID: callid-1\r\n", b"Call-ID: a\r\ni: b\r\n", 400),
        (b"Call-ID: callid-1", b"Call-ID: " + b"x" * 300, 400),
        (b"Call-ID: callid-1", b"Call-ID: a b", 400),
        (b";tag=a1", b"", 400),
        (b'"Caller" <sip', b'"Caller <sip', 400),
        (b"Content-Length: ", b"Content-Length: 9", 400),
        (b"Content-Length: ", b"Content-Length: -", 400),
        (b"Max-Forwards: 70", b"this is no header", 400),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\r\nMax-Forwards: 70", 400),
        (b"Via: SIP/2.0/UDP", b"Via: HTTP/1.1", 400),
        (b"Contact: <sip:alice@", b"Contact: <tel:", 400),
        (b"Contact: <sip:alice@127.0.0.1:5070>", b"Contact: *", 400),
    ],
)
def test_message_that_breaks_a_rule_names_the_code_for_its_answer(old, new, code):
    assert old in GOOD
    assert code_of(GOOD.replace(old, new)) == code


def test_message_without_via_or_headers_is_refused():
    via = next(line for line in GOOD.split(b"\r\n") if line.startswith(b"Via"))
    assert code_of(GOOD.replace(via + b"\r\n", b"")) == 400
    assert code_of(b"INVITE sip:a@b SIP/2.0\r\n\r\n") == 400
    assert code_of(b"\xff\xfe") == 400


def test_extra_body_is_cut_and_missing_length_taken_as_all():
    assert parse(GOOD + b"extra").body.endswith(b"a=sendrecv\r\n")
    bare = GOOD.split(b"Content-Length")[0] + b"\r\nbody"
    assert parse(bare).body == b"body"


def test_response():
    data = (
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKq\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
        b"Call-ID: x\r\nCSeq: 4 BYE\r\nContact: <sip:n@m>\r\n\r\n"
    )
    response = parse(data)
    assert isinstance(response, Response)
    assert (response.code, response.branch, response.method, response.to_tag) == (200, "z9hG4bKq", "BYE", "2")
    two = data.replace(b"From:", b"Via: SIP/2.0/UDP other;branch=1\r\nFrom:")
    assert code_of(two) == 400
    assert code_of(data.replace(b"200 OK", b"999 Odd")) == 400


def test_transaction_key_counts_branch_sender_and_method():
    request, ack = parse(GOOD), parse(GOOD.replace(b"INVITE sip", b"ACK sip").replace(b"1 INVITE", b"1 ACK"))
    assert request.transaction_key() == ack.transaction_key()
    assert request.transaction_key("BYE") != request.transaction_key()
    elsewhere = parse(GOOD.replace(b"UDP 127.0.0.1:5070", b"UDP 127.0.0.1:5071"))
    assert elsewhere.transaction_key() != request.transaction_key()


def test_peer_without_magic_branch_is_matched_as_rfc_2543_did():
    old = GOOD.replace(b"z9hG4bK-", b"")
    ack = old.replace(b"INVITE sip", b"ACK sip").replace(b"1 INVITE", b"1 ACK")
    ack = ack.replace(b"To: <sip:echo@127.0.0.1>", b"To: <sip:echo@127.0.0.1>;tag=x")
    assert parse(ack).transaction_key() == parse(old).transaction_key()
    assert parse(old.replace(b"callid-1", b"callid-2")).transaction_key() != parse(old).transaction_key()
