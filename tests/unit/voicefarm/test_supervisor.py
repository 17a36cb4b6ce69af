"""The table of a child's life, the back-off, and the order of starting and ending."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.units import NS_PER_S
from voicefarm.core.supervisor import (
    FIRST_DELAY_NS,
    LONGEST_DELAY_NS,
    STEADY_NS,
    TRANSITIONS,
    Do,
    Effect,
    Event,
    Grace,
    Spec,
    State,
    Supervisor,
    Unlisted,
)

pytestmark = pytest.mark.unit

REDIS = Spec("redis", 0, (Grace("SIGTERM", 3.0),))
FRONT = Spec("front-0", 1, (Grace("SIGTERM", 10.0), Grace("SIGINT", 5.0)))
MEDIA = Spec("media-0", 1)


def spawned(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if effect.do is Do.SPAWN]


def signals(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(effect.name, effect.detail) for effect in effects if effect.do is Do.SIGNAL]


def ready_farm() -> Supervisor:
    farm = Supervisor([REDIS, FRONT, MEDIA])
    farm.start(0)
    for name in ("redis", "front-0", "media-0"):
        farm.handle(name, Event.READY, 0)
    return farm


def test_start_waits_for_the_phase_before() -> None:
    farm = Supervisor([FRONT, REDIS, MEDIA])
    assert spawned(farm.start(0)) == ["redis"]
    effects = farm.handle("redis", Event.READY, 1)
    assert spawned(effects) == ["front-0", "media-0"]
    assert Effect(Do.SAY_READY, "redis") in effects
    assert not farm.all_ready


def test_all_ready_when_every_child_is() -> None:
    farm = ready_farm()
    assert farm.all_ready
    assert farm.due_ns is None


def test_a_phase_that_was_ready_once_does_not_hold_back_the_next_one() -> None:
    farm = Supervisor([REDIS, FRONT])
    farm.start(0)
    farm.handle("redis", Event.READY, 0)
    farm.handle("redis", Event.EXITED, 1, "killed")
    assert spawned(farm.tick(1 + FIRST_DELAY_NS)) == ["redis"]
    assert farm.state("front-0") is State.STARTING


def test_what_dies_is_started_again_later_and_later() -> None:
    farm = Supervisor([REDIS])
    farm.start(0)
    now, delays = 0, []
    for _ in range(9):
        effects = farm.handle("redis", Event.EXITED, now, "exit 1")
        assert farm.due_ns is not None
        delays.append(farm.due_ns - now)
        assert effects[0].do is Do.SAY_DIED
        assert "exit 1" in effects[0].detail
        assert farm.tick(farm.due_ns - 1) == []
        now = farm.due_ns
        assert spawned(farm.tick(now)) == ["redis"]
    assert delays[:4] == [FIRST_DELAY_NS, 2 * FIRST_DELAY_NS, 4 * FIRST_DELAY_NS, 8 * FIRST_DELAY_NS]
    assert delays[-1] == LONGEST_DELAY_NS
    assert farm.restarts("redis") == 9


@pytest.mark.parametrize(
    ("up_ns", "delay_ns"), [(STEADY_NS, FIRST_DELAY_NS), (STEADY_NS - 1, 2 * FIRST_DELAY_NS)]
)
def test_a_steady_child_starts_again_with_the_first_delay(up_ns: int, delay_ns: int) -> None:
    farm = Supervisor([REDIS])
    farm.start(0)
    farm.handle("redis", Event.EXITED, 0)
    farm.tick(FIRST_DELAY_NS)
    farm.handle("redis", Event.READY, NS_PER_S)
    farm.handle("redis", Event.EXITED, NS_PER_S + up_ns)
    assert farm.due_ns == NS_PER_S + up_ns + delay_ns


def test_stop_goes_backwards_through_the_phases() -> None:
    farm = ready_farm()
    assert signals(farm.stop(0)) == [("front-0", "SIGTERM"), ("media-0", "SIGINT")]
    assert signals(farm.handle("front-0", Event.EXITED, 1)) == []
    assert signals(farm.handle("media-0", Event.EXITED, 2)) == [("redis", "SIGTERM")]
    assert not farm.all_stopped
    farm.handle("redis", Event.EXITED, 3)
    assert farm.all_stopped
    assert farm.due_ns is None


def test_stop_asks_harder_each_time_the_grace_runs_out() -> None:
    farm = ready_farm()
    farm.stop(0)
    assert signals(farm.tick(5 * NS_PER_S)) == [("media-0", "SIGKILL")]
    assert signals(farm.tick(10 * NS_PER_S)) == [("front-0", "SIGINT")]
    assert signals(farm.tick(15 * NS_PER_S)) == [("front-0", "SIGKILL")]
    assert farm.due_ns is None, "after SIGKILL there is nothing left to try"


def test_nothing_is_started_again_once_stopping() -> None:
    farm = ready_farm()
    farm.handle("media-0", Event.EXITED, 0)
    farm.stop(1)
    assert farm.state("media-0") is State.STOPPED
    effects = farm.handle("front-0", Event.EXITED, 2)
    assert spawned(effects) == []
    assert signals(effects) == [("redis", "SIGTERM")]


def test_a_child_that_gets_ready_while_it_is_stopped_is_not_announced() -> None:
    farm = Supervisor([MEDIA])
    farm.start(0)
    farm.stop(1)
    assert farm.handle("media-0", Event.READY, 2) == []
    assert farm.state("media-0") is State.STOPPING


def test_kill_ends_everything_at_once() -> None:
    farm = ready_farm()
    farm.handle("media-0", Event.EXITED, 0)
    farm.stop(0)
    assert signals(farm.stop(1, kill=True)) == [("redis", "SIGKILL"), ("front-0", "SIGKILL")]
    farm.handle("redis", Event.EXITED, 2)
    farm.handle("front-0", Event.EXITED, 2)
    assert farm.all_stopped
    assert farm.stop(3, kill=True) == []


def test_stop_before_the_start_ends_without_a_signal() -> None:
    farm = Supervisor([REDIS, MEDIA])
    assert farm.stop(0) == []
    assert farm.all_stopped
    assert farm.stopping


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Supervisor([MEDIA, MEDIA])


@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in itertools.product(State, Event) if pair[1] not in TRANSITIONS[pair[0]]],
)
def test_an_unlisted_event_raises_and_changes_nothing(state: State, event: Event) -> None:
    farm = Supervisor([MEDIA])
    child = farm._children["media-0"]
    child.state = state
    with pytest.raises(Unlisted):
        farm._apply(child, event, 0, "")
    assert child.state is state
    assert child.due_ns is None


@given(st.lists(st.tuples(st.sampled_from(["redis", "front-0", "media-0"]), st.sampled_from(list(Event)))))
def test_every_history_can_be_ended(history: list[tuple[str, Event]]) -> None:
    farm = Supervisor([REDIS, FRONT, MEDIA])
    now = 0
    farm.start(now)
    for name, event in history:
        now += NS_PER_S
        if event in {Event.READY, Event.EXITED} and event in TRANSITIONS[farm.state(name)]:
            farm.handle(name, event, now, "exit 1")
        elif event is Event.DUE:
            farm.tick(now)
        elif event is Event.STOP:
            farm.stop(now)
    alive = {
        n
        for n in ("redis", "front-0", "media-0")
        if farm.state(n) not in {State.IDLE, State.WAITING, State.STOPPED}
    }
    effects = farm.stop(now, kill=True)
    assert {name for name, signal in signals(effects) if signal == "SIGKILL"} == alive
    for name in alive:
        farm.handle(name, Event.EXITED, now)
    assert farm.all_stopped
    assert farm.due_ns is None
