"""Key presses through the engine: what is listened to, what is told, what is taken out of the sound."""

from collections import Counter

import numpy as np
import pytest

from mediaworker.core.dtmf.keys import Keys
from mediaworker.core.dtmf.sender import Style
from mediaworker.core.dtmf.tones import tone
from mediaworker.core.engine import Engine
from mediaworker.core.legs import DtmfEvent, Samples, Speech
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows
from shared.contracts import MediaFormat
from tests.support.engine_caller import Caller, leg_setup, rtp
from tests.support.engine_caller import tone as sine

pytestmark = pytest.mark.unit

EVENTS = 101


def a_leg(**changes: object) -> Caller:
    return Caller(Engine(2, seed=3, phases=1), leg_setup(**({"inband_dtmf": "auto"} | changes)))


def pressed(leg: Caller) -> list[tuple[str, str]]:
    return [(key.digit, key.source) for result in leg.results for key in result.dtmf]


def silence(ms: int) -> Samples:
    return np.zeros(8 * ms, np.int16)


def dial(digits: str, *, ms: int = 80) -> Samples:
    parts = [silence(100)] + [part for digit in digits for part in (tone(digit, ms, -12), silence(80))]
    return np.concatenate([*parts, silence(200)])


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_tones_are_heard_where_no_events_were_agreed(codec: str):
    leg = a_leg(codec=codec)
    leg.say(dial("147*"))
    assert pressed(leg) == [(digit, "inband") for digit in "147*"]


@pytest.mark.parametrize(
    ("mode", "events", "heard"),
    [("auto", None, True), ("auto", EVENTS, False), ("always", EVENTS, True), ("never", None, False)],
)
def test_who_is_listened_to(mode: str, events: int | None, heard: bool):
    leg = a_leg(inband_dtmf=mode, dtmf_payload_type=events)
    leg.say(dial("5"))
    assert bool(pressed(leg)) is heard


def test_a_leg_is_listened_to_as_its_format_says_now():
    leg = a_leg()
    leg.say(dial("1"))
    leg.engine.update(
        leg.row, leg.setup.remote, MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=EVENTS)
    )
    leg.say(dial("2"))
    leg.engine.update(leg.row, leg.setup.remote, leg.setup.format)
    leg.say(dial("3"))
    assert [digit for digit, _ in pressed(leg)] == ["1", "3"]


def test_a_leg_that_nobody_listens_to_costs_nothing():
    leg = a_leg(inband_dtmf="never")
    assert [rows.size for rows in leg.engine.keys.listened] == [0]
    leg.engine.close(leg.row)
    other = Caller(leg.engine, leg_setup(inband_dtmf="auto"))
    assert leg.engine.keys.listened[0].tolist() == [other.row]
    leg.engine.close(other.row)
    assert leg.engine.keys.listened[0].size == 0


def test_the_next_leg_of_a_row_does_not_inherit_a_tone():
    leg = a_leg()
    leg.say(np.concatenate([silence(100), tone("5", 100, -12)]))
    leg.engine.close(leg.row)
    again = Caller(leg.engine, leg_setup(inband_dtmf="auto"))
    assert again.row == leg.row
    again.say(silence(300))
    assert pressed(again) == []


def test_a_tone_is_no_speech_and_is_taken_out():
    leg = a_leg(detect_speech=True)
    leg.say(dial("5", ms=400))
    assert pressed(leg) == [("5", "inband")]
    assert [event for result in leg.results for event in result.speech if event.kind is Speech.ONSET] == []
    loud = np.abs(leg.said().astype(np.int32)) > 500
    assert 0 < np.count_nonzero(loud) < 8 * 80, "only what was heard before it was certain"


def test_speech_is_left_as_it_is():
    leg = a_leg()
    said = sine(440, 8_000)
    leg.say(said)
    assert np.count_nonzero(np.abs(leg.said().astype(np.int32)) > 500) > 6_000


