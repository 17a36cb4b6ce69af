"""What a leg hears: its own echo, its room without itself, and what is played to it, summed and clipped.

Must not queue audio or write headers; those are `playout` and `transmit`.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import PlayoutEvent, Samples
from mediaworker.core.mix import clip, mix_minus
from mediaworker.core.playout import Playout
from mediaworker.core.rows import Index, Mask, Rows
from mediaworker.core.transmit import Transmitter
from shared.units import FRAME_SAMPLES


def _no_rows() -> Index:
    return np.zeros(0, np.int64)


@dataclass(slots=True)
class _Lists:
    """Rows of a phase by what they hear; made anew when a leg changes."""

    echo: Index = field(default_factory=_no_rows)
    all_echo: bool = False
    rooms: Index = field(default_factory=_no_rows)
    """Rows in rooms, sorted by room."""
    starts: Index = field(default_factory=_no_rows)
    room: Index = field(default_factory=_no_rows)
    always: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    """[span] rows with echo or room: they have sound in every tick."""
    record: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


class Output:
    """Composes `rows.sent_pcm` of one phase per call and has it encoded."""

    def __init__(self, rows: Rows, playout: Playout, transmitter: Transmitter) -> None:
        self._rows = rows
        self._playout = playout
        self._transmitter = transmitter
        self._lists = [_Lists() for _ in range(rows.phases)]
        self._frames: Samples = np.zeros((rows.block, FRAME_SAMPLES), np.int16)

    def changed(self, phase: int) -> None:
        rows = self._rows
        span = rows.span(phase)
        started = rows.started[span]
        echo = started & rows.echo[span]
        in_room = started & (rows.room[span] >= 0)
        lists = _Lists(echo=np.flatnonzero(echo) + span.start, always=echo | in_room)
        lists.all_echo = bool(echo.size and echo.all() and not in_room.any())
        members = np.flatnonzero(in_room) + span.start
        lists.rooms = members[np.argsort(rows.room[members], kind="stable")]
        _, lists.starts, lists.room = np.unique(
            rows.room[lists.rooms], return_index=True, return_inverse=True
        )
        lists.record = (np.flatnonzero(started & rows.record[span]) + span.start).astype(np.int32)
        self._lists[phase] = lists

    def record_rows(self, phase: int) -> npt.NDArray[np.int32]:
        return self._lists[phase].record

    def compose(self, phase: int, span: slice, now_ns: int) -> list[PlayoutEvent]:
        """Sound of this tick; the playout events that go with it."""
        rows, lists = self._rows, self._lists[phase]
        ready = self._playout.ready(span, rows.started[span] & rows.sends[span])
        if lists.all_echo:
            rows.sent_pcm[span] = rows.caller_pcm[span]
        elif lists.echo.size:
            rows.sent_pcm[lists.echo] = rows.caller_pcm[lists.echo]
        if lists.rooms.size:
            heard = mix_minus(rows.caller_pcm[lists.rooms], lists.starts, lists.room)
            rows.sent_pcm[lists.rooms] = clip(heard)
        events = (
            self._play(span, ready, lists, now_ns)
            if np.count_nonzero(ready)
            else self._playout.take_events(now_ns)
        )
        self._transmitter.encode(span, lists.always | ready)
        return events

    def _play(self, span: slice, ready: Mask, lists: _Lists, now_ns: int) -> list[PlayoutEvent]:
        rows = self._rows
        playing = np.flatnonzero(ready) + span.start
        frames = self._frames[: len(playing)]
        events = self._playout.play(playing, frames, now_ns)
        over = lists.always[playing - span.start]
        rows.sent_pcm[playing[~over]] = frames[~over]
        if np.count_nonzero(over):
            mixed = playing[over]
            rows.sent_pcm[mixed] = clip(rows.sent_pcm[mixed].astype(np.int32) + frames[over])
        for event in events:
            if event.started:
                self._transmitter.mark(event.row)
        return events
