"""Addresses as they come (RFC 3261 sections 19.1, 20.10, 25.1)."""

import pytest

from sipfront.core.address import (
    BadAddress,
    bracketed,
    parse_host,
    parse_name_addr,
    parse_params,
    parse_uri,
    parse_via,
    split_params,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "uri", "tag"),
    [
        ("<sip:a@b>;tag=1", "sip:a@b", "1"),
        ("sip:a@b;tag=1", "sip:a@b", "1"),
        ('"Bob <b@x>;tag=fake" <sip:bob@host>;tag=true', "sip:bob@host", "true"),
        ('"quoted \\" <x>" <sip:c@d;p=1>;x;tag=2', "sip:c@d;p=1", "2"),
        ("Bob Smith <sip:e@f> ; tag = 3 ", "sip:e@f", "3"),
    ],
)
def test_name_addr_is_taken_apart_outside_quotes(text, uri, tag):
    parsed = parse_name_addr(text)
    assert (parsed.uri, parsed.params["tag"]) == (uri, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"Bob" sip:a@b',
        '"open <sip:a@b>',
        "<sip:a@b",
        "<>",
        "<sip:a@b> junk",
        "sip:a@b?x=y",
        "a,b",
        "<sip:a>;t=1;t=2",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(BadAddress):
        parse_name_addr(text)


def test_uri_parts():
    uri = parse_uri("sip:al%20ice:secret@Host.example:5070;transport=udp;lr?subject=x")
    assert (uri.scheme, uri.user, uri.host, uri.port) == ("sip", "al ice", "host.example", 5070)
    assert uri.params == {"transport": "udp", "lr": ""}
    assert parse_uri("sips:[2001:db8::1]:5061").host == "2001:db8::1"
    assert parse_uri("sip:host").user == ""
    tel = parse_uri("tel:+4930;phone-context=x")
    assert (tel.scheme, tel.user, tel.host) == ("tel", "+4930", "")
    assert parse_uri("urn:x;y").params == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        "sip:@host",
        "sip:a b@c",
        "sip:a@b:0",
        "sip:a@b:70000",
        "sip:a@b:x",
        "sip:a@[::1",
        "<sip:a>",
    ],
)
def test_what_is_no_uri_is_refused(text):
    with pytest.raises(BadAddress):
        parse_uri(text)


def test_via():
    via = parse_via("SIP / 2.0 / UDP  Host:5080;branch=z9;rport")
    assert (via.host, via.port, via.branch, via.params["rport"]) == ("host", 5080, "z9", "")
    assert parse_via("SIP/2.0/UDP [::1]").port == 5060


@pytest.mark.parametrize(
    "text", ["", "UDP host", "SIP/3.0/UDP host", "SIP/2.0/UDP", "SIP/2.0/UDP host:99999;branch=x"]
)
def test_what_is_no_via_is_refused(text):
    with pytest.raises(BadAddress):
        parse_via(text)


def test_params_keep_quoted_semicolons():
    assert parse_params('a="x;y";B=2;;c') == {"a": '"x;y"', "b": "2", "c": ""}


def test_host_without_port_and_brackets():
    assert parse_host("[::1]:7") == ("::1", 7)
    assert parse_host("a") == ("a", None)
    assert (bracketed("::1"), bracketed("1.2.3.4")) == ("[::1]", "1.2.3.4")


def test_semicolon_in_a_quoted_string_parts_nothing():
    assert split_params('a="x;y";b') == ['a="x;y"', "b"]
    assert split_params(r'a="x\";y";b') == [r'a="x\";y"', "b"]
    assert split_params("a;;b") == ["a", "", "b"]
    with pytest.raises(BadAddress):
        split_params('a="x;b')