def test_a_press_told_by_event_and_by_tone_is_one():
    leg = a_leg(inband_dtmf="always", dtmf_payload_type=EVENTS)
    leg.say(np.concatenate([silence(100), tone("5", 60, -12)]))
    start = leg.stamp - 480
    for duration, end in ((640, 0), (800, 0x80), (800, 0x80), (800, 0x80)):
        leg.arrive(rtp(leg.seq, start, bytes((5, end | 10)) + duration.to_bytes(2, "big"), kind=EVENTS))
        leg.seq += 1
        leg.tick()
    leg.stamp += 640
    leg.say(silence(300))
    assert [digit for digit, _ in pressed(leg)] == ["5"]


def test_a_press_told_by_signalling():
    leg = a_leg()
    assert leg.engine.keys.told(leg.row, "#", 160)
    leg.tick()
    leg.tick()
    assert [key for result in leg.results for key in result.dtmf] == [DtmfEvent(leg.row, "#", 160, "info")]


@pytest.mark.parametrize("digit", ["", "x", "12", "a"])
def test_what_signalling_tells_must_be_a_key(digit: str):
    leg = a_leg()
    assert not leg.engine.keys.told(leg.row, digit, 0)


def test_a_press_of_a_leg_that_closed_is_not_told():
    leg = a_leg()
    leg.engine.keys.told(leg.row, "#", 160)
    leg.engine.close(leg.row)
    again = Caller(leg.engine, leg.setup)
    again.tick(3)
    assert pressed(again) == []


def test_the_echo_of_our_own_tones_is_not_the_callers():
    """The line sends back what we say, weaker and 100 ms late, while the caller is silent."""
    leg = a_leg()
    leg.say(silence(200))
    leg.engine.keys.press(leg.row, "159#", Style(duration_ms=80, gap_ms=80))
    for _ in range(60):
        echo = leg.heard[-5].astype(np.int32) // 3
        leg.arrive(leg.packet(echo.astype(np.int16)))
        leg.tick()
    assert max(np.abs(frame).max() for frame in leg.heard) > 3_000, "they were sent"
    assert pressed(leg) == []
    leg.say(dial("8"))
    assert pressed(leg) == [("8", "inband")]


def two_phases() -> tuple[Rows, Keys, list[int]]:
    """A leg in each of two phases."""
    rows = Rows(2, 2)
    keys = Keys(rows, Transmitter(rows, np.random.default_rng(1)), Counter())
    taken = [rows.take(phase) for phase in range(2)]
    for row in taken:
        rows.started[row] = rows.receives[row] = rows.sends[row] = True
        keys.open(row, "auto")
    for phase in range(2):
        keys.changed(phase)
    return rows, keys, taken


def test_legs_of_two_phases_are_listened_to_each_in_its_own():
    rows, keys, (other, leg) = two_phases()
    sound = dial("7", ms=200)
    told: list[DtmfEvent] = []
    for start in range(0, len(sound), 160):
        rows.caller_pcm[leg] = sound[start : start + 160]
        rows.caller_pcm[other] = sine(440, 160)
        for phase in range(2):
            keys.listen(phase, {})
            told += keys.take(start)
        assert np.any(rows.caller_pcm[other])
    (press,) = told
    assert (press.row, press.digit) == (leg, "7")
    assert press.duration_ms == pytest.approx(200, abs=10)


def test_digits_are_sent_in_the_phase_of_their_leg():
    rows, keys, (other, leg) = two_phases()
    rows.sent_pcm[[other, leg]] = 99
    assert keys.press(leg, "7", Style(duration_ms=40, gap_ms=40))
    sounds = []
    for _ in range(5):
        for phase in range(2):
            span = rows.span(phase)
            keys.send(phase, 0)
            sounds.append(keys.sender.overlay(span, np.array([True])).tolist())
    assert sounds == [[True], [True], [True], [True], [True], [False], [True], [False], [True], [True]]
    assert np.all(rows.sent_pcm[other] == 99)
    assert not keys.sender
