"""What a leg hears: its own echo, its room without itself, what the agent says, and what is played to it.

Sums are clipped once per source that is added. A wideband leg's sound is composed at 16 kHz, and brought down for those
who need it at 8 kHz. Must not queue audio or write headers; those are `playout`, `playback` and `transmit`.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mediaworker.core.dtmf.sender import KeySender
from mediaworker.core.legs import PlayoutEvent, Samples
from mediaworker.core.outbound.playout import Playout
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.playing.lines import Lines
from mediaworker.core.resample import HalfBand
from mediaworker.core.rooms.mix import clip
from mediaworker.core.rooms.room_mix import RoomMix
from mediaworker.core.rows import Index, Mask, Rows
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES


def _no_rows() -> Index:
    return np.zeros(0, np.int64)


def _no_mask() -> Mask:
    return np.zeros(0, np.bool_)


@dataclass(slots=True)
class _Lists:
    """Rows of a phase by what they hear; made anew when a leg changes."""

    echo: Index = field(default_factory=_no_rows)
    all_echo: bool = False
    rooms: bool = False
    sends: Mask = field(default_factory=_no_mask)
    """[span] rows that are sent something at all."""
    always: Mask = field(default_factory=_no_mask)
    """[span] rows with echo or room: they have sound in every tick."""
    wide: Index = field(default_factory=_no_rows)
    is_wide: Mask = field(default_factory=_no_mask)
    """[span]"""
    record: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    record_wide: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


class Output:
    """Composes `rows.sent_pcm` and `rows.sent_wide` of one phase per call and has it encoded."""

    def __init__(
        self, rows: Rows, playout: Playout, transmitter: Transmitter, keys: KeySender | None = None
    ) -> None:
        self._rows = rows
        self._playout = playout
        self._transmitter = transmitter
        self._keys = KeySender(rows, transmitter) if keys is None else keys
        """Legs that digits are sent to hear nothing else."""
        self.lines = Lines(rows.count, rows.capacity)
        self._room_mix = RoomMix(rows, self.lines, rows.capacity)
        self._half_band = HalfBand(rows.count)
        self._lists = [_Lists() for _ in range(rows.phases)]
        self._frames: Samples = np.zeros((rows.block, FRAME_SAMPLES), np.int16)

    def changed(self, phase: int) -> None:
        rows = self._rows
        span = rows.span(phase)
        started = rows.started[span]
        in_room = started & (rows.room[span] >= 0)
        sends = started & rows.sends[span]
        echo = sends & rows.echo[span]
        lists = _Lists(echo=np.flatnonzero(echo) + span.start, sends=sends, rooms=bool(in_room.any()))
        lists.always = echo | (in_room & sends)
        lists.all_echo = bool(echo.size and echo.all() and not lists.rooms)
        lists.is_wide = rows.wide[span].copy()
        lists.wide = np.flatnonzero(started & lists.is_wide) + span.start
        record = started & rows.record[span]
        lists.record = (np.flatnonzero(record & ~lists.is_wide) + span.start).astype(np.int32)
        lists.record_wide = (np.flatnonzero(record & lists.is_wide) + span.start).astype(np.int32)
        self._lists[phase] = lists
        self._room_mix.changed(phase, np.flatnonzero(in_room) + span.start)

    def set_rate(self, row: int) -> None:
        """`rows.wide` of the row may have changed: what waits for it goes on at its rate."""
        wide = bool(self._rows.wide[row])
        if wide != (self.lines.frame_of_leg(row) == WIDE_FRAME_SAMPLES):
            self._half_band.forget(row)
            self._room_mix.retune(row)
        self._playout.set_wide(row, wide=wide)
        self.lines.set_wide(row, wide=wide)

    def forget(self, row: int) -> None:
        """The row's leg is gone."""
        self._room_mix.forget(row)
        self.lines.forget_leg(row)
        self._half_band.forget(row)

    def forget_room(self, number: int) -> None:
        """Nobody is in the room any more."""
        self._room_mix.forget_room(number)

    def record_rows(self, phase: int) -> npt.NDArray[np.int32]:
        """Narrow ones; the same object until a leg changes."""
        return self._lists[phase].record

    def record_wide(self, phase: int) -> npt.NDArray[np.int32]:
        return self._lists[phase].record_wide

    # --- per tick

    def compose(self, phase: int, span: slice, now_ns: int) -> list[PlayoutEvent]:
        """Sound of this tick; the playout events that go with it."""
        lists = self._lists[phase]
        ready = self._playout.ready(span, lists.sends)
        if self._keys:
            ready = self._keys.quiet(span, ready)
        self._echo(span, lists)
        if lists.rooms:
            self._room_mix.mix(phase)
        sound = lists.always
        if np.count_nonzero(ready):
            events = self._reply(span, ready, lists, now_ns)
            sound = sound | ready
        else:
            events = self._playout.take_events(now_ns)
        if self.lines:
            sound = self._background(span, lists, sound, ready)
        if self._keys:
            sound = self._keys.overlay(span, sound)
        if lists.wide.size:
            self._finish_wide(lists, span, sound)
        self._transmitter.encode(span, sound)
        return events

    def _echo(self, span: slice, lists: _Lists) -> None:
        rows = self._rows
        if lists.all_echo:
            rows.sent_pcm[span] = rows.caller_pcm[span]
        elif lists.echo.size:
            rows.sent_pcm[lists.echo] = rows.caller_pcm[lists.echo]
        if lists.wide.size:
            wide = lists.wide[rows.echo[lists.wide]]
            rows.sent_wide[wide] = rows.caller_wide[wide]

    def _reply(self, span: slice, ready: Mask, lists: _Lists, now_ns: int) -> list[PlayoutEvent]:
        rows = self._rows
        if lists.wide.size:
            wide = np.flatnonzero(ready & lists.is_wide) + span.start
            if wide.size:
                frames = np.empty((len(wide), WIDE_FRAME_SAMPLES), np.int16)
                self._playout.play(wide, frames, now_ns)
                _add(rows.sent_wide, wide, frames, lists.always[wide - span.start])
            ready = ready & ~lists.is_wide
        playing = np.flatnonzero(ready) + span.start
        frames = self._frames[: len(playing)]
        self._playout.play(playing, frames, now_ns)
        _add(rows.sent_pcm, playing, frames, lists.always[playing - span.start])
        events = self._playout.take_events(now_ns)
        for event in events:
            if event.started:
                self._transmitter.mark(event.row)
        return events

    def _background(self, span: slice, lists: _Lists, sound: Mask, reply: Mask) -> Mask:
        """Adds what is played to legs; which rows have sound now."""
        sounding = self.lines.sounding(span) & lists.sends
        if self._keys:
            sounding = self._keys.quiet(span, sounding)
        if not np.count_nonzero(sounding):
            return sound
        rows = self._rows
        for kind, size, sent in (
            (~lists.is_wide, FRAME_SAMPLES, rows.sent_pcm),
            (lists.is_wide, WIDE_FRAME_SAMPLES, rows.sent_wide),
        ):
            places = np.flatnonzero(sounding & kind)
            if places.size:
                frames = self.lines.sums(places + span.start, reply[places], size)
                _add(sent, places + span.start, frames, sound[places])
        return sound | sounding

    def _finish_wide(self, lists: _Lists, span: slice, sound: Mask) -> None:
        """Wide legs' sound at 8 kHz too, and silence where they have none."""
        rows = self._rows
        has = sound[lists.wide - span.start]
        rows.sent_wide[lists.wide[~has]] = 0
        loud = lists.wide[has]
        if loud.size:
            rows.sent_pcm[loud] = self._half_band.down(loud, rows.sent_wide[loud])


def _add(
    sent: Samples, rows: Index, frames: npt.NDArray[np.int16] | npt.NDArray[np.int32], over: Mask
) -> None:
    """Puts frames into rows, on top of what is there where `over` says that there is something."""
    alone = ~over
    sent[rows[alone]] = clip(frames[alone])
    if np.count_nonzero(over):
        mixed = rows[over]
        sent[mixed] = clip(sent[mixed].astype(np.int32) + frames[over])
