"""Decides about child processes: what to start, what to start again and when, how to end everything in order.

It must not start a process, read a clock or send a signal: it takes events and `now_ns` and returns effects. The life of
a child is the table `TRANSITIONS`. Phases order the start (a phase begins when every child of the one before has been
ready) and, backwards, the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from shared.units import NS_PER_S

FIRST_DELAY_NS = NS_PER_S // 5
LONGEST_DELAY_NS = 10 * NS_PER_S
STEADY_NS = 30 * NS_PER_S
"""A child that was ready for this long starts again with the first delay."""


class State(StrEnum):
    """Where a child stands."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Event(StrEnum):
    """What can happen to a child."""

    START = "start"
    READY = "ready"
    EXITED = "exited"
    DUE = "due"
    STOP = "stop"
    KILL = "kill"


class Do(StrEnum):
    """What the shell has to do for a child."""

    SPAWN = "spawn"
    SIGNAL = "signal"
    SAY_READY = "say_ready"
    SAY_DIED = "say_died"


class _Step(StrEnum):
    """What a transition asks of the core itself, which turns it into effects."""

    SPAWN = "spawn"
    ANNOUNCE = "announce"
    BACK_OFF = "back_off"
    SIGNAL = "signal"
    KILL = "kill"
    FORGET = "forget"


S, E = State, Event

TRANSITIONS: Mapping[State, Mapping[Event, tuple[State, tuple[_Step, ...]]]] = {
    S.IDLE: {
        E.START: (S.STARTING, (_Step.SPAWN,)),
        E.STOP: (S.STOPPED, ()),
        E.KILL: (S.STOPPED, ()),
    },
    S.STARTING: {
        E.READY: (S.READY, (_Step.ANNOUNCE,)),
        E.EXITED: (S.WAITING, (_Step.BACK_OFF,)),
        E.STOP: (S.STOPPING, (_Step.SIGNAL,)),
        E.KILL: (S.STOPPING, (_Step.KILL,)),
    },
    S.READY: {
        E.EXITED: (S.WAITING, (_Step.BACK_OFF,)),
        E.STOP: (S.STOPPING, (_Step.SIGNAL,)),
        E.KILL: (S.STOPPING, (_Step.KILL,)),
    },
    S.WAITING: {
        E.DUE: (S.STARTING, (_Step.SPAWN,)),
        E.STOP: (S.STOPPED, (_Step.FORGET,)),
        E.KILL: (S.STOPPED, (_Step.FORGET,)),
    },
    S.STOPPING: {
        E.EXITED: (S.STOPPED, (_Step.FORGET,)),
        E.DUE: (S.STOPPING, (_Step.SIGNAL,)),
        E.KILL: (S.STOPPING, (_Step.KILL,)),
        E.READY: (S.STOPPING, ()),
    },
    S.STOPPED: {
        E.STOP: (S.STOPPED, ()),
        E.KILL: (S.STOPPED, ()),
    },
}


class Grace(NamedTuple):
    """A signal and how long the child may take to obey it."""

    signal: str
    seconds: float


class Effect(NamedTuple):
    """Something the shell does; `detail` is the signal, or why and how long until the next start."""

    do: Do
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Spec:
    """A child as planned."""

    name: str
    phase: int
    ends: tuple[Grace, ...] = (Grace("SIGINT", 5.0),)
    """Tried in this order; SIGKILL follows by itself."""


@dataclass(slots=True)
class _Child:
    spec: Spec
    state: State = State.IDLE
    been_ready: bool = False
    ready_at_ns: int | None = None
    failures: int = 0
    due_ns: int | None = None
    signals_sent: int = 0
    restarts: int = field(default=0)


class Unlisted(ValueError):
    """An event that the table does not list for the state; nothing was changed."""


