"""A call's signalling from INVITE to the end, and its renegotiations, as two tables; and what a call is.

The lease of media (`lease.LEASE`) is a third, independent table: `calls.Calls` couples them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from shared.contracts import AppSpec, EndReason, MediaStart, MediaUpdate
from sipfront.core import lease as leases
from sipfront.core.dialog import Dialog
from sipfront.core.effects import Peer, Place
from sipfront.core.fsm import Table
from sipfront.core.identity import CallIdentity
from sipfront.core.message import Request
from sipfront.core.offer_answer import Agreement
from sipfront.core.terms import Terms
from sipfront.core.transaction import ServerTransaction


class State(StrEnum):
    INVITED = "invited"  # no final answer yet
    ANSWERED = "answered"  # 200 sent, no ACK yet
    CONFIRMED = "confirmed"
    DUE = "due"  # over for us, but no BYE may be sent before the ACK (section 15)
    HANGING_UP = "hanging up"  # our BYE is unanswered
    OVER = "over"


class Event(StrEnum):
    READY = "ready"  # the leg is open
    FAILED = "failed"  # it cannot be had
    SLOW = "slow"  # neither came soon
    CANCEL = "cancel"
    ACK = "ack"
    NO_ACK = "no ack"
    BYE = "bye"
    END = "end"  # media, application, operator or clock end the call
    BYE_DONE = "bye done"


class Act(StrEnum):
    ANSWER = "answer"
    RING = "ring"
    REFUSE = "refuse"
    TERMINATE = "terminate"  # 487 to the INVITE
    START = "start"  # media may flow
    CONFIRM_BYE = "confirm bye"  # 200 to the BYE
    SAY_BYE = "say bye"
    CEASE = "cease"  # stop repeating the 200
    GIVE_UP = "give up"  # the media lease
    OVER = "over"


_S, _E, _A = State, Event, Act

CALL: Table[State, Event, Act] = {
    _S.INVITED: {
        _E.READY: (_S.ANSWERED, (_A.ANSWER,)),
        _E.SLOW: (_S.INVITED, (_A.RING,)),
        _E.FAILED: (_S.OVER, (_A.REFUSE, _A.OVER)),
        _E.CANCEL: (_S.OVER, (_A.TERMINATE, _A.GIVE_UP, _A.OVER)),
        _E.BYE: (_S.OVER, (_A.CONFIRM_BYE, _A.TERMINATE, _A.GIVE_UP, _A.OVER)),
        _E.END: (_S.OVER, (_A.REFUSE, _A.GIVE_UP, _A.OVER)),
        _E.ACK: (_S.INVITED, ()),
    },
    _S.ANSWERED: {
        _E.ACK: (_S.CONFIRMED, (_A.CEASE, _A.START)),
        _E.NO_ACK: (_S.HANGING_UP, (_A.CEASE, _A.SAY_BYE, _A.GIVE_UP)),
        _E.BYE: (_S.OVER, (_A.CEASE, _A.CONFIRM_BYE, _A.GIVE_UP, _A.OVER)),
        _E.END: (_S.DUE, (_A.GIVE_UP,)),
        _E.CANCEL: (_S.ANSWERED, ()),  # it crossed our 200 and has no effect (section 9.2)
    },
    _S.CONFIRMED: {
        _E.ACK: (_S.CONFIRMED, ()),
        _E.NO_ACK: (_S.HANGING_UP, (_A.CEASE, _A.SAY_BYE, _A.GIVE_UP)),  # of a re-INVITE (section 14.2)
        _E.BYE: (_S.OVER, (_A.CEASE, _A.CONFIRM_BYE, _A.GIVE_UP, _A.OVER)),
        _E.END: (_S.HANGING_UP, (_A.CEASE, _A.SAY_BYE, _A.GIVE_UP)),
        _E.CANCEL: (_S.CONFIRMED, ()),
    },
    _S.DUE: {
        _E.ACK: (_S.HANGING_UP, (_A.CEASE, _A.SAY_BYE)),
        _E.NO_ACK: (_S.HANGING_UP, (_A.CEASE, _A.SAY_BYE)),
        _E.BYE: (_S.OVER, (_A.CEASE, _A.CONFIRM_BYE, _A.OVER)),
        _E.END: (_S.DUE, ()),
        _E.CANCEL: (_S.DUE, ()),
    },
    _S.HANGING_UP: {
        _E.ACK: (_S.HANGING_UP, ()),
        _E.BYE: (_S.HANGING_UP, (_A.CONFIRM_BYE,)),  # both sides hung up at once
        _E.END: (_S.HANGING_UP, ()),
        _E.CANCEL: (_S.HANGING_UP, ()),
        _E.BYE_DONE: (_S.OVER, (_A.OVER,)),
    },
    _S.OVER: {_E.END: (_S.OVER, ()), _E.CANCEL: (_S.OVER, ())},
}


class Talk(StrEnum):
    """Renegotiation (section 14): where a re-INVITE of the peer stands."""

    SETTLED = "settled"
    UPDATING = "updating"  # the media worker was told
    SAID = "said"  # 200 sent, no ACK yet


class TalkEvent(StrEnum):
    OFFER = "offer"
    LISTEN = "listen"  # a re-INVITE without an offer: ours goes into the 200
    UPDATED = "updated"
    DENIED = "denied"
    LATE = "late"
    CANCEL = "cancel"
    ACK = "ack"
    OVER = "over"  # the call ends meanwhile


class TalkAct(StrEnum):
    UPDATE = "update"
    ACCEPT = "accept"  # 200 with our description
    REJECT = "reject"  # 500: the session stays as it was
    TERMINATE = "terminate"  # 487
    CEASE = "cease"
    REVERT = "revert"  # tell the media worker the old state again
    WAIT = "wait"
    REST = "rest"


_T, _TE, _TA = Talk, TalkEvent, TalkAct

RENEGOTIATION: Table[Talk, TalkEvent, TalkAct] = {
    _T.SETTLED: {
        _TE.OFFER: (_T.UPDATING, (_TA.UPDATE, _TA.WAIT)),
        _TE.LISTEN: (_T.SAID, (_TA.ACCEPT,)),
        _TE.UPDATED: (_T.SETTLED, ()),
        _TE.DENIED: (_T.SETTLED, ()),
        _TE.ACK: (_T.SETTLED, ()),
        _TE.OVER: (_T.SETTLED, ()),
    },
    _T.UPDATING: {
        _TE.UPDATED: (_T.SAID, (_TA.REST, _TA.ACCEPT)),
        _TE.DENIED: (_T.SETTLED, (_TA.REST, _TA.REJECT)),
        _TE.LATE: (_T.SETTLED, (_TA.REVERT, _TA.REJECT)),
        _TE.CANCEL: (_T.SETTLED, (_TA.REST, _TA.REVERT, _TA.TERMINATE)),
        _TE.ACK: (_T.UPDATING, ()),
        _TE.OVER: (_T.SETTLED, (_TA.REST, _TA.TERMINATE)),
    },
    _T.SAID: {
        _TE.ACK: (_T.SETTLED, (_TA.CEASE,)),
        _TE.UPDATED: (_T.SAID, ()),
        _TE.DENIED: (_T.SAID, ()),
        _TE.OVER: (_T.SETTLED, (_TA.CEASE,)),
    },
}


@dataclass(slots=True)
class Unacknowledged:
    """A 2xx to an INVITE, repeated until its ACK comes (section 13.3.1.4)."""

    data: bytes
    to: Peer
    cseq: int
    interval_ns: int


@dataclass(slots=True, kw_only=True)
class Call:
    """Everything a front knows of a call."""

    call_id: str
    identity: CallIdentity
    app: AppSpec
    needs: tuple[str, ...]
    record: bool
    dialog: Dialog
    invite: ServerTransaction
    local_host: str
    session_id: int
    agreement: Agreement
    terms: Terms
    started_ns: int
    state: State = State.INVITED
    lease: leases.State = leases.State.RESERVING
    talk: Talk = Talk.SETTLED
    tries: int = 1
    place: Place | None = None
    reason: EndReason | None = None
    """Why it ended, None while it goes on: the first reason is the one that counts."""
    refusal: tuple[int, str, str] = (503, "", "")
    """Code, phrase and detail for a call that cannot be had."""
    awaited: str = ""
    """msg_id of the MediaOpen or MediaClose whose answer counts."""
    update_id: str = ""
    version: int = 1
    """Of our session description."""
    unacknowledged: Unacknowledged | None = None
    reinvite: ServerTransaction | None = None
    proposed: Agreement | None = None
    """What a re-INVITE would change `agreement` to."""
    offer: Agreement | None = None
    """Our offer in the 200 to a re-INVITE without one; its answer comes with the ACK."""
    close_tries: int = 0
    vital: dict[str, MediaStart | MediaUpdate] = field(default_factory=dict)
    """Unanswered messages without which there is no call: MediaStart, and the update that an ACK brought."""
    vital_wait_ns: int = 0
    """The present wait for their answers; 0 before the first."""
    bye: ServerTransaction | None = None
    ack: Request | None = None
    answered_ns: int | None = None

    @property
    def end_reason(self) -> EndReason:
        return self.reason or "error"
