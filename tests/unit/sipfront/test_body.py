"""Where the session description is (RFC 3261 section 7.4, RFC 5621)."""

import pytest

from sipfront.core.body import session_description
from sipfront.core.message import BadMessage, parse
from tests.support.sip_messages import OFFER, Caller

pytestmark = pytest.mark.unit

PARTS = (
    "--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1\r\nContent-Type: Application/SDP;charset=utf-8\r\n\r\n"
    + OFFER
    + "\r\n--b1--\r\n"
)


def found(body: str, kind: str, headers: str = ""):
    return session_description(parse(Caller().request("INVITE", body, kind=kind, headers=headers)))


@pytest.mark.parametrize("kind", ["application/sdp", "Application/SDP", "application/sdp;charset=utf-8"])
def test_description_is_found_whatever_the_type_looks_like(kind):
    assert found(OFFER, kind) == OFFER


@pytest.mark.parametrize("kind", ["multipart/mixed;boundary=b1", 'multipart/alternative; boundary="b1"'])
def test_description_is_found_in_a_multipart(kind):
    assert found(PARTS, kind).strip() == OFFER.strip()


def test_no_body_is_no_description():
    assert found("", "") is None


@pytest.mark.parametrize(
    ("body", "kind", "headers", "code"),
    [
        ("hi", "text/plain", "", 415), (OFFER, "application/sdp", "Content-Encoding: gzip", 415),
        (PARTS, "multipart/mixed", "", 400), (PARTS, "multipart/mixed;boundary=other", "", 415),
    ],
)  # fmt: skip
def test_what_we_do_not_read_is_refused(body, kind, headers, code):
    with pytest.raises(BadMessage) as caught:
        found(body, kind, headers)
    assert caught.value.code == code


def test_body_without_type_is_refused_and_an_optional_one_passed_over():
    data = Caller().request("INVITE", OFFER).replace(b"Content-Type: application/sdp\r\n", b"")
    with pytest.raises(BadMessage):
        session_description(parse(data))
    assert found("hi", "text/plain", "Content-Disposition: render; handling = optional") is None
    assert found(OFFER, "application/sdp", "Content-Encoding: identity") == OFFER
