"""The four transaction machines of RFC 3261 section 17 over UDP, as tables (RFC 6026 for the Accepted states).

Only data and records: `transactions.Transactions` drives them. Retransmissions of 2xx belong to the call, not to the
transaction (section 13.3.1.4).
"""

from dataclasses import dataclass
from enum import StrEnum

from sipfront.core.effects import Peer
from sipfront.core.fsm import Table
from sipfront.core.message import Request


class State(StrEnum):
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    GONE = "gone"


class Event(StrEnum):
    REQUEST = "request"  # the request came again
    ACK = "ack"
    SAY_1XX = "say 1xx"  # our user answers
    SAY_2XX = "say 2xx"
    SAY_FAILURE = "say failure"
    GOT_1XX = "got 1xx"  # the peer answers
    GOT_2XX = "got 2xx"
    GOT_FAILURE = "got failure"
    TIMER_A = "A"
    TIMER_B = "B"
    TIMER_C = "C"
    TIMER_D = "D"
    TIMER_E = "E"
    TIMER_F = "F"
    TIMER_G = "G"
    TIMER_H = "H"
    TIMER_I = "I"
    TIMER_J = "J"
    TIMER_K = "K"
    TIMER_L = "L"
    TIMER_M = "M"


class Act(StrEnum):
    SEND = "send"  # the message just made
    REPEAT = "repeat"  # the last message, counted as a retransmission
    LONGER = "longer"  # re-arm the timer that fired, with twice its interval (G and E: at most T2)
    LONGEST = "longest"  # re-arm the timer that fired with T2
    QUIET = "quiet"  # stop all timers
    DELIVER = "deliver"  # the response goes to our user
    FAIL = "fail"  # our user is told that no answer came
    ACK = "ack"  # acknowledge a failure response
    FORGET = "forget"
    START_A = "start A"
    START_B = "start B"
    START_C = "start C"
    START_D = "start D"
    START_E = "start E"
    START_F = "start F"
    START_G = "start G"
    START_H = "start H"
    START_I = "start I"
    START_J = "start J"
    START_K = "start K"
    START_L = "start L"
    START_M = "start M"


_S, _E, _A = State, Event, Act

INVITE_SERVER: Table[State, Event, Act] = {
    _S.PROCEEDING: {  # section 17.2.1, figure 7
        _E.REQUEST: (_S.PROCEEDING, (_A.REPEAT,)),
        _E.ACK: (_S.PROCEEDING, ()),
        _E.SAY_1XX: (_S.PROCEEDING, (_A.SEND,)),
        _E.SAY_2XX: (_S.ACCEPTED, (_A.SEND, _A.START_L)),
        _E.SAY_FAILURE: (_S.COMPLETED, (_A.SEND, _A.START_G, _A.START_H)),
    },
    _S.COMPLETED: {
        _E.REQUEST: (_S.COMPLETED, (_A.REPEAT,)),
        _E.ACK: (_S.CONFIRMED, (_A.QUIET, _A.START_I)),
        _E.TIMER_G: (_S.COMPLETED, (_A.REPEAT, _A.LONGER)),
        _E.TIMER_H: (_S.GONE, (_A.FORGET,)),
    },
    _S.CONFIRMED: {
        _E.REQUEST: (_S.CONFIRMED, ()),
        _E.ACK: (_S.CONFIRMED, ()),
        _E.TIMER_I: (_S.GONE, (_A.FORGET,)),
    },
    _S.ACCEPTED: {  # RFC 6026 section 7.1: repeated INVITEs are absorbed, the call repeats the 2xx
        _E.REQUEST: (_S.ACCEPTED, ()),
        _E.ACK: (_S.ACCEPTED, (_A.DELIVER,)),
        _E.TIMER_L: (_S.GONE, (_A.FORGET,)),
    },
}

OTHER_SERVER: Table[State, Event, Act] = {
    _S.TRYING: {  # section 17.2.2, figure 8
        _E.REQUEST: (_S.TRYING, ()),
        _E.SAY_1XX: (_S.PROCEEDING, (_A.SEND,)),
        _E.SAY_2XX: (_S.COMPLETED, (_A.SEND, _A.START_J)),
        _E.SAY_FAILURE: (_S.COMPLETED, (_A.SEND, _A.START_J)),
    },
    _S.PROCEEDING: {
        _E.REQUEST: (_S.PROCEEDING, (_A.REPEAT,)),
        _E.SAY_1XX: (_S.PROCEEDING, (_A.SEND,)),
        _E.SAY_2XX: (_S.COMPLETED, (_A.SEND, _A.START_J)),
        _E.SAY_FAILURE: (_S.COMPLETED, (_A.SEND, _A.START_J)),
    },
    _S.COMPLETED: {
        _E.REQUEST: (_S.COMPLETED, (_A.REPEAT,)),
        _E.TIMER_J: (_S.GONE, (_A.FORGET,)),
    },
}

