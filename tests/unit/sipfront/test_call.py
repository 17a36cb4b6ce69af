"""The tables of a call's signalling and renegotiation: who is answered, when a BYE may go, when media may flow."""

import pytest

from sipfront.core.call import CALL, RENEGOTIATION, Act, Event, State, Talk, TalkAct, TalkEvent
from sipfront.core.fsm import Unlisted, step

pytestmark = pytest.mark.unit


def walk(*events, state=State.INVITED):
    done = []
    for event in events:
        state, acts = step(CALL, state, event)
        done += acts
    return state, done


@pytest.mark.parametrize(
    ("events", "acts"),
    [
        ((Event.READY, Event.ACK, Event.BYE), [Act.ANSWER, Act.CEASE, Act.START, Act.CEASE, Act.CONFIRM_BYE, Act.GIVE_UP, Act.OVER]),
        ((Event.FAILED,), [Act.REFUSE, Act.OVER]),
        ((Event.CANCEL,), [Act.TERMINATE, Act.GIVE_UP, Act.OVER]),
        ((Event.BYE,), [Act.CONFIRM_BYE, Act.TERMINATE, Act.GIVE_UP, Act.OVER]),
        ((Event.READY, Event.NO_ACK, Event.BYE_DONE), [Act.ANSWER, Act.CEASE, Act.SAY_BYE, Act.GIVE_UP, Act.OVER]),
        ((Event.READY, Event.END, Event.ACK, Event.BYE_DONE), [Act.ANSWER, Act.GIVE_UP, Act.CEASE, Act.SAY_BYE, Act.OVER]),
        ((Event.READY, Event.END, Event.BYE), [Act.ANSWER, Act.GIVE_UP, Act.CEASE, Act.CONFIRM_BYE, Act.OVER]),
        ((Event.READY, Event.ACK, Event.END, Event.BYE, Event.BYE_DONE), [Act.ANSWER, Act.CEASE, Act.START, Act.CEASE, Act.SAY_BYE, Act.GIVE_UP, Act.CONFIRM_BYE, Act.OVER]),
    ],
)  # fmt: skip
def test_whole_calls_do_this_in_this_order(events, acts):
    state, done = walk(*events)
    assert state is State.OVER
    assert done == acts


@pytest.mark.parametrize("events", [(Event.READY, Event.ACK), (Event.ACK, Event.READY, Event.ACK, Event.ACK)])
def test_media_starts_once_and_only_after_the_answer_was_acknowledged(events):
    state, done = walk(*events)
    assert state is State.CONFIRMED
    assert done.count(Act.START) == 1
    assert done.index(Act.START) > done.index(Act.ANSWER)


def test_no_bye_of_ours_goes_before_the_ack_or_its_deadline():
    """RFC 3261 section 15: the callee must not send a BYE on a confirmed dialog until it has the ACK or gave up on it."""
    for state in (State.INVITED, State.ANSWERED, State.DUE):
        for event, (_, acts) in CALL[state].items():
            if Act.SAY_BYE in acts:
                assert event in {Event.ACK, Event.NO_ACK}


@pytest.mark.parametrize("state", [State.ANSWERED, State.CONFIRMED, State.DUE, State.HANGING_UP, State.OVER])
def test_cancel_after_the_final_answer_has_no_effect(state):
    assert step(CALL, state, Event.CANCEL) == (state, ())


@pytest.mark.parametrize("state", [s for s in State if s is not State.OVER])
def test_every_bye_of_the_peer_is_confirmed(state):
    _, acts = step(CALL, state, Event.BYE)
    assert Act.CONFIRM_BYE in acts


def test_lease_is_given_up_once_on_every_path():
    """Depth-first over all paths without repeated states."""

    def paths(state, given, seen):
        for event, (after, acts) in CALL[state].items():
            now = given + acts.count(Act.GIVE_UP)
            assert now <= 1, (state, event)
            if after is State.OVER and state is not State.OVER:
                assert now == (0 if event is Event.FAILED else 1), (state, event)
            elif after not in seen:
                paths(after, now, seen | {after})

    paths(State.INVITED, 0, {State.INVITED})


def test_ready_leg_of_a_call_that_is_over_is_a_fault_of_ours():
    with pytest.raises(Unlisted):
        step(CALL, State.OVER, Event.READY)


@pytest.mark.parametrize(
    ("events", "acts"),
    [
        ((TalkEvent.OFFER, TalkEvent.UPDATED, TalkEvent.ACK), [TalkAct.UPDATE, TalkAct.WAIT, TalkAct.REST, TalkAct.ACCEPT, TalkAct.CEASE]),
        ((TalkEvent.OFFER, TalkEvent.DENIED), [TalkAct.UPDATE, TalkAct.WAIT, TalkAct.REST, TalkAct.REJECT]),
        ((TalkEvent.OFFER, TalkEvent.LATE), [TalkAct.UPDATE, TalkAct.WAIT, TalkAct.REVERT, TalkAct.REJECT]),
        ((TalkEvent.OFFER, TalkEvent.CANCEL), [TalkAct.UPDATE, TalkAct.WAIT, TalkAct.REST, TalkAct.REVERT, TalkAct.TERMINATE]),
        ((TalkEvent.OFFER, TalkEvent.OVER), [TalkAct.UPDATE, TalkAct.WAIT, TalkAct.REST, TalkAct.TERMINATE]),
        ((TalkEvent.LISTEN, TalkEvent.ACK), [TalkAct.ACCEPT, TalkAct.CEASE]),
        ((TalkEvent.LISTEN, TalkEvent.OVER), [TalkAct.ACCEPT, TalkAct.CEASE]),
        ((TalkEvent.ACK, TalkEvent.UPDATED, TalkEvent.DENIED), []),
    ],
)  # fmt: skip
def test_whole_renegotiations_do_this_in_this_order(events, acts):
    state, done = Talk.SETTLED, []
    for event in events:
        state, now = step(RENEGOTIATION, state, event)
        done += now
    assert state is Talk.SETTLED
    assert done == acts


def test_every_reinvite_gets_one_final_answer():
    final = {TalkAct.ACCEPT, TalkAct.REJECT, TalkAct.TERMINATE}
    for event, (after, acts) in RENEGOTIATION[Talk.UPDATING].items():
        assert len(final & set(acts)) == (0 if after is Talk.UPDATING else 1), event
