"""Who a call belongs to."""

import pytest

from sipfront.core.identity import identify, unique_label
from sipfront.core.message import parse
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.unit


def identity(headers: str = "", trusted: bool = True, data: bytes = b""):
    return identify(parse(data or Caller().invite(headers=headers)), trusted=trusted)


def test_fallbacks_without_headers():
    who = identity()
    assert (who.room_id, who.session_id, who.tenant) == ("callid-1", "alice@127.0.0.1", "default")
    assert (who.caller, who.callee, who.user) == ("alice@127.0.0.1", "echo@127.0.0.1", "echo")


def test_all_x_headers_are_kept_in_the_metadata():
    who = identity("X-Room-ID: r\r\nX-Customer: 42\r\nSubject: no")
    assert who.metadata["x-customer"] == "42"
    assert who.metadata["from"].startswith('"Caller"')
    assert "subject" not in who.metadata


def test_nothing_of_a_stranger_is_kept():
    who = identity("X-Room-ID: r\r\nX-Customer: 42", trusted=False)
    assert (who.room_id, who.extra) == ("callid-1", {})
    assert "x-customer" not in who.metadata


def test_number_and_length_of_headers_are_bounded():
    who = identity("\r\n".join(f"X-N{n}: {'v' * 1000}" for n in range(60)))
    assert len(who.extra) == 32
    assert {len(value) for value in who.extra.values()} == {256}


def test_labels_are_safe_and_rooms_never_merge():
    assert unique_label("room-1") == "room-1"
    odd, other = unique_label("room 1"), unique_label("room_1")
    assert odd != other
    assert unique_label("a" * 64 + "b") != unique_label("a" * 64 + "c")
    assert all(len(unique_label(text)) <= 64 for text in ("a" * 200, "é" * 100))
    assert identity("X-Tenant-ID: a:b*c").tenant == "a_b_c"


def test_caller_without_user_or_sip_uri():
    data = Caller().invite()
    assert (
        identity(data=data.replace(b"<sip:alice@127.0.0.1>;tag", b"<sip:127.0.0.1>;tag")).caller
        == "127.0.0.1"
    )
    assert identity(data=data.replace(b"<sip:alice@127.0.0.1>;tag", b"<tel:+49>;tag")).caller == "+49"
    assert identity(data=data.replace(b"<sip:alice@127.0.0.1>;tag", b"<odd>;tag")).caller == "odd"


def test_what_the_proxy_adds_counts_however_many_headers_the_caller_sent():
    many = "\r\n".join(f"X-N{n}: v" for n in range(60))
    who = identity(f"{many}\r\nX-Room-ID: r\r\nX-Session-ID: s\r\nX-Tenant-ID: t")
    assert (who.room_id, who.session_id, who.tenant) == ("r", "s", "t")
    assert len(who.extra) == 35
