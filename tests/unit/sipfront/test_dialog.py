"""Dialog state and the requests we make in it (RFC 3261 section 12)."""

from dataclasses import replace

import pytest

from sipfront.core import dialog as dialogs
from sipfront.core.message import parse
from sipfront.core.networks import Networks
from tests.support.sip_messages import Answer, Caller

pytestmark = pytest.mark.unit

ANY = Networks(["0.0.0.0/0", "::/0"])
SOURCE = ("10.0.0.2", 5099)


def dialog(headers: str = "", **changes):
    made = dialogs.from_invite(parse(Caller().invite(headers=headers)), "ours", SOURCE)
    return replace(made, **changes)


def bye(of) -> Answer:
    return Answer(dialogs.compose_request(of, "BYE", "b1", "192.0.2.1:5060")[1])


def test_request_of_ours_turns_the_sides_round():
    message = bye(dialog())
    assert message.start == "BYE sip:alice@127.0.0.1:5070 SIP/2.0"
    assert message.header("From") == "<sip:echo@127.0.0.1>;tag=ours"
    assert message.header("To") == '"Caller" <sip:alice@127.0.0.1>;tag=a1'
    assert message.header("Via") == "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKb1"
    assert (message.header("CSeq"), message.header("Call-ID")) == ("1 BYE", "callid-1")


def test_cseq_of_ours_rises():
    after, _ = dialogs.compose_request(dialog(), "BYE", "b", "h")
    assert after.local_cseq == 1


def test_loose_routes_are_repeated_in_order():
    message = bye(dialog("Record-Route: <sip:p1;lr>, <sip:p2;lr>"))
    assert message.values("Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]


def test_strict_route_becomes_the_request_uri():
    message = bye(dialog("Record-Route: <sip:p1>, <sip:p2;lr>"))
    assert message.start == "BYE sip:p1 SIP/2.0"
    assert message.values("Route") == ["<sip:p2;lr>", "<sip:alice@127.0.0.1:5070>"]


def test_cseq_of_the_peer_must_rise():
    made = dialog()
    later = parse(Caller().request("INFO", cseq=4, to_tag="ours"))
    after = dialogs.received(made, later, ("10.0.0.3", 1))
    assert (after.remote_cseq, after.source) == (4, ("10.0.0.3", 1))
    assert dialogs.received(after, later, SOURCE) is None


def test_refresh_without_contact_keeps_the_target():
    made = dialog()
    assert dialogs.retargeted(made, parse(Caller().invite(contact=False))) == made


def test_caller_without_contact_is_reached_where_it_called_from():
    made = dialogs.from_invite(parse(Caller().invite(contact=False)), "t", SOURCE)
    assert made.target == "sip:10.0.0.2:5099"


@pytest.mark.parametrize(
    ("changes", "hop"),
    [
        ({"direct": True}, SOURCE),
        ({"direct": False}, ("127.0.0.1", 5070)),
        ({"direct": False, "routes": ("<sip:10.1.1.1;lr>",)}, ("10.1.1.1", 5060)),
        ({"direct": False, "routes": ("<sip:proxy.example;lr>",)}, SOURCE),
        ({"direct": False, "routes": ("rubbish",)}, SOURCE),
        ({"direct": False, "target": "sip:8.8.8.8"}, ("8.8.8.8", 5060)),
    ],
)
def test_next_hop_is_an_address_we_may_talk_to(changes, hop):
    assert dialogs.next_hop(dialog(**changes), ANY) == hop


def test_next_hop_outside_the_allowed_networks_is_not_used():
    made = dialog(direct=False, target="sip:8.8.8.8")
    assert dialogs.next_hop(made, Networks(["10.0.0.0/8"])) == SOURCE


def test_key_of_a_request_is_that_of_its_dialog():
    made = dialog()
    assert dialogs.key_of(parse(Caller().request("BYE", to_tag="ours"))) == made.key
