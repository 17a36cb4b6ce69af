"""The floor of a call: every state with every event, and the stories of decision 0001."""

import itertools

import pytest

from mediaworker.core.calls.floor import TABLE, Effect, Event, Floor, FloorError, State

pytestmark = pytest.mark.unit


def reach(*events: Event) -> Floor:
    floor = Floor()
    for event in events:
        floor.handle(event)
    return floor


PATHS: dict[State, tuple[Event, ...]] = {
    State.LISTENING: (),
    State.USER: (Event.ONSET,),
    State.THINKING: (Event.ONSET, Event.END),
    State.SPEAKING: (Event.AUDIO,),
    State.PAUSED: (Event.AUDIO, Event.ONSET_OVER),
    State.TALKED_OVER: (Event.AUDIO, Event.ONSET_IGNORED),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_state_and_event_is_listed_or_refused_without_a_change(state: State, event: Event) -> None:
    floor = reach(*PATHS[state])
    assert floor.state is state
    before = (floor.state, floor.turn, floor.utterance_turn)
    if event in TABLE[state]:
        step = floor.handle(event)
        assert (step.state, step.effects) == TABLE[state][event]
        assert floor.state is step.state
    else:
        with pytest.raises(FloorError, match=event.name):
            floor.handle(event)
        assert (floor.state, floor.turn, floor.utterance_turn) == before


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_reached_and_left(state: State) -> None:
    assert any(to is state for row in TABLE.values() for to, _ in row.values())
    assert any(to is not state for to, _ in TABLE[state].values())


def test_a_caller_who_speaks_into_silence_takes_the_floor_at_once() -> None:
    floor = Floor()
    assert floor.handle(Event.ONSET).effects == (Effect.START, Effect.TAKE)
    assert floor.turn == floor.utterance_turn == 1


def test_a_caller_who_goes_on_before_the_reply_gets_the_next_turn() -> None:
    floor = reach(Event.ONSET, Event.END, Event.ONSET)
    assert (floor.turn, floor.state) == (2, State.USER)


def test_speech_over_the_agent_is_a_candidate_until_it_lasted() -> None:
    floor = reach(Event.AUDIO)
    assert floor.handle(Event.ONSET_OVER).effects == (Effect.HOLD, Effect.START)
    assert (floor.turn, floor.utterance_turn) == (0, 1)
    assert floor.handle(Event.LASTED).effects == (Effect.CANCEL, Effect.TAKE)
    assert (floor.turn, floor.state) == (1, State.USER)


@pytest.mark.parametrize("over", [Event.PAUSE, Event.END])
def test_a_cough_is_forgotten_and_its_turn_number_skipped(over: Event) -> None:
    floor = reach(Event.AUDIO, Event.ONSET_OVER)
    assert floor.handle(over).effects == (Effect.ABORT, Effect.GO_ON)
    assert (floor.turn, floor.state) == (0, State.SPEAKING)
    floor.handle(Event.REPLY_DONE)
    floor.handle(Event.ONSET)
    assert floor.turn == 2


def test_an_agent_that_may_not_be_interrupted_is_not() -> None:
    floor = reach(Event.AUDIO, Event.ONSET_IGNORED, Event.LASTED, Event.PAUSE)
    assert floor.state is State.TALKED_OVER
    assert floor.handle(Event.REPLY_DONE).effects == (Effect.START, Effect.TAKE)
    assert floor.turn == 1


def test_audio_is_accepted_only_for_the_turn_that_has_the_floor() -> None:
    floor = Floor()
    assert floor.accepts(0)
    assert not floor.accepts(1)
    floor.handle(Event.ONSET)
    assert not floor.accepts(0)
    assert not floor.accepts(1), "the caller is still speaking"
    floor.handle(Event.END)
    assert floor.accepts(1)


def test_a_candidate_does_not_shut_out_the_audio_of_the_paused_turn() -> None:
    floor = reach(Event.AUDIO, Event.ONSET_OVER)
    assert floor.accepts(0)
    assert not floor.accepts(1)


def test_an_utterance_is_open_only_while_it_has_a_number() -> None:
    assert [state for state, path in PATHS.items() if reach(*path).in_utterance] == [State.USER, State.PAUSED]
