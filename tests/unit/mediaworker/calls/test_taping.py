"""Whose recording runs: every order in which messages may ask, against what they are to come to."""

import itertools

import pytest

from mediaworker.core.calls.effects import Effects, Note
from mediaworker.core.calls.taping import Taping
from mediaworker.core.engine import Engine
from tests.support.engine_caller import leg_setup
from tests.support.exchange_bench import MemoryTape

pytestmark = pytest.mark.unit


class Desk:
    def __init__(self, *, from_the_start: bool = False) -> None:
        self.engine, self.tape, self.out = Engine(1, seed=1), MemoryTape(), Effects()
        self.taping = Taping(self.engine, self.tape, self.out)
        self.row = self.engine.open(leg_setup(record=from_the_start), 0)
        if from_the_start:
            self.taping.begin("c", self.row)

    def act(self, *actions: str) -> list[str]:
        return [self.taping.act("c", self.row, action) for action in actions]

    def told(self) -> list[str]:
        return [effect.kind for effect in self.out.take() if isinstance(effect, Note)]


def test_a_recording_that_a_message_begins_is_in_the_rows_and_told():
    desk = Desk()
    assert desk.act("start") == [""]
    assert desk.engine.rows.record[desk.row]
    assert desk.act("stop") == [""]
    assert not desk.engine.rows.record[desk.row]
    assert desk.told() == ["recording.started", "recording.stopped"]


def test_what_is_so_already_is_neither_done_again_nor_told():
    desk = Desk(from_the_start=True)
    assert (
        desk.act("start", "resume", "pause", "pause", "start", "resume", "stop", "stop", "pause") == [""] * 9
    )
    assert desk.told() == ["recording.paused", "recording.resumed", "recording.stopped"]


def test_there_is_one_recording_a_call():
    desk = Desk()
    assert desk.act("pause", "resume", "stop") == ["no_recording"] * 3
    assert desk.act("start", "stop", "start") == ["", "", "recorded"]


def test_after_the_end_a_call_of_that_name_may_be_recorded_again():
    desk = Desk()
    assert not desk.taping.end("c", desk.row), "it never was"
    desk.act("start")
    assert desk.taping.end("c", desk.row)
    assert desk.act("start") == [""]


@pytest.mark.parametrize("from_the_start", [False, True])
def test_a_tape_that_was_begun_is_finished_once_whatever_was_asked(*, from_the_start: bool):
    for actions in itertools.product(["start", "pause", "resume", "stop"], repeat=3):
        desk = Desk(from_the_start=from_the_start)
        desk.act(*actions)
        desk.taping.end("c", desk.row)
        assert desk.tape.finished == ["c"] * (from_the_start or "start" in actions), actions
        assert not desk.tape.begun
        assert not desk.tape.paused
