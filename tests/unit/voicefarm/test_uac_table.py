"""The table of an outgoing call: whole calls, what may never happen, and that nothing keeps it from ending."""

import pytest

from voicefarm.core.uac_table import TRANSITIONS, Event, State, Step

pytestmark = pytest.mark.unit

TOLD = {Step.TELL_REFUSED, Step.TELL_TIMEOUT, Step.TELL_HUNG_UP, Step.TELL_ENDED}


def walk(*events: Event) -> tuple[State, list[Step]]:
    state, done = State.IDLE, []
    for event in events:
        state, steps = TRANSITIONS[state][event]
        done += steps
    return state, done


@pytest.mark.parametrize(
    ("events", "steps"),
    [
        ([Event.CALL, Event.ACCEPTED, Event.HANG_UP, Event.BYE_ANSWERED],
         [Step.INVITE, Step.ACK, Step.TELL_ANSWERED, Step.SEND_BYE, Step.TELL_ENDED]),
        ([Event.CALL, Event.PROVISIONAL, Event.ACCEPTED, Event.BYE],
         [Step.INVITE, Step.TELL_RINGING, Step.ACK, Step.TELL_ANSWERED, Step.TELL_HUNG_UP]),
        ([Event.CALL, Event.REFUSED], [Step.INVITE, Step.ACK_REFUSAL, Step.TELL_REFUSED]),
        ([Event.CALL, Event.AGAIN, Event.TIMEOUT], [Step.INVITE, Step.REPEAT, Step.TELL_TIMEOUT]),
        ([Event.CALL, Event.HANG_UP, Event.PROVISIONAL, Event.REFUSED],
         [Step.INVITE, Step.CANCEL, Step.ACK_REFUSAL, Step.TELL_ENDED]),
        ([Event.CALL, Event.PROVISIONAL, Event.HANG_UP, Event.ACCEPTED, Event.BYE_ANSWERED],
         [Step.INVITE, Step.TELL_RINGING, Step.CANCEL, Step.ACK, Step.SEND_BYE, Step.TELL_ENDED]),
        ([Event.HANG_UP], [Step.TELL_ENDED]),
    ],
)  # fmt: skip
def test_whole_calls_do_this_in_this_order(events: list[Event], steps: list[Step]) -> None:
    assert walk(*events) == (State.ENDED, steps)


def test_every_2xx_is_acknowledged_whenever_it_comes() -> None:
    """RFC 3261 section 13.2.2.4: the ACK is sent each time the 2xx arrives."""
    for state, row in TRANSITIONS.items():
        if Event.ACCEPTED in row:
            assert Step.ACK in row[Event.ACCEPTED][1], state


def test_cancel_goes_only_after_a_provisional_answer() -> None:
    """RFC 3261 section 9.1."""
    for state, row in TRANSITIONS.items():
        for event, (_, steps) in row.items():
            if Step.CANCEL in steps:
                assert event is Event.PROVISIONAL or state is State.RINGING


def test_the_user_is_told_of_the_end_once() -> None:
    for state, row in TRANSITIONS.items():
        for event, (after, steps) in row.items():
            ends = after is State.ENDED and state is not State.ENDED
            assert len(TOLD & set(steps)) == int(ends), (state, event)


@pytest.mark.parametrize("state", [s for s in State if s is not State.ENDED])
def test_one_who_hangs_up_gets_to_the_end_whatever_the_farm_does(state: State) -> None:
    reached, waiting = set(), [TRANSITIONS[state][Event.HANG_UP][0]]
    while waiting:
        now = waiting.pop()
        reached.add(now)
        following = TRANSITIONS[now].get(Event.TIMEOUT)
        if following and following[0] not in reached:
            waiting.append(following[0])
    assert State.ENDED in reached


def test_nothing_leads_out_of_the_end() -> None:
    assert {after for after, _ in TRANSITIONS[State.ENDED].values()} == {State.ENDED}
    assert set(TRANSITIONS) == set(State)
