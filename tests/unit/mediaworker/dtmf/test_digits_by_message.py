"""Digits that the farm asks for, and those that came in a SIP INFO: answered once, told once."""

import pytest

from mediaworker.core.calls.effects import Note
from mediaworker.core.calls.exchange import Limits
from shared.contracts import (
    DtmfReceived,
    MediaAnswer,
    MediaDigits,
    MediaFormat,
    MediaInfoDigit,
)
from tests.support.exchange_bench import Bench, notes, sent

pytestmark = pytest.mark.unit

PLAIN = MediaFormat(codec="PCMU", payload_type=0)


def digits(keys: str, msg_id: str = "d1", **more: object) -> MediaDigits:
    return MediaDigits(msg_id=msg_id, reply_to="front.1", call_id="c1", digits=keys, **more)  # type: ignore[arg-type]


def info(digit: str, msg_id: str = "i1", **more: object) -> MediaInfoDigit:
    return MediaInfoDigit(msg_id=msg_id, reply_to="front.1", call_id="c1", digit=digit, **more)  # type: ignore[arg-type]


def answer(effects: list[object]) -> tuple[bool, str]:
    (found,) = sent(effects, MediaAnswer, "front.1")
    return found.ok, found.reason


def events(bench: Bench, ticks: int) -> list[int]:
    """Event numbers of the packets that end a press."""
    ended = []
    for _ in range(ticks):
        bench.tick()
        ended += [packet.data[12] for packet in bench.engine.loose() if packet.data[13] & 0x80]
    return ended


def test_digits_are_answered_logged_without_themselves_and_sent() -> None:
    bench = Bench()
    bench.open()
    effects = bench.do(digits("12", duration_ms=60, gap_ms=60))
    assert answer(effects) == (True, "")
    assert notes(effects, "dtmf.sent") == [{"count": 2, "via": "auto"}]
    assert not any("12" in str(effect) for effect in effects if isinstance(effect, Note))
    assert events(bench, 16) == [1, 1, 1, 2, 2, 2]


def test_a_repeated_request_presses_nothing_again() -> None:
    bench = Bench()
    bench.open()
    assert answer(bench.do(digits("1", duration_ms=40, gap_ms=40))) == (True, "")
    assert answer(bench.do(digits("1", duration_ms=40, gap_ms=40))) == (True, "")
    assert events(bench, 12) == [1, 1, 1]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (digits("12x"), "bad_request"),
        (digits("1", via="rfc4733"), "bad_request"),
        (digits("1", duration_ms=10), "bad_request"),
        (info("x"), "bad_request"),
    ],
)
def test_what_cannot_be_is_refused(request_: MediaDigits | MediaInfoDigit, reason: str) -> None:
    bench = Bench()
    bench.open(format=PLAIN)
    effects = bench.do(request_)
    assert answer(effects) == (False, reason)
    assert notes(effects, "dtmf.sent") == []


@pytest.mark.parametrize("request_", [digits("1"), info("1")])
def test_an_unknown_call_is_answered(request_: MediaDigits | MediaInfoDigit) -> None:
    assert answer(Bench().do(request_)) == (False, "unknown_call")


def test_a_digit_from_info_is_told_once_with_its_source() -> None:
    bench = Bench()
    bench.open()
    assert answer(bench.do(info("#", duration_ms=160))) == (True, "")
    assert answer(bench.do(info("#", duration_ms=160))) == (True, "")
    effects = bench.tick(3)
    assert notes(effects, "dtmf") == [{"digit": "#", "duration_ms": 160, "source": "info"}]
    (told,) = sent(effects, DtmfReceived, "llm.1")
    assert (told.digit, told.duration_ms, told.source) == ("#", 160, "info")


@pytest.mark.parametrize(
    ("mode", "kind", "listened"),
    [
        ("auto", "agent", 1),
        ("auto", "transcribe", 1),
        ("auto", "conference", 1),
        ("auto", "echo", 0),
        ("always", "echo", 1),
        ("never", "agent", 0),
    ],
)
def test_which_calls_are_listened_to_for_tones(mode: str, kind: str, listened: int) -> None:
    bench = Bench()
    limits = Limits(media_id="media.1", max_call_ns=10**12, inband_dtmf=mode)  # type: ignore[arg-type]
    bench.exchange._limits = limits
    bench.open(kind=kind, format=PLAIN)
    assert bench.engine.keys.listened[0].size == listened
