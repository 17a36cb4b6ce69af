import numpy as np
import pytest

from mediaworker.core.g711 import MU_LAW
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.legs import Speech
from mediaworker.core.rows import Rows
from mediaworker.core.speech.speech import SpeechGate
from shared.contracts import TurnSettings
from tests.support.engine_caller import tone

pytestmark = pytest.mark.unit


def bed(*detect: bool) -> tuple[Rows, SpeechGate]:
    rows = Rows(len(detect), 1)
    gate = SpeechGate(rows, JitterRing(rows), -45.0)
    for row, wanted in enumerate(detect):
        rows.take(0)
        rows.detect[row], rows.started[row] = wanted, True
        gate.open(row, TurnSettings(onset_ms=40))
    gate.changed(0)
    return rows, gate


def test_only_legs_that_want_it_are_listened_to():
    rows, gate = bed(False, True, True)
    rows.caller_pcm[:2] = tone(300, 160)
    told = [event for _ in range(3) for event in gate.step(0, {})[0]]
    assert [(event.row, event.kind) for event in told] == [(1, Speech.ONSET)]
    assert gate.step(0, {})[1].tolist() == [1]


def test_without_any_such_leg_nothing_happens():
    rows, gate = bed(False)
    rows.caller_pcm[:] = tone(300, 160)
    events, inside = gate.step(0, {})
    assert (events, inside.size) == ([], 0)


def test_a_leg_is_listened_to_from_its_start_on():
    rows, gate = bed(True)
    rows.started[0] = False
    gate.changed(0)
    rows.caller_pcm[:] = tone(300, 160)
    assert [gate.step(0, {})[0] for _ in range(5)] == [[]] * 5


def test_the_pre_roll_is_as_long_as_asked_for():
    rows, gate = bed(True)
    rows.play[0] = 100
    assert len(gate.pre_roll(0)) == (10 + 2 - 1) * 160
    gate.open(0, TurnSettings(onset_ms=20, pre_roll_ms=0))
    assert gate.pre_roll(0).size == 0
    gate.open(0, TurnSettings(pre_roll_ms=60_000))
    assert len(gate.pre_roll(0)) < 160 * 40
    assert not np.any(gate.pre_roll(0))


def test_while_playout_waits_for_a_sender_who_sends_his_silence_too_the_detector_waits():
    rows, gate = bed(True, True)
    rows.silent_sender[1] = True
    rows.caller_pcm[:2] = tone(300, 160)
    for _ in range(3):
        gate.step(0, {})
    rows.caller_pcm[:2] = 0
    nothing = np.zeros(0, np.int16)
    told = [gate.step(0, {0: nothing, 1: nothing}) for _ in range(40)]
    assert [(event.row, event.kind) for events, _ in told for event in events] == [
        (1, Speech.PAUSE),
        (1, Speech.END),
    ]
    assert all(not inside.size for _, inside in told)
    assert gate.step(0, {})[1].tolist() == [0]


def test_the_pre_roll_ends_before_what_the_utterance_gets_of_this_tick():
    rows = Rows(1, 1)
    rows.take(0)
    rows.detect[0] = rows.started[0] = True
    ring = JitterRing(rows)
    gate = SpeechGate(rows, ring, -45.0)
    gate.open(0, TurnSettings())
    gate.changed(0)
    at = np.array([0])
    for frame in range(20):
        packet = np.full((1, 172), 0x80 + frame, np.uint8)
        ring.insert(at, np.array([frame]), np.array([frame]), np.array([0]), packet)
    rows.play[0] = 20
    ends = []
    for own in ({}, {0: np.zeros(0, np.int16)}, {0: np.zeros(320, np.int16)}):
        gate.step(0, own)
        ends.append(int(gate.pre_roll(0)[-1]))
    assert ends == [int(MU_LAW.decoder[0x80 + frame]) for frame in (18, 19, 17)]


def test_what_was_said_before_a_codec_came_and_went_is_in_no_pre_roll():
    rows, gate = bed(True)

    def say(number: int, *, coded: bool) -> None:
        rows.coded[0] = rows.wide[0] = coded
        gate.changed(0)
        rows.caller_wide[0] = number
        for _ in range(5):
            gate.step(0, {})

    say(1, coded=True)
    assert set(gate.pre_roll(0).tolist()) == {1}
    say(2, coded=False)
    say(3, coded=True)
    assert set(gate.pre_roll(0).tolist()) == {3}
