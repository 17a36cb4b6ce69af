import pytest

from mediaworker.core.dtmf import LOST_NS, STRAGGLER_NS, DtmfReceiver
from mediaworker.core.legs import DtmfEvent

pytestmark = pytest.mark.unit


def event(number: int, duration: int, *, end: bool = False) -> bytes:
    return bytes((number, 0x80 * end | 10)) + duration.to_bytes(2, "big")


def test_a_press_sent_seven_times_is_one_press():
    receiver = DtmfReceiver()
    for duration in (160, 320, 480, 640):
        assert receiver.packet(3, 5_000, event(5, duration), 0)
    assert receiver.take(0) == []
    for _ in range(3):
        receiver.packet(3, 5_000, event(5, 800, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(3, "5", 100)]
    assert receiver.take(10 * LOST_NS) == []


def test_the_same_key_pressed_twice_is_two_presses():
    receiver = DtmfReceiver()
    for start in (0, 4_000):
        receiver.packet(0, start, event(11, 800, end=True), 0)
    assert [found.digit for found in receiver.take(0)] == ["#", "#"]


def test_a_press_whose_end_was_lost_is_reported_after_a_while():
    receiver = DtmfReceiver()
    receiver.packet(0, 9, event(15, 400), 0)
    assert receiver.take(LOST_NS) == []
    assert receiver.take(LOST_NS + 1) == [DtmfEvent(0, "D", 50)]


def test_a_press_whose_end_was_lost_is_reported_by_the_next_one():
    receiver = DtmfReceiver()
    receiver.packet(0, 9, event(1, 400), 0)
    receiver.packet(0, 9_000, event(2, 160), 0)
    assert receiver.take(0) == [DtmfEvent(0, "1", 50)]


def test_a_straggler_of_the_press_before_changes_nothing():
    receiver = DtmfReceiver()
    receiver.packet(0, 100, event(1, 400, end=True), 0)
    receiver.packet(0, 4_000, event(2, 160), 0)
    assert receiver.packet(0, 100, event(1, 400, end=True), 0)
    receiver.packet(0, 4_000, event(2, 800, end=True), 0)
    assert [found.digit for found in receiver.take(0)] == ["1", "2"]


@pytest.mark.parametrize("payload", [b"", b"\x01\x80\x01", event(16, 100), event(255, 100)])
def test_what_is_no_key_is_refused(payload: bytes):
    assert not DtmfReceiver().packet(0, 1, payload, 0)


def test_a_closed_leg_reports_nothing():
    receiver = DtmfReceiver()
    receiver.packet(0, 9, event(1, 400), 0)
    receiver.forget(0)
    receiver.forget(0)
    assert receiver.take(10 * LOST_NS) == []


def test_another_stream_s_keys_are_not_taken_for_stragglers():
    receiver = DtmfReceiver()
    receiver.packet(0, 0x8000_0000, event(1, 400), 0)
    receiver.restart(0)
    receiver.packet(0, 100, event(2, 400, end=True), 0)
    assert [found.digit for found in receiver.take(0)] == ["1", "2"]
    receiver.restart(3)
    assert receiver.take(0) == []


def test_a_stream_that_was_numbered_anew_is_heard_after_a_while():
    receiver = DtmfReceiver()
    receiver.packet(0, 0x8000_0000, event(1, 400, end=True), 0)
    receiver.packet(0, 100, event(2, 400, end=True), STRAGGLER_NS - 1)
    receiver.packet(0, 100, event(3, 400, end=True), STRAGGLER_NS)
    assert [found.digit for found in receiver.take(0)] == ["1", "3"]
