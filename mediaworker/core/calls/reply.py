"""The agent's reply of one turn on its way to the caller: sentences put in order, joined by offset, bounded.

TTS sends a sentence in pieces, perhaps a sentence twice (after a worker died) and perhaps two at once; the engine wants
one stream of samples. It must not know floors or fences: it is told only of audio that may be played, and a new turn
gets a new `Reply`.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from mediaworker.core.calls.rates import AtRate, as_narrow
from mediaworker.core.legs import Samples
from shared.contracts import ReplyFrame
from shared.units import NARROWBAND_HZ, NS_PER_MS

MAX_WAITING_S = 60
"""Ahead of the engine's own ring. The LLM worker keeps two sentences ahead, so this is a backstop (I6)."""

MAX_SEGMENTS = 256
"""Sentences of one reply."""

MAX_GAP_S = 1
STALL_NS = 1_500 * NS_PER_MS
"""A sentence that does not come while a later one waits is passed over after this."""


class Piece(NamedTuple):
    """Audio that may be queued in the engine now, at the leg's rate."""

    segment: int
    pcm: Samples
    last: bool


class _Segment:
    __slots__ = ("complete", "pieces", "received", "source_hz", "stream")

    def __init__(self, source_hz: int, rate_hz: int) -> None:
        self.source_hz = source_hz
        """At which TTS sends this sentence; `received` counts so."""
        self.stream = AtRate(rate_hz)
        self.pieces: deque[Samples] = deque()
        self.received = 0
        self.complete = False


class Reply:
    """Audio of one turn. `add` takes what TTS sends, `next_piece` and `took` hand it to the engine in order.

    TTS speaks at the leg's rate; where it does not (yet), because the codec has changed, the sentence is converted.
    """

    __slots__ = (
        "_arrived_ns", "_current", "_lengths", "_played", "_segments", "_total", "_waiting", "gaps", "hangup", "rate_hz", "turn",
    )  # fmt: skip

    def __init__(self, turn: int, rate_hz: int = NARROWBAND_HZ) -> None:
        self.turn = turn
        self.rate_hz = rate_hz
        self.hangup = False
        self.gaps = 0
        self._segments: dict[int, _Segment] = {}
        self._lengths: dict[int, int] = {}
        self._current = 0
        self._played = -1
        self._total = -1
        self._waiting = 0
        self._arrived_ns = 0

    @property
    def waiting_samples(self) -> int:
        return self._waiting

    def add(self, frame: ReplyFrame, now_ns: int, source_hz: int = NARROWBAND_HZ) -> bool:
        """Joins a frame to its sentence; False when it was refused: out of bounds, at another rate than the sentence began
        at, or its sentence is over.
        """
        if not self._current <= frame.segment < MAX_SEGMENTS or frame.offset < 0:
            return False
        segment = self._segments.get(frame.segment) or _Segment(source_hz, self.rate_hz)
        pcm = np.frombuffer(frame.pcm, dtype="<i2", count=len(frame.pcm) // 2).astype(np.int16, copy=False)
        if segment.complete or segment.source_hz != source_hz or self._is_full(len(pcm), source_hz):
            return False
        self._segments[frame.segment] = segment
        self._arrived_ns = now_ns
        self._join(segment, frame.offset, pcm)
        segment.complete = frame.last
        if frame.last:
            self._lengths[frame.segment] = as_narrow(segment.received, source_hz)
        return True

    def length(self, segment: int) -> int:
        """Samples of a sentence in all, at 8 kHz; 0 while its end is not known."""
        return self._lengths.get(segment, 0)

    def retune(self, rate_hz: int) -> None:
        """The leg's rate has changed: what waits is converted, what comes will be."""
        if rate_hz == self.rate_hz:
            return
        for segment in self._segments.values():
            before = AtRate(rate_hz)
            segment.pieces = deque(before.feed(piece, self.rate_hz) for piece in segment.pieces)
            segment.stream = AtRate(rate_hz)
        self.rate_hz = rate_hz
        self._waiting = sum(len(piece) for segment in self._segments.values() for piece in segment.pieces)

    def end(self, segments: int, *, hangup: bool) -> None:
        """The reply has this many sentences."""
        self._total = segments
        self.hangup = hangup

    def played(self, segment: int) -> None:
        """The engine played a sentence to its end."""
        self._played = max(self._played, segment)

    @property
    def done(self) -> bool:
        """Whether everything the reply will ever have was played."""
        return self._total >= 0 and self._played + 1 >= self._total

    def next_piece(self) -> Piece | None:
        """The next audio in order, or None where it has not come yet."""
        segment = self._segments.get(self._current)
        if segment is None:
            return None
        if segment.pieces:
            last = segment.complete and len(segment.pieces) == 1
            return Piece(self._current, segment.pieces[0], last)
        return Piece(self._current, np.zeros(0, np.int16), last=True) if segment.complete else None

    def took(self, samples: int) -> None:
        """The engine took so many samples of `next_piece`; after the last of a sentence the next one begins."""
        segment = self._segments[self._current]
        self._waiting -= samples
        if segment.pieces:
            rest = segment.pieces.popleft()[samples:]
            if len(rest):
                segment.pieces.appendleft(rest)
        if segment.complete and not segment.pieces:
            self._begin(self._current + 1)

    def pass_over(self, now_ns: int) -> bool:
        """Gives up a sentence that stalls while a later one waits. Asked while the engine plays nothing."""
        later = [
            number
            for number, segment in self._segments.items()
            if number > self._current and segment.received
        ]
        if not later or now_ns - self._arrived_ns < STALL_NS:
            return False
        self._played = max(self._played, min(later) - 1)
        self._begin(min(later))
        self.gaps += 1
        return True

    def _join(self, segment: _Segment, offset: int, pcm: Samples) -> None:
        if offset > segment.received:
            missing = np.zeros(min(offset - segment.received, MAX_GAP_S * segment.source_hz), np.int16)
            self._push(segment, missing)
            segment.received = offset
            self.gaps += 1
        fresh = pcm[segment.received - offset :]
        self._push(segment, fresh)
        segment.received += len(fresh)

    def _push(self, segment: _Segment, pcm: Samples) -> None:
        if len(pcm):
            pcm = segment.stream.feed(pcm, segment.source_hz)
            segment.pieces.append(pcm)
            self._waiting += len(pcm)

    def _is_full(self, samples: int, source_hz: int) -> bool:
        return self._waiting + samples * self.rate_hz // source_hz > MAX_WAITING_S * self.rate_hz

    def _begin(self, number: int) -> None:
        for passed in [n for n in self._segments if n < number]:
            self._waiting -= sum(len(piece) for piece in self._segments.pop(passed).pieces)
        self._current = number
