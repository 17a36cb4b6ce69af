"""What we write (RFC 3261 section 8.2.6, RFC 3581)."""

import pytest

from sipfront.core.compose import response, stamped_via, warning, write
from sipfront.core.message import parse
from tests.support.sip_messages import Answer, Caller

pytestmark = pytest.mark.unit


def test_response_repeats_what_it_must_and_adds_our_tag():
    request = parse(
        Caller().invite(headers="Record-Route: <sip:p;lr>\r\nVia: SIP/2.0/UDP up;branch=z9hG4bKu")
    )
    answer = Answer(response(request, 200, ("10.0.0.1", 7), to_tag="me", body=b"abc"))
    assert [via.split(";")[0] for via in answer.values("Via")] == [
        "SIP/2.0/UDP 127.0.0.1:5070",
        "SIP/2.0/UDP up",
    ]
    assert answer.header("To") == "<sip:echo@127.0.0.1>;tag=me"
    assert (answer.header("Record-Route"), answer.header("Content-Length")) == ("<sip:p;lr>", "3")
    assert not Answer(response(request, 100, ("10.0.0.1", 7))).to_tag


def test_tag_of_a_dialog_is_kept():
    request = parse(Caller().request("BYE", to_tag="kept"))
    assert Answer(response(request, 200, ("10.0.0.1", 7), to_tag="new")).to_tag == "kept"


@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        ("SIP/2.0/UDP h;branch=b", "SIP/2.0/UDP h;branch=b;received=1.2.3.4"),
        ("SIP/2.0/UDP h;rport;branch=b", "SIP/2.0/UDP h;branch=b;received=1.2.3.4;rport=9"),
        ("SIP/2.0/UDP h;rport=1;received=[::1];branch=b", "SIP/2.0/UDP h;branch=b;received=1.2.3.4;rport=9"),
        ("SIP/2.0/UDP h;branch=b;RECEIVED = 9.9.9.9", "SIP/2.0/UDP h;branch=b;received=1.2.3.4"),
        ("SIP/2.0/UDP h;rportx=1;branch=b", "SIP/2.0/UDP h;rportx=1;branch=b;received=1.2.3.4"),
    ],
)
def test_via_says_where_the_packet_came_from_and_nothing_else(via, stamped):
    assert stamped_via(via, ("1.2.3.4", 9)) == stamped


def test_value_with_a_line_break_is_never_written():
    with pytest.raises(ValueError, match="line breaks"):
        write("SIP/2.0 200 OK", [("X-A", "a\r\nX-B: c")])


def test_warning_is_quoted():
    assert warning("::1", 399, 'a"b\\') == ("Warning", '399 [::1] "a\'b"')
