"""Identities: format, order, safety."""

import re

import pytest

from shared.ids import new_call_id, new_message_id, new_worker_id, safe_label, uuid7_hex, worker_name

pytestmark = pytest.mark.unit


def test_uuid7_has_version_and_variant_when_all_bits_are_set() -> None:
    made = uuid7_hex(1_700_000_000_123_456_789, b"\xff" * 10)
    assert len(made) == 32
    assert made[12] == "7"
    assert made[16] in "89ab"
    assert int(made[:12], 16) == 1_700_000_000_123


def test_uuid7_sorts_by_time_when_entropy_differs() -> None:
    assert uuid7_hex(1_000_000_000, b"\xff" * 10) < uuid7_hex(1_001_000_000, b"\x00" * 10)


def test_uuid7_refuses_wrong_entropy() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        uuid7_hex(0, b"short")


def test_ids_differ_when_made_twice() -> None:
    assert new_call_id() != new_call_id()
    assert new_message_id() != new_message_id()
    assert new_worker_id("stt-0") != new_worker_id("stt-0")


def test_worker_id_keeps_its_name() -> None:
    assert re.fullmatch(r"stt-0\.[0-9a-f]{8}", new_worker_id("stt-0"))
    assert worker_name(new_worker_id("stt-0")) == "stt-0"
    assert worker_name("plain") == "plain"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("room-1", "room-1"),
        ("a b:c/d", "a_b_c_d"),
        ("x\r\ny", "x__y"),
        ("", ""),
        ("é" * 3, "___"),
        ("a" * 80, "a" * 64),
    ],
)
def test_safe_label_leaves_nothing_that_breaks_keys(text: str, safe: str) -> None:
    assert safe_label(text) == safe