class Supervisor:
    """All children of one farm. Call `start`, then `handle` for what happens and `tick` when `due_ns` has come."""

    def __init__(self, specs: Sequence[Spec]) -> None:
        self._children = {spec.name: _Child(spec) for spec in specs}
        if len(self._children) != len(specs):
            raise ValueError("two children have the same name")
        self._phases = sorted({spec.phase for spec in specs})
        self._stopping = False

    # --- what can be asked

    def state(self, name: str) -> State:
        return self._children[name].state

    def restarts(self, name: str) -> int:
        return self._children[name].restarts

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def all_ready(self) -> bool:
        return all(child.state is State.READY for child in self._children.values())

    @property
    def all_stopped(self) -> bool:
        return all(child.state is State.STOPPED for child in self._children.values())

    @property
    def due_ns(self) -> int | None:
        """When `tick` wants to be called."""
        return min((c.due_ns for c in self._children.values() if c.due_ns is not None), default=None)

    # --- what happens

    def start(self, now_ns: int) -> list[Effect]:
        """Begins with the first phase."""
        return self._start_phases(now_ns)

    def handle(self, name: str, event: Event, now_ns: int, detail: str = "") -> list[Effect]:
        """READY or EXITED of one child. Raises Unlisted for what cannot happen in its state."""
        effects = self._apply(self._children[name], event, now_ns, detail)
        return effects + (self._stop_phases(now_ns) if self._stopping else self._start_phases(now_ns))

    def tick(self, now_ns: int) -> list[Effect]:
        """Starts again or ends harder what is due."""
        due = [c for c in self._children.values() if c.due_ns is not None and c.due_ns <= now_ns]
        return [effect for child in due for effect in self._apply(child, Event.DUE, now_ns, "")]

    def stop(self, now_ns: int, *, kill: bool = False) -> list[Effect]:
        """Ends the last phase, then the one before, and so on; with `kill`, everything at once."""
        self._stopping = True
        if kill:
            children = list(self._children.values())
            return [effect for c in children for effect in self._apply(c, Event.KILL, now_ns, "")]
        return self._stop_phases(now_ns)

    # --- within

    def _of_phase(self, phase: int) -> Iterable[_Child]:
        return (child for child in self._children.values() if child.spec.phase == phase)

    def _start_phases(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for phase in self._phases:
            for child in self._of_phase(phase):
                if child.state is State.IDLE:
                    effects += self._apply(child, Event.START, now_ns, "")
            if not all(child.been_ready for child in self._of_phase(phase)):
                break
        return effects

    def _stop_phases(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for phase in reversed(self._phases):
            for child in self._of_phase(phase):
                if child.state not in {State.STOPPING, State.STOPPED}:
                    effects += self._apply(child, Event.STOP, now_ns, "")
            if not all(child.state is State.STOPPED for child in self._of_phase(phase)):
                break
        return effects

    def _apply(self, child: _Child, event: Event, now_ns: int, detail: str) -> list[Effect]:
        found = TRANSITIONS[child.state].get(event)
        if found is None:
            raise Unlisted(f"{child.spec.name}: {event} while {child.state}")
        child.state, steps = found
        return [effect for step in steps for effect in self._perform(child, step, now_ns, detail)]

    def _perform(self, child: _Child, step: _Step, now_ns: int, detail: str) -> list[Effect]:
        match step:
            case _Step.SPAWN:
                child.due_ns = None
                return [Effect(Do.SPAWN, child.spec.name)]
            case _Step.ANNOUNCE:
                child.been_ready, child.ready_at_ns = True, now_ns
                return [Effect(Do.SAY_READY, child.spec.name)]
            case _Step.BACK_OFF:
                return [_back_off(child, now_ns, detail)]
            case _Step.SIGNAL:
                return [_next_signal(child, now_ns)]
            case _Step.KILL:
                child.due_ns = None
                return [Effect(Do.SIGNAL, child.spec.name, "SIGKILL")]
            case _Step.FORGET:
                child.due_ns = None
                return []


def _back_off(child: _Child, now_ns: int, detail: str) -> Effect:
    if child.ready_at_ns is not None and now_ns - child.ready_at_ns >= STEADY_NS:
        child.failures = 0
    delay_ns = min(FIRST_DELAY_NS << min(child.failures, 30), LONGEST_DELAY_NS)
    child.failures += 1
    child.restarts += 1
    child.ready_at_ns = None
    child.due_ns = now_ns + delay_ns
    return Effect(Do.SAY_DIED, child.spec.name, f"{detail}; starts again in {delay_ns / NS_PER_S:g} s")


def _next_signal(child: _Child, now_ns: int) -> Effect:
    ends = child.spec.ends
    if child.signals_sent >= len(ends):
        child.due_ns = None
        return Effect(Do.SIGNAL, child.spec.name, "SIGKILL")
    grace = ends[child.signals_sent]
    child.signals_sent += 1
    child.due_ns = now_ns + int(grace.seconds * NS_PER_S)
    return Effect(Do.SIGNAL, child.spec.name, grace.signal)