INVITE_CLIENT: Table[State, Event, Act] = {
    _S.CALLING: {  # section 17.1.1, figure 5
        _E.TIMER_A: (_S.CALLING, (_A.REPEAT, _A.LONGER)),
        _E.TIMER_B: (_S.GONE, (_A.FAIL, _A.FORGET)),
        _E.GOT_1XX: (_S.PROCEEDING, (_A.QUIET, _A.START_C, _A.DELIVER)),
        _E.GOT_2XX: (_S.ACCEPTED, (_A.QUIET, _A.START_M, _A.DELIVER)),
        _E.GOT_FAILURE: (_S.COMPLETED, (_A.QUIET, _A.START_D, _A.ACK, _A.DELIVER)),
    },
    _S.PROCEEDING: {
        _E.TIMER_C: (_S.GONE, (_A.FAIL, _A.FORGET)),
        _E.GOT_1XX: (_S.PROCEEDING, (_A.DELIVER,)),
        _E.GOT_2XX: (_S.ACCEPTED, (_A.QUIET, _A.START_M, _A.DELIVER)),
        _E.GOT_FAILURE: (_S.COMPLETED, (_A.QUIET, _A.START_D, _A.ACK, _A.DELIVER)),
    },
    _S.COMPLETED: {
        _E.TIMER_D: (_S.GONE, (_A.FORGET,)),
        _E.GOT_1XX: (_S.COMPLETED, ()),
        _E.GOT_2XX: (_S.COMPLETED, ()),
        _E.GOT_FAILURE: (_S.COMPLETED, (_A.ACK,)),
    },
    _S.ACCEPTED: {  # RFC 6026 section 7.2: every 2xx goes up, for its ACK is the call's business
        _E.TIMER_M: (_S.GONE, (_A.FORGET,)),
        _E.GOT_1XX: (_S.ACCEPTED, ()),
        _E.GOT_2XX: (_S.ACCEPTED, (_A.DELIVER,)),
        _E.GOT_FAILURE: (_S.ACCEPTED, ()),
    },
}

OTHER_CLIENT: Table[State, Event, Act] = {
    _S.TRYING: {  # section 17.1.2, figure 6
        _E.TIMER_E: (_S.TRYING, (_A.REPEAT, _A.LONGER)),
        _E.TIMER_F: (_S.GONE, (_A.FAIL, _A.FORGET)),
        _E.GOT_1XX: (_S.PROCEEDING, (_A.DELIVER,)),
        _E.GOT_2XX: (_S.COMPLETED, (_A.QUIET, _A.START_K, _A.DELIVER)),
        _E.GOT_FAILURE: (_S.COMPLETED, (_A.QUIET, _A.START_K, _A.DELIVER)),
    },
    _S.PROCEEDING: {
        _E.TIMER_E: (_S.PROCEEDING, (_A.REPEAT, _A.LONGEST)),
        _E.TIMER_F: (_S.GONE, (_A.FAIL, _A.FORGET)),
        _E.GOT_1XX: (_S.PROCEEDING, (_A.DELIVER,)),
        _E.GOT_2XX: (_S.COMPLETED, (_A.QUIET, _A.START_K, _A.DELIVER)),
        _E.GOT_FAILURE: (_S.COMPLETED, (_A.QUIET, _A.START_K, _A.DELIVER)),
    },
    _S.COMPLETED: {
        _E.TIMER_K: (_S.GONE, (_A.FORGET,)),
        _E.GOT_1XX: (_S.COMPLETED, ()),
        _E.GOT_2XX: (_S.COMPLETED, ()),
        _E.GOT_FAILURE: (_S.COMPLETED, ()),
    },
}


@dataclass(slots=True, kw_only=True)
class ServerTransaction:
    """A request that came in and what was said to it."""

    key: tuple[str, ...]
    request: Request
    source: Peer
    state: State
    interval_ns: int = 0
    last: bytes = b""

    @property
    def table(self) -> Table[State, Event, Act]:
        return INVITE_SERVER if self.request.method == "INVITE" else OTHER_SERVER

    @property
    def merge_key(self) -> tuple[str, ...]:
        """Two requests with this in common and different branches are one request that came on two paths (8.2.2.2)."""
        r = self.request
        return (r.sip_call_id, r.from_tag, str(r.cseq), r.method)


@dataclass(slots=True, kw_only=True)
class ClientTransaction:
    """A request of ours; `owner` says whose answer it is."""

    key: tuple[str, str]
    owner: str
    to: Peer
    state: State
    last: bytes
    interval_ns: int = 0

    @property
    def method(self) -> str:
        return self.key[1]

    @property
    def table(self) -> Table[State, Event, Act]:
        return INVITE_CLIENT if self.method == "INVITE" else OTHER_CLIENT
