from collections import Counter

import pytest

from mediaworker.core.dtmf.presses import ECHO_NS, KEPT, KEPT_NS, WINDOW_NS, Presses
from mediaworker.core.legs import DtmfEvent
from shared.contracts import DigitSource
from shared.units import NS_PER_MS

pytestmark = pytest.mark.unit


class Listener:
    """One leg; times in ms."""

    def __init__(self) -> None:
        self.rejected: Counter[str] = Counter()
        self.presses = Presses(self.rejected)

    def told(self, at_ms: int, digit: str, source: DigitSource, duration_ms: int = 100, row: int = 0) -> bool:
        return self.presses.is_new(DtmfEvent(row, digit, duration_ms, source), at_ms * NS_PER_MS)


@pytest.mark.parametrize(
    ("first", "second"),
    [("rfc4733", "info"), ("info", "rfc4733"), ("inband", "rfc4733"), ("inband", "info"), ("info", "inband")],
)
def test_two_sources_of_one_press_are_one_press(first: DigitSource, second: DigitSource):
    listener = Listener()
    assert listener.told(1_000, "5", first)
    assert not listener.told(1_400, "5", second)


def test_all_three_are_one_press():
    listener = Listener()
    assert listener.told(1_000, "5", "inband", 40)
    assert not listener.told(1_060, "5", "rfc4733")
    assert not listener.told(1_500, "5", "info", 0)


def test_a_key_pressed_twice_is_two_presses_in_every_source():
    listener = Listener()
    assert listener.told(1_000, "5", "rfc4733")
    assert listener.told(1_200, "5", "rfc4733")
    assert not listener.told(1_300, "5", "info")
    assert not listener.told(1_500, "5", "info")
    assert listener.told(1_700, "5", "info"), "nothing is left that it could repeat"


def test_other_keys_and_other_legs_are_other_presses():
    listener = Listener()
    assert listener.told(1_000, "5", "rfc4733")
    assert listener.told(1_001, "6", "info")
    assert listener.told(1_002, "5", "info", row=1)


def test_a_late_report_of_a_long_press_is_the_same_press():
    """INFO at the beginning of a press of three seconds, its event at the end."""
    listener = Listener()
    assert listener.told(1_000, "5", "info", 0)
    assert not listener.told(4_000, "5", "rfc4733", 3_000)


def test_a_report_that_begins_too_late_is_another_press():
    window_ms = WINDOW_NS // NS_PER_MS
    listener = Listener()
    assert listener.told(1_000, "5", "rfc4733")
    assert listener.told(1_000 + window_ms + 101, "5", "info", 100)
    other = Listener()
    assert other.told(1_000, "5", "rfc4733")
    assert not other.told(1_000 + window_ms + 100, "5", "info", 100)


def test_a_leg_that_sends_events_is_not_believed_by_its_sound():
    listener = Listener()
    assert listener.told(0, "1", "inband")
    assert listener.told(60_000, "1", "rfc4733")
    assert not listener.told(90_000, "7", "inband")
    listener.presses.forget(0)
    assert listener.told(90_000, "7", "inband")


def test_our_own_tones_coming_back_are_nobodys_press():
    listener = Listener()
    listener.presses.send(0, "5", 200 * NS_PER_MS)
    assert not listener.told(350, "5", "inband")
    assert listener.told(350, "6", "inband"), "the caller presses something else meanwhile"
    assert listener.told(350, "5", "inband", row=1)
    echo_ms = ECHO_NS // NS_PER_MS
    assert not listener.told(200 + echo_ms + 100, "5", "inband", 100)
    assert listener.told(200 + echo_ms + 101, "5", "inband", 100)


def test_our_own_tones_do_not_hide_events():
    listener = Listener()
    listener.presses.send(0, "5", 200 * NS_PER_MS)
    assert listener.told(300, "5", "rfc4733")


def test_a_flood_of_presses_is_cut_off_and_over_when_it_is_over():
    """Thirty-two in a second are a dialler after a stall; more are an attack on whoever is told."""
    listener = Listener()
    told = [listener.told(number, "0123456789"[number % 10], "rfc4733", 0) for number in range(500)]
    assert told.count(True) == KEPT
    assert listener.rejected == {"dtmf_rate": 500 - KEPT}
    assert listener.told(499, "5", "rfc4733", 0, row=1), "a neighbour is not concerned"
    assert listener.told(1_000, "5", "rfc4733", 0)


def test_what_is_remembered_is_bounded():
    listener = Listener()
    for number in range(200):
        assert listener.told(number * 200, "5", "rfc4733")
    assert len(listener.presses._told[0]) <= KEPT + 1
    assert listener.told(200 * 200 + KEPT_NS // NS_PER_MS + 1, "5", "rfc4733")
    assert len(listener.presses._told[0]) == 1
    listener.presses.forget(0)
    assert not listener.presses._told
