import pytest

from mediaworker.core.dtmf.events import DIGITS, SEGMENT, TelephoneEvent
from mediaworker.core.dtmf.receiver import LOST_NS, REMEMBERED, REMEMBERED_NS, DtmfReceiver
from mediaworker.core.legs import DtmfEvent

pytestmark = pytest.mark.unit


def event(number: int, duration: int, *, end: bool = False) -> bytes:
    return TelephoneEvent(number, duration, end).encode()


def digits(receiver: DtmfReceiver, now_ns: int = 0) -> str:
    return "".join(found.digit for found in receiver.take(now_ns))


def test_a_press_sent_seven_times_is_one_press():
    receiver = DtmfReceiver()
    for duration in (160, 320, 480, 640):
        assert receiver.packet(3, 5_000, event(5, duration), 0)
    assert receiver.take(0) == []
    for _ in range(3):
        receiver.packet(3, 5_000, event(5, 800, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(3, "5", 100)]
    assert receiver.take(10 * LOST_NS) == []


@pytest.mark.parametrize("number", range(len(DIGITS)))
def test_every_key_has_its_event(number: int):
    receiver = DtmfReceiver()
    receiver.packet(0, 1, event(number, 800, end=True), 0)
    assert digits(receiver) == "0123456789*#ABCD!"[number]


def test_the_same_key_pressed_twice_is_two_presses():
    receiver = DtmfReceiver()
    for start in (0, 4_000):
        receiver.packet(0, start, event(11, 800, end=True), 0)
    assert digits(receiver) == "##"


def test_keys_sent_under_one_timestamp_are_told_apart():
    """Some senders never set the timestamp."""
    receiver = DtmfReceiver()
    for number in (1, 2, 3):
        receiver.packet(0, 0, event(number, 800, end=True), 0)
    assert digits(receiver) == "123"


def test_several_presses_in_one_packet():
    """RFC 4733 section 2.5.1.5: each begins where the one before ends."""
    receiver = DtmfReceiver()
    receiver.packet(0, 1_000, event(1, 800, end=True) + event(2, 400, end=True), 0)
    receiver.packet(0, 1_800, event(2, 400, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(0, "1", 100), DtmfEvent(0, "2", 50)]


def test_a_press_whose_end_was_lost_is_reported_after_a_while():
    receiver = DtmfReceiver()
    receiver.packet(0, 9, event(15, 400), 0)
    assert receiver.take(LOST_NS) == []
    assert receiver.take(LOST_NS + 1) == [DtmfEvent(0, "D", 50)]
    receiver.packet(0, 9, event(15, 800, end=True), LOST_NS + 2)
    assert receiver.take(10 * LOST_NS) == [], "its end came after all"


def test_a_press_whose_end_was_lost_is_reported_by_the_next_one():
    receiver = DtmfReceiver()
    receiver.packet(0, 9, event(1, 400), 0)
    receiver.packet(0, 9_000, event(2, 160), 0)
    assert receiver.take(0) == [DtmfEvent(0, "1", 50)]


def test_a_straggler_of_a_press_before_changes_nothing():
    receiver = DtmfReceiver()
    receiver.packet(0, 100, event(1, 400, end=True), 0)
    receiver.packet(0, 4_000, event(2, 160), 0)
    assert receiver.packet(0, 100, event(1, 400, end=True), 0)
    receiver.packet(0, 4_000, event(2, 800, end=True), 0)
    assert digits(receiver) == "12"


def test_a_press_of_which_only_a_straggler_came_is_not_missed():
    receiver = DtmfReceiver()
    receiver.packet(0, 4_000, event(2, 160), 0)
    receiver.packet(0, 100, event(1, 400, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(0, "1", 50)], "the newer one goes on"
    receiver.packet(0, 4_000, event(2, 800, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(0, "2", 100)]


@pytest.mark.parametrize("start", [0, 0xFFFF_FFFF, 0xFFFF_8000])
def test_a_long_press_comes_in_segments_and_is_one(start: int):
    """RFC 4733 section 2.5.1.3: the duration starts again under a timestamp 0xFFFF later."""
    receiver = DtmfReceiver()
    mask = 0xFFFF_FFFF
    receiver.packet(0, start, event(5, 160), 0)
    receiver.packet(0, start, event(5, SEGMENT), 0)
    receiver.packet(0, (start + SEGMENT) & mask, event(5, 65), 0)
    receiver.packet(0, start, event(5, SEGMENT), 0)
    receiver.packet(0, (start + 2 * SEGMENT) & mask, event(5, 800, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(0, "5", round((2 * SEGMENT + 800) / 8))]


def test_a_press_right_after_the_end_of_a_long_one_is_another():
    receiver = DtmfReceiver()
    receiver.packet(0, 0, event(5, SEGMENT, end=True), 0)
    receiver.packet(0, SEGMENT, event(5, 800, end=True), 0)
    assert digits(receiver) == "55"


@pytest.mark.parametrize("clock_hz", [8_000, 16_000, 48_000])
def test_durations_count_the_clock_that_was_agreed(clock_hz: int):
    receiver = DtmfReceiver()
    receiver.set_clock(0, 44_100)
    receiver.set_clock(0, clock_hz)
    receiver.packet(0, 0, event(5, clock_hz // 10, end=True), 0)
    assert receiver.take(0) == [DtmfEvent(0, "5", 100)]


@pytest.mark.parametrize(
    "payload", [b"", b"\x01\x80\x01", event(17, 100), event(255, 100), event(1, 9) + b"\0"]
)
def test_what_is_no_key_is_refused(payload: bytes):
    assert not DtmfReceiver().packet(0, 1, payload, 0)


def test_a_closed_leg_reports_nothing():
    receiver = DtmfReceiver()
    receiver.packet(0, 9, event(1, 400), 0)
    receiver.packet(0, 9_000, event(2, 400, end=True), 0)
    receiver.packet(1, 9_000, event(3, 400, end=True), 0)
    receiver.forget(0)
    receiver.forget(0)
    assert digits(receiver, 10 * LOST_NS) == "3"


def test_another_stream_s_keys_are_not_taken_for_stragglers():
    receiver = DtmfReceiver()
    receiver.packet(0, 100, event(1, 400), 0)
    receiver.restart(0)
    receiver.packet(0, 100, event(1, 400, end=True), 0)
    assert digits(receiver) == "11"
    receiver.restart(3)
    assert receiver.take(0) == []


def test_a_stream_that_was_numbered_anew_is_heard():
    receiver = DtmfReceiver()
    receiver.packet(0, 0x8000_0000, event(1, 400, end=True), 0)
    receiver.packet(0, 100, event(2, 400, end=True), 1)
    receiver.packet(0, 100, event(2, 400, end=True), REMEMBERED_NS)
    assert digits(receiver) == "12"
    receiver.packet(0, 100, event(2, 400, end=True), 2 * REMEMBERED_NS)
    assert digits(receiver) == "2"


def test_what_is_remembered_of_a_leg_is_bounded():
    receiver = DtmfReceiver()
    for number in range(4 * REMEMBERED):
        receiver.packet(0, 4_000 * number, event(1, 400), 0)
    assert len(receiver.take(0)) == 4 * REMEMBERED - 1
    assert len(receiver._recent[0]) == REMEMBERED
    receiver.take(LOST_NS + 1)
    assert not receiver._open
