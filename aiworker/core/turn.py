"""The states of a dialogue and everything that can happen in them, as one table.

An input that is not listed for a state raises and changes nothing; what may arrive late or twice, because control
messages are delivered at least once, is listed with IGNORE. The actions are carried out by `dialogue.Dialogue`.
"""

from enum import Enum, auto


class State(Enum):
    GREETING = auto()
    """The greeting is being said; nobody has asked anything."""
    LISTENING = auto()
    """The caller has the floor, or nobody speaks."""
    SPECULATING = auto()
    """An engine works on what the caller may have finished saying; nothing of it leaves the worker."""
    THINKING = auto()
    """The caller's turn is over; no sentence of the answer was handed to TTS yet."""
    SPEAKING = auto()
    """Sentences of the answer are at TTS or being played."""
    ENDED = auto()


class Input(Enum):
    FLOOR = auto()
    """The caller took the floor: a newer turn."""
    SPECULATION = auto()
    """What the caller said so far, after a short silence; other words than the last speculation."""
    FINAL = auto()
    """What the caller said, for certain; once per turn. The caller may have spoken while the agent did, because of a key
    press or a long silence: then what is at TTS is said, and the answer follows."""
    CONFIRMED = auto()
    """The same, and it is what was speculated on."""
    UNHEARD = auto()
    """The caller's turn ended without words, and nothing of earlier turns waits for an answer."""
    DIGITS = auto()
    """Key presses that make a message."""
    SAID = auto()
    """The first sentence of the answer went to TTS."""
    EXHAUSTED = auto()
    """No engine is left for this answer, or one failed after the caller heard a part of it."""
    PLAYED = auto()
    """All of the answer was played."""
    IDLE = auto()
    """The caller has said nothing for too long."""
    BYE = auto()


class Action(Enum):
    IGNORE = auto()
    YIELD = auto()
    """Stop making and saying things, keep in the history what was heard."""
    SPECULATE = auto()
    """Start an engine behind the gate, instead of any that runs."""
    ANSWER = auto()
    """Start an engine, instead of any that runs."""
    OPEN = auto()
    """Open the gate."""
    REPROMPT = auto()
    DROP = auto()
    """Forget the speculation."""
    APOLOGISE = auto()
    REST = auto()
    """The answer is over: listen."""
    NUDGE = auto()
    END = auto()


S, In, A = State, Input, Action

TABLE: dict[State, dict[Input, tuple[State, Action]]] = {
    S.GREETING: {
        In.FLOOR: (S.LISTENING, A.YIELD),
        In.SPECULATION: (S.GREETING, A.IGNORE),
        In.FINAL: (S.THINKING, A.ANSWER),
        In.UNHEARD: (S.GREETING, A.IGNORE),
        In.DIGITS: (S.THINKING, A.ANSWER),
        In.SAID: (S.GREETING, A.IGNORE),
        In.PLAYED: (S.LISTENING, A.REST),
        In.IDLE: (S.GREETING, A.IGNORE),
        In.BYE: (S.ENDED, A.END),
    },
    S.LISTENING: {
        In.FLOOR: (S.LISTENING, A.YIELD),
        In.SPECULATION: (S.SPECULATING, A.SPECULATE),
        In.FINAL: (S.THINKING, A.ANSWER),
        In.UNHEARD: (S.SPEAKING, A.REPROMPT),
        In.DIGITS: (S.THINKING, A.ANSWER),
        In.PLAYED: (S.LISTENING, A.IGNORE),
        In.IDLE: (S.SPEAKING, A.NUDGE),
        In.BYE: (S.ENDED, A.END),
    },
    S.SPECULATING: {
        In.FLOOR: (S.LISTENING, A.YIELD),
        In.SPECULATION: (S.SPECULATING, A.SPECULATE),
        In.FINAL: (S.THINKING, A.ANSWER),
        In.CONFIRMED: (S.THINKING, A.OPEN),
        In.UNHEARD: (S.SPEAKING, A.REPROMPT),
        In.DIGITS: (S.THINKING, A.ANSWER),
        In.EXHAUSTED: (S.LISTENING, A.DROP),
        In.PLAYED: (S.SPECULATING, A.IGNORE),
        In.IDLE: (S.SPECULATING, A.IGNORE),
        In.BYE: (S.ENDED, A.END),
    },
    S.THINKING: {
        In.FLOOR: (S.LISTENING, A.YIELD),
        In.SPECULATION: (S.THINKING, A.IGNORE),
        In.FINAL: (S.THINKING, A.ANSWER),
        In.UNHEARD: (S.THINKING, A.IGNORE),
        In.DIGITS: (S.THINKING, A.ANSWER),
        In.SAID: (S.SPEAKING, A.IGNORE),
        In.EXHAUSTED: (S.SPEAKING, A.APOLOGISE),
        In.PLAYED: (S.LISTENING, A.REST),
        In.IDLE: (S.THINKING, A.IGNORE),
        In.BYE: (S.ENDED, A.END),
    },
    S.SPEAKING: {
        In.FLOOR: (S.LISTENING, A.YIELD),
        In.SPECULATION: (S.SPEAKING, A.IGNORE),
        In.FINAL: (S.THINKING, A.ANSWER),
        In.UNHEARD: (S.SPEAKING, A.IGNORE),
        In.DIGITS: (S.THINKING, A.ANSWER),
        In.SAID: (S.SPEAKING, A.IGNORE),
        In.EXHAUSTED: (S.SPEAKING, A.APOLOGISE),
        In.PLAYED: (S.LISTENING, A.REST),
        In.IDLE: (S.SPEAKING, A.IGNORE),
        In.BYE: (S.ENDED, A.END),
    },
    S.ENDED: dict.fromkeys(Input, (S.ENDED, A.IGNORE)),
}


class UnlistedInput(Exception):
    """A programming error: the table does not foresee this."""


def step(state: State, happened: Input) -> tuple[State, Action]:
    """The next state and what to do. Raises UnlistedInput."""
    try:
        return TABLE[state][happened]
    except KeyError:
        raise UnlistedInput(f"{happened.name} in {state.name}") from None
