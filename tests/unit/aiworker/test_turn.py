"""The table of a dialogue's states."""

import pytest

from aiworker.core.turn import TABLE, Action, Input, State, UnlistedInput, step

pytestmark = pytest.mark.unit


def test_caller_gets_the_floor_in_every_state() -> None:
    for state in set(State) - {State.ENDED}:
        assert step(state, Input.FLOOR) == (State.LISTENING, Action.YIELD)
        assert step(state, Input.BYE) == (State.ENDED, Action.END)


def test_nothing_happens_after_the_end() -> None:
    assert {step(State.ENDED, happened) for happened in Input} == {(State.ENDED, Action.IGNORE)}


def test_unlisted_input_raises() -> None:
    with pytest.raises(UnlistedInput):
        step(State.SPEAKING, Input.CONFIRMED)


def test_gate_is_opened_from_one_state_only() -> None:
    opened = [state for state, row in TABLE.items() for _, action in row.values() if action is Action.OPEN]
    assert opened == [State.SPECULATING]


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TABLE) == set(State)
    reached = {state for row in TABLE.values() for state, _ in row.values()}
    assert reached >= set(State) - {State.GREETING}
