"""The life of an outgoing call as a table (RFC 3261 sections 9, 13, 15, 17.1). Data only; `uac` acts on it."""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where the call stands."""

    IDLE = "idle"
    CALLING = "calling"
    RINGING = "ringing"
    GIVING_UP = "giving_up"
    CANCELLING = "cancelling"
    TALKING = "talking"
    ENDING = "ending"
    ENDED = "ended"


class Event(StrEnum):
    """What can happen to it."""

    CALL = "call"
    PROVISIONAL = "provisional"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    HANG_UP = "hang_up"
    BYE = "bye"
    BYE_ANSWERED = "bye_answered"
    AGAIN = "again"
    TIMEOUT = "timeout"


class Step(StrEnum):
    """What a transition does."""

    INVITE = "invite"
    ACK = "ack"
    ACK_REFUSAL = "ack_refusal"
    CANCEL = "cancel"
    SEND_BYE = "send_bye"
    REPEAT = "repeat"
    TELL_RINGING = "tell_ringing"
    TELL_ANSWERED = "tell_answered"
    TELL_REFUSED = "tell_refused"
    TELL_TIMEOUT = "tell_timeout"
    TELL_HUNG_UP = "tell_hung_up"
    TELL_ENDED = "tell_ended"


S, E, D = State, Event, Step

TRANSITIONS: Mapping[State, Mapping[Event, tuple[State, tuple[Step, ...]]]] = {
    S.IDLE: {
        E.CALL: (S.CALLING, (D.INVITE,)),
        E.HANG_UP: (S.ENDED, (D.TELL_ENDED,)),
    },
    S.CALLING: {
        E.PROVISIONAL: (S.RINGING, (D.TELL_RINGING,)),
        E.ACCEPTED: (S.TALKING, (D.ACK, D.TELL_ANSWERED)),
        E.REFUSED: (S.ENDED, (D.ACK_REFUSAL, D.TELL_REFUSED)),
        E.HANG_UP: (S.GIVING_UP, ()),  # no CANCEL before a provisional response (section 9.1)
        E.AGAIN: (S.CALLING, (D.REPEAT,)),
        E.TIMEOUT: (S.ENDED, (D.TELL_TIMEOUT,)),
    },
    S.RINGING: {
        E.PROVISIONAL: (S.RINGING, (D.TELL_RINGING,)),
        E.ACCEPTED: (S.TALKING, (D.ACK, D.TELL_ANSWERED)),
        E.REFUSED: (S.ENDED, (D.ACK_REFUSAL, D.TELL_REFUSED)),
        E.HANG_UP: (S.CANCELLING, (D.CANCEL,)),
        E.TIMEOUT: (S.CANCELLING, (D.CANCEL,)),
    },
    S.GIVING_UP: {
        E.PROVISIONAL: (S.CANCELLING, (D.CANCEL,)),
        E.ACCEPTED: (S.ENDING, (D.ACK, D.SEND_BYE)),
        E.REFUSED: (S.ENDED, (D.ACK_REFUSAL, D.TELL_ENDED)),
        E.HANG_UP: (S.GIVING_UP, ()),
        E.AGAIN: (S.GIVING_UP, (D.REPEAT,)),
        E.TIMEOUT: (S.ENDED, (D.TELL_ENDED,)),
    },
    S.CANCELLING: {
        E.PROVISIONAL: (S.CANCELLING, ()),
        E.ACCEPTED: (S.ENDING, (D.ACK, D.SEND_BYE)),  # the 2xx crossed our CANCEL
        E.REFUSED: (S.ENDED, (D.ACK_REFUSAL, D.TELL_ENDED)),
        E.HANG_UP: (S.CANCELLING, ()),
        E.AGAIN: (S.CANCELLING, (D.REPEAT,)),
        E.TIMEOUT: (S.ENDED, (D.TELL_ENDED,)),
    },
    S.TALKING: {
        E.PROVISIONAL: (S.TALKING, ()),
        E.ACCEPTED: (S.TALKING, (D.ACK,)),
        E.HANG_UP: (S.ENDING, (D.SEND_BYE,)),
        E.BYE: (S.ENDED, (D.TELL_HUNG_UP,)),
    },
    S.ENDING: {
        E.PROVISIONAL: (S.ENDING, ()),
        E.ACCEPTED: (S.ENDING, (D.ACK,)),
        E.HANG_UP: (S.ENDING, ()),
        E.BYE: (S.ENDED, (D.TELL_ENDED,)),
        E.BYE_ANSWERED: (S.ENDED, (D.TELL_ENDED,)),
        E.AGAIN: (S.ENDING, (D.REPEAT,)),
        E.TIMEOUT: (S.ENDED, (D.TELL_ENDED,)),
    },
    S.ENDED: {
        E.PROVISIONAL: (S.ENDED, ()),
        E.ACCEPTED: (S.ENDED, (D.ACK,)),
        E.REFUSED: (S.ENDED, (D.ACK_REFUSAL,)),
        E.HANG_UP: (S.ENDED, ()),
        E.BYE: (S.ENDED, ()),
        E.BYE_ANSWERED: (S.ENDED, ()),
    },
}
