import pytest

from mediaworker.core.dtmf.events import DIGITS, TelephoneEvent, decode

pytestmark = pytest.mark.unit


def test_the_octets_of_rfc_4733_figure_1():
    assert TelephoneEvent(11, 1_760, ended=True, volume=10).encode() == bytes([11, 0x8A, 0x06, 0xE0])
    assert TelephoneEvent(1, 400, ended=False, volume=63).encode() == bytes([1, 0x3F, 0x01, 0x90])


@pytest.mark.parametrize("event", range(len(DIGITS)))
def test_what_is_written_is_read(event: int):
    report = TelephoneEvent(event, 65_535, ended=bool(event % 2), volume=event)
    assert decode(report.encode()) == [report]


def test_the_reserved_bit_is_ignored():
    assert decode(bytes([5, 0x40 | 10, 0, 160])) == [TelephoneEvent(5, 160, ended=False, volume=10)]


def test_one_unknown_event_makes_the_packet_no_key_press():
    good = TelephoneEvent(5, 160, ended=True).encode()
    assert decode(good + b"\x20\x8a\x00\xa0") == []
    assert decode(good + b"\x01") == []
    assert decode(b"") == []
