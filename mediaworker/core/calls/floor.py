"""Who has the floor of a call: the caller, the agent, or nobody; decision 0001, section Turns.

The states and transitions are one table. The machine knows nothing of audio, queues or messages: it is told events and
names effects, which `call.Call` carries out in the order given. It must not read a clock; durations are the engine's
(`legs.Speech`).
"""

from enum import Enum, auto
from typing import NamedTuple

from shared.errors import FarmError


class State(Enum):
    LISTENING = auto()
    """Nobody speaks and no reply is due."""
    USER = auto()
    """The caller speaks and has the floor."""
    THINKING = auto()
    """The caller's turn ended; the reply has not begun."""
    SPEAKING = auto()
    """The agent's reply is being played, or a gap in it."""
    PAUSED = auto()
    """The caller began to speak over the agent: playout stands still until it is known whether they mean it."""
    TALKED_OVER = auto()
    """The caller speaks over an agent that may not be interrupted."""


class Event(Enum):
    ONSET = auto()
    """An utterance begins while no agent audio is on its way."""
    ONSET_OVER = auto()
    """An utterance begins over agent audio."""
    ONSET_IGNORED = auto()
    """The same, where barge-in is turned off."""
    LASTED = auto()
    """The utterance lasted long enough to mean it."""
    PAUSE = auto()
    RESUME = auto()
    END = auto()
    AUDIO = auto()
    """Audio of the floor's turn arrived."""
    REPLY_DONE = auto()
    """The whole reply was played."""


class Effect(Enum):
    START = auto()
    """Begin an utterance under the next turn number."""
    MARK_PAUSE = auto()
    MARK_RESUME = auto()
    MARK_END = auto()
    ABORT = auto()
    """Forget the utterance; its turn number is skipped."""
    HOLD = auto()
    """Pause playout."""
    GO_ON = auto()
    """Resume playout from the paused sample."""
    CANCEL = auto()
    """Throw away what is queued; learn what was heard."""
    TAKE = auto()
    """The utterance's turn becomes the floor's; the dialogue is told."""


class FloorError(FarmError):
    """An event that its state does not list; nothing changed."""


_S, _E, _F = State, Event, Effect

TABLE: dict[State, dict[Event, tuple[State, tuple[Effect, ...]]]] = {
    _S.LISTENING: {
        _E.ONSET: (_S.USER, (_F.START, _F.TAKE)),
        _E.LASTED: (_S.LISTENING, ()),
        _E.PAUSE: (_S.LISTENING, ()),
        _E.END: (_S.LISTENING, ()),
        _E.AUDIO: (_S.SPEAKING, ()),
        _E.REPLY_DONE: (_S.LISTENING, ()),
    },
    _S.USER: {
        _E.LASTED: (_S.USER, ()),
        _E.PAUSE: (_S.USER, (_F.MARK_PAUSE,)),
        _E.RESUME: (_S.USER, (_F.MARK_RESUME,)),
        _E.END: (_S.THINKING, (_F.MARK_END,)),
    },
    _S.THINKING: {
        _E.ONSET: (_S.USER, (_F.START, _F.TAKE)),
        _E.LASTED: (_S.THINKING, ()),
        _E.PAUSE: (_S.THINKING, ()),
        _E.END: (_S.THINKING, ()),
        _E.AUDIO: (_S.SPEAKING, ()),
        _E.REPLY_DONE: (_S.LISTENING, ()),
    },
    _S.SPEAKING: {
        # A reply that stalled between two sentences: there is nothing to pause, so the caller need not insist.
        _E.ONSET: (_S.USER, (_F.START, _F.CANCEL, _F.TAKE)),
        _E.ONSET_OVER: (_S.PAUSED, (_F.HOLD, _F.START)),
        _E.ONSET_IGNORED: (_S.TALKED_OVER, ()),
        # What follows an utterance that was aborted at its first pause.
        _E.LASTED: (_S.SPEAKING, ()),
        _E.PAUSE: (_S.SPEAKING, ()),
        _E.END: (_S.SPEAKING, ()),
        _E.AUDIO: (_S.SPEAKING, ()),
        _E.REPLY_DONE: (_S.LISTENING, ()),
    },
    _S.PAUSED: {
        _E.LASTED: (_S.USER, (_F.CANCEL, _F.TAKE)),
        # A cough is over at its first pause: waiting for the endpoint would hold the agent for longer than need be.
        _E.PAUSE: (_S.SPEAKING, (_F.ABORT, _F.GO_ON)),
        _E.END: (_S.SPEAKING, (_F.ABORT, _F.GO_ON)),
        _E.AUDIO: (_S.PAUSED, ()),
        _E.REPLY_DONE: (_S.USER, (_F.CANCEL, _F.TAKE)),
    },
    _S.TALKED_OVER: {
        _E.ONSET_IGNORED: (_S.TALKED_OVER, ()),
        _E.LASTED: (_S.TALKED_OVER, ()),
        _E.PAUSE: (_S.TALKED_OVER, ()),
        _E.END: (_S.SPEAKING, ()),
        _E.AUDIO: (_S.TALKED_OVER, ()),
        _E.REPLY_DONE: (_S.USER, (_F.START, _F.TAKE)),
    },
}


_HEARING = (State.USER, State.PAUSED)
"""A tuple: it is asked for every frame of every caller, and a member of an enumeration is slow to hash."""


class Step(NamedTuple):
    """What an event did: the effects to carry out, in order, and the state they lead to."""

    effects: tuple[Effect, ...]
    state: State


class Floor:
    """The floor of one call. `turn` is the turn whose audio may be played; `utterance_turn` the caller's newest."""

    __slots__ = ("state", "turn", "utterance_turn")

    def __init__(self) -> None:
        self.state = State.LISTENING
        self.turn = 0
        self.utterance_turn = 0

    def handle(self, event: Event) -> Step:
        """Moves to the next state and numbers turns. Raises FloorError for an event the state does not list."""
        found = TABLE[self.state].get(event)
        if found is None:
            raise FloorError(f"{event.name} while {self.state.name}")
        self.state, effects = found
        if Effect.START in effects:
            self.utterance_turn += 1
        if Effect.TAKE in effects:
            self.turn = self.utterance_turn
        return Step(effects, self.state)

    def accepts(self, turn: int) -> bool:
        """Whether agent audio of `turn` may be played now or soon (I4)."""
        return turn == self.turn and self.state is not State.USER

    @property
    def in_utterance(self) -> bool:
        """Whether what the caller says now belongs to a numbered utterance."""
        return self.state in _HEARING
