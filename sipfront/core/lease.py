"""What a call holds of the farm: its reservation and its leg on a media worker, as one table (I1, I2).

A reservation is released by whoever ends it last: by us while no leg is open, by the media worker on MediaClose, by
us again when the worker died or does not answer in time.
"""

from enum import StrEnum

from sipfront.core.fsm import Table


class State(StrEnum):
    RESERVING = "reserving"
    WITHDRAWN = "withdrawn"  # given up before the registry answered
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    GONE = "gone"


class Event(StrEnum):
    RESERVED = "reserved"
    REFUSED = "refused"  # by the registry
    OPENED = "opened"
    BUSY = "busy"  # a stranger has bound the port
    DENIED = "denied"  # the worker refuses the leg
    CLOSED = "closed"
    UNKNOWN = "unknown"  # the worker has no such leg
    ENDED = "ended"  # the worker ended the leg by itself
    LATE = "late"  # no answer in time
    SILENT = "silent"  # no answer to a close in time, and it may be asked again
    LOST = "lost"  # the worker's lease is gone
    GIVE_UP = "give up"  # the call needs it no more


class Act(StrEnum):
    OPEN = "open"
    AGAIN = "again"  # give back, reserve again
    CLOSE = "close"
    REPEAT = "repeat"  # the close, under the same message id
    RELEASE = "release"
    RETURN = "return"  # release, and the port was never offered to the worker
    READY = "ready"  # to the call
    FAILED = "failed"
    LOST = "lost"
    OVER = "over"
    WAIT = "wait"  # arm the deadline
    REST = "rest"  # disarm it


_S, _E, _A = State, Event, Act

LEASE: Table[State, Event, Act] = {
    _S.RESERVING: {
        _E.RESERVED: (_S.OPENING, (_A.OPEN, _A.WAIT)),
        _E.REFUSED: (_S.GONE, (_A.REST, _A.FAILED)),
        _E.LATE: (_S.WITHDRAWN, (_A.FAILED,)),
        _E.GIVE_UP: (_S.WITHDRAWN, (_A.REST,)),
    },
    _S.WITHDRAWN: {
        _E.RESERVED: (_S.GONE, (_A.RETURN,)),
        _E.REFUSED: (_S.GONE, ()),
        _E.GIVE_UP: (_S.WITHDRAWN, ()),
    },
    _S.OPENING: {
        _E.OPENED: (_S.OPEN, (_A.REST, _A.READY)),
        _E.BUSY: (_S.RESERVING, (_A.AGAIN, _A.WAIT)),
        _E.DENIED: (_S.GONE, (_A.REST, _A.RELEASE, _A.FAILED)),
        _E.ENDED: (_S.GONE, (_A.REST, _A.RELEASE, _A.FAILED)),
        _E.LATE: (_S.CLOSING, (_A.CLOSE, _A.WAIT, _A.FAILED)),
        _E.LOST: (_S.GONE, (_A.REST, _A.RELEASE, _A.FAILED)),
        _E.GIVE_UP: (_S.CLOSING, (_A.CLOSE, _A.WAIT)),
    },
    _S.OPEN: {
        _E.ENDED: (_S.CLOSING, (_A.CLOSE, _A.WAIT, _A.OVER)),
        _E.LOST: (_S.GONE, (_A.RELEASE, _A.LOST)),
        _E.GIVE_UP: (_S.CLOSING, (_A.CLOSE, _A.WAIT)),
    },
    _S.CLOSING: {
        _E.OPENED: (_S.CLOSING, ()),
        _E.BUSY: (_S.CLOSING, ()),
        _E.DENIED: (_S.CLOSING, ()),
        _E.ENDED: (_S.CLOSING, ()),
        _E.GIVE_UP: (_S.CLOSING, ()),
        _E.CLOSED: (_S.GONE, (_A.REST,)),
        _E.UNKNOWN: (_S.GONE, (_A.REST, _A.RELEASE)),
        _E.SILENT: (_S.CLOSING, (_A.REPEAT, _A.WAIT)),
        _E.LATE: (_S.GONE, (_A.RELEASE,)),
        _E.LOST: (_S.GONE, (_A.REST, _A.RELEASE)),
    },
    _S.GONE: {
        _E.ENDED: (_S.GONE, ()),
        _E.LOST: (_S.GONE, ()),
        _E.GIVE_UP: (_S.GONE, ()),
    },
}

CLOSE_TRIES = 2
"""A close that Redis lost with its memory would leave a leg that nobody else ends: a held one never times out."""

RESERVE_TRIES = 3
"""A port bound by a stranger is quarantined by its worker and another one is reserved, so often."""
