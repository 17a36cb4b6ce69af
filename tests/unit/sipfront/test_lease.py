"""The table of a call's media lease: what is held is given back once, by whoever holds it last."""

import pytest

from sipfront.core.fsm import step
from sipfront.core.lease import LEASE, RESERVE_TRIES, Act, Event, State

pytestmark = pytest.mark.unit


def walk(*events):
    """State and all actions after events."""
    state, done = State.RESERVING, []
    for event in events:
        state, acts = step(LEASE, state, event)
        done += acts
    return state, done


@pytest.mark.parametrize(
    ("events", "released", "told"),
    [
        ((Event.REFUSED,), [], [Act.FAILED]),
        ((Event.RESERVED, Event.DENIED), [Act.RELEASE], [Act.FAILED]),
        ((Event.RESERVED, Event.ENDED), [Act.RELEASE], [Act.FAILED]),
        ((Event.RESERVED, Event.LOST), [Act.RELEASE], [Act.FAILED]),
        ((Event.RESERVED, Event.LATE, Event.CLOSED), [], [Act.FAILED]),
        ((Event.RESERVED, Event.LATE, Event.LATE), [Act.RELEASE], [Act.FAILED]),
        ((Event.RESERVED, Event.LATE, Event.OPENED, Event.UNKNOWN), [Act.RELEASE], [Act.FAILED]),
        ((Event.RESERVED, Event.OPENED, Event.LOST), [Act.RELEASE], [Act.READY, Act.LOST]),
        ((Event.RESERVED, Event.OPENED, Event.ENDED, Event.CLOSED), [], [Act.READY, Act.OVER]),
        ((Event.RESERVED, Event.OPENED, Event.GIVE_UP, Event.CLOSED), [], [Act.READY]),
        ((Event.RESERVED, Event.OPENED, Event.GIVE_UP, Event.LOST), [Act.RELEASE], [Act.READY]),
        ((Event.GIVE_UP, Event.RESERVED), [Act.RETURN], []),
        ((Event.GIVE_UP, Event.REFUSED), [], []),
        ((Event.LATE, Event.RESERVED), [Act.RETURN], [Act.FAILED]),
        ((Event.RESERVED, Event.BUSY, Event.RESERVED, Event.DENIED), [Act.RELEASE], [Act.FAILED]),
        ((Event.RESERVED, Event.GIVE_UP, Event.CLOSED), [], []),
    ],
)
def test_way_out_gives_back_once_and_tells_the_call_once(events, released, told):
    state, done = walk(*events)
    assert state is State.GONE
    assert [act for act in done if act in {Act.RELEASE, Act.RETURN}] == released
    assert [act for act in done if act in {Act.READY, Act.FAILED, Act.LOST, Act.OVER}] == told


@pytest.mark.parametrize("state", State)
def test_call_may_give_up_at_any_moment(state):
    after, acts = step(LEASE, state, Event.GIVE_UP)
    assert after is not State.OPEN
    assert Act.READY not in acts
    assert step(LEASE, after, Event.GIVE_UP) == (after, ()), "and once more means nothing"


def test_deadline_is_armed_whenever_an_answer_is_awaited_and_disarmed_with_it():
    for state, row in LEASE.items():
        for event, (after, acts) in row.items():
            if after in {State.OPENING, State.CLOSING} and after is not state:
                assert Act.WAIT in acts, (state, event)
            if (
                state in {State.OPENING, State.CLOSING}
                and after in {State.OPEN, State.GONE}
                and event is not Event.LATE
            ):
                assert Act.REST in acts, (state, event)


@pytest.mark.parametrize("state", [State.RESERVING, State.OPENING, State.CLOSING])
def test_every_wait_ends_by_the_clock(state):
    after, _ = step(LEASE, state, Event.LATE)
    assert after is not state


def test_what_comes_after_the_end_is_passed_over():
    for event in (Event.ENDED, Event.LOST, Event.GIVE_UP):
        assert step(LEASE, State.GONE, event) == (State.GONE, ())
    assert RESERVE_TRIES >= 2
