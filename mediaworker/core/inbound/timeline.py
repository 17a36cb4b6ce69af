"""The border between the time line of a leg and the legs that are decoded packet by packet (decision 0005).

The jitter ring decides for every leg alike which frame is heard in a tick and how; `CodedAudio` is what it tells the legs
whose octets it does not keep. Frames are 20 ms, numbered by the ring; positions are in units of the leg's RTP clock, frame n
of a row begins at position `n * rows.clock[row]`. Types only.
"""

from enum import IntEnum
from typing import Protocol

from mediaworker.core.g711 import Octets
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index, Ints


class Act(IntEnum):
    """What becomes of a row in one tick."""

    PLAY = 0
    """Frame `frame` is heard. It may be some frames after the last one that was: those in between are left out."""
    LOSS = 1
    """Frame `frame` is lost, or there is only a part of it: what is missing is made up, and the frame is over."""
    HOLD = 2
    """Frame `frame` has not come yet: 20 ms are made up, and it is still to come."""
    MERGE = 3
    """Frames `frame` - 1 and `frame` are both there, and are heard as one (`splice`), to give 20 ms of delay back."""
    QUIET = 4
    """The sender has stopped, or nobody may hear it: the row is silent or has comfort noise, and the decoder rests."""


class CodedAudio(Protocol):
    """The legs that are decoded packet by packet; `coded.CodedLegs` in this farm."""

    def store(self, row: int, position: int, ext: int, arrived_ns: int, payload: Octets) -> int:
        """Keeps a copy of a packet's payload; for how many units of the RTP clock it lasts, 0 when it is unusable.

        Never called for the same packet twice, nor for one whose frames are all over.
        """
        ...

    def play(self, at: Index, frame: Ints, act: Ints) -> None:
        """[N] coded rows of a phase, one `Act` each: fills their `rows.caller_pcm`, and `rows.caller_wide` of wide ones."""
        ...

    def restart(self, row: int) -> None:
        """The row begins a new time line (first packet, new SSRC, jump of the time stamps): what is kept is void."""
        ...


class NoCodedAudio:
    """Stands in where every leg is G.711."""

    def store(self, row: int, position: int, ext: int, arrived_ns: int, payload: Octets) -> int:
        del row, position, ext, arrived_ns, payload
        return 0

    def play(self, at: Index, frame: Ints, act: Ints) -> None:
        del at, frame, act

    def restart(self, row: int) -> None:
        del row


OwnTime = dict[int, Samples]
"""What an utterance gets instead of the frame heard, by row: nothing while playout waits, more when it catches up."""
