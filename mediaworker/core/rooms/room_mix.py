"""Rooms: everyone hears everyone else and what is played to the room, at 8 or 16 kHz as their leg is.

A room whose members are all narrow is mixed at 8 kHz only. Where one member is wide the room is mixed at 16 kHz too, the
others' voices brought up for it; narrow members go on hearing the 8 kHz mix. What no room uses (mute, gains, whispers,
announcements, big rooms) is skipped whole. Voices are weighted by ramps, never in steps, and listeners' sums are limited
(`gain.Limiter`), never clipped. Must not know calls or messages.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.playing.lines import Lines
from mediaworker.core.resample import HalfBand
from mediaworker.core.rooms.gain import TALKERS, Limiter, Talkers, ramps
from mediaworker.core.rooms.mix import mix_minus
from mediaworker.core.rows import Floats, Index, Mask, Rows
from shared.units import WIDE_FRAME_SAMPLES

Sums = npt.NDArray[np.int32]

NOBODY = -2
"""A whisper to a leg that is gone: nobody hears it, least of all who gets the row next."""


def _none() -> Index:
    return np.zeros(0, np.int64)


def _nobody() -> Mask:
    return np.zeros(0, np.bool_)


@dataclass(slots=True)
class _Voices:
    """Members [M] of some rooms, sorted by room, and what is special about them."""

    rows: Index = field(default_factory=_none)
    starts: Index = field(default_factory=_none)
    room: Index = field(default_factory=_none)
    """[M] rooms numbered from 0."""
    numbers: Index = field(default_factory=_none)
    """[R] the engine's numbers of the rooms."""
    hears: Index = field(default_factory=_none)
    """Members, by place, that this mix is for."""
    deaf: Index = field(default_factory=_none)
    """Members, by place, that do not hear the others, or not yet all of them again."""
    whispers: Index = field(default_factory=_none)
    """Members, by place, that only one hears..."""
    confidants: Index = field(default_factory=_none)
    """...and for those of them whose confidant is here, who that is."""
    confiding: Index = field(default_factory=_none)


@dataclass(slots=True)
class _Lists:
    """Of a phase."""

    narrow: _Voices = field(default_factory=_Voices)
    """All members of all rooms."""
    wide: _Voices = field(default_factory=_Voices)
    """All members of rooms with a wide one."""
    of_narrow: Index = field(default_factory=_none)
    """Their places in `narrow`."""
    are_wide: Mask = field(default_factory=_nobody)
    """[members of `wide`]"""
    wanted: Floats = field(default_factory=lambda: np.zeros(0))
    """[members] gain of each voice, 0 where muted."""
    big: Mask = field(default_factory=_nobody)
    plain: bool = True
    """Every voice counts as it is."""


class RoomMix:
    """Mixes the rooms of one phase per call. State by row: a leg's is forgotten with it."""

    def __init__(self, rows: Rows, lines: Lines, rooms: int) -> None:
        self._rows = rows
        self._lines = lines
        self._limiter = Limiter(rows.count)
        self._talkers = Talkers(rows.count)
        self._weight: Floats = np.ones(rows.count)
        self._ear: Floats = np.ones(rows.count)
        """How much of the others a member heard at the end of the last frame: 0 where it is deaf."""
        self._up = HalfBand(rows.count)
        self._down = HalfBand(rooms)
        self._lists = [_Lists() for _ in range(rows.phases)]

    def forget(self, row: int) -> None:
        """The row's leg is gone."""
        self._limiter.forget(row)
        self._talkers.forget(row)
        self._up.forget(row)
        self._weight[row] = self._ear[row] = 1
        confiding = self._rows.whisper_to == row
        self._rows.whisper_to[confiding] = NOBODY

    def retune(self, row: int) -> None:
        """The row's leg has another rate: what is known of its sound at the old one is over."""
        self._up.forget(row)

    def forget_room(self, number: int) -> None:
        self._lines.forget_room(number)
        self._down.forget(number)

    def changed(self, phase: int, members: Index) -> None:
        """`members` are the rows of the phase that are in rooms now."""
        rows = self._rows
        ordered = members[np.argsort(rows.room[members], kind="stable")]
        lists = _Lists(narrow=self._voices(ordered))
        room = lists.narrow.room
        is_wide = rows.wide[ordered]
        mixed = np.zeros(len(lists.narrow.numbers), np.bool_)
        mixed[room[is_wide]] = True
        lists.of_narrow = np.flatnonzero(mixed[room]) if len(room) else _none()
        lists.wide = self._voices(ordered[lists.of_narrow])
        lists.are_wide = rows.wide[lists.wide.rows]
        sends = rows.sends[ordered]
        lists.narrow.hears = np.flatnonzero(sends & ~is_wide)
        lists.wide.hears = np.flatnonzero(lists.are_wide & rows.sends[lists.wide.rows])
        lists.wanted = np.where(rows.muted[ordered], 0.0, rows.voice[ordered])
        sizes = np.bincount(room, minlength=1) if len(room) else np.zeros(1, np.int64)
        lists.big = (sizes > TALKERS)[room]
        ones = not np.count_nonzero(lists.wanted != 1) and not np.count_nonzero(self._weight[ordered] != 1)
        lists.plain = ones and not np.count_nonzero(lists.big)
        self._lists[phase] = lists

    def _voices(self, ordered: Index) -> _Voices:
        rows = self._rows
        numbers, starts, room = np.unique(rows.room[ordered], return_index=True, return_inverse=True)
        voices = _Voices(rows=ordered, starts=starts, room=room, numbers=numbers)
        voices.deaf = np.flatnonzero(rows.deaf[ordered] | (self._ear[ordered] != 1))
        to = rows.whisper_to[ordered]
        voices.whispers = np.flatnonzero(to != -1)
        if voices.whispers.size:
            place = {row: at for at, row in enumerate(ordered.tolist())}
            pairs = [(at, place.get(int(to[at]), -1)) for at in voices.whispers.tolist()]
            pairs = [(at, there) for at, there in pairs if there >= 0 and room[at] == room[there]]
            voices.confiding = np.array([at for at, _ in pairs], np.int64)
            voices.confidants = np.array([there for _, there in pairs], np.int64)
        return voices

    # --- per tick

    def mix(self, phase: int) -> None:
        """Fills `sent_pcm` of narrow listeners and `sent_wide` of wide ones."""
        rows, lists = self._rows, self._lists[phase]
        if not lists.narrow.rows.size:
            return
        pcm = rows.caller_pcm[lists.narrow.rows]
        weights = None if lists.plain else self._weigh(lists, pcm)
        played, announced = self._announcements(lists)
        if lists.narrow.hears.size:
            at_8k = self._down.down(lists.narrow.numbers[played], announced) if len(played) else announced
            heard = _hear(lists.narrow, _weighted(pcm, weights))
            self._give(lists.narrow, heard, played, at_8k, rows.sent_pcm)
        if lists.wide.hears.size:
            heard = _hear(lists.wide, _weighted(self._brought_up(lists), _some(weights, lists.of_narrow)))
            self._give(lists.wide, heard, *_of(lists, played, announced), rows.sent_wide)
        deaf = lists.narrow.rows[lists.narrow.deaf]
        self._ear[deaf] = ~rows.deaf[deaf]

    def _give(self, voices: _Voices, heard: Sums, played: Index, sound: Samples, sent: Samples) -> None:
        if voices.deaf.size:
            rows = voices.rows[voices.deaf]
            gains = ramps(self._ear[rows], np.where(self._rows.deaf[rows], 0.0, 1.0), heard.shape[1])
            heard[voices.deaf] = np.rint(heard[voices.deaf] * gains)
        if len(played):
            said = np.zeros((len(voices.numbers), heard.shape[1]), np.int32)
            said[played] = sound
            heard += said[voices.room]
        listeners = voices.rows[voices.hears]
        sent[listeners] = self._limiter.limit(listeners, heard[voices.hears])

    def _weigh(self, lists: _Lists, pcm: Samples) -> tuple[Floats, Floats]:
        """What each voice counts for at the beginning and at the end of this frame."""
        members = lists.narrow.rows
        wanted = lists.wanted
        if np.count_nonzero(lists.big):
            wanted = wanted * self._talkers.weigh(members, pcm, lists.narrow.room, lists.big)
        before = self._weight[members]
        self._weight[members] = wanted
        return before, wanted

    def _announcements(self, lists: _Lists) -> tuple[Index, Samples]:
        """Rooms, by place, with something to play, and a frame [R, 320] of each."""
        if not self._lines:
            return _none(), np.zeros((0, WIDE_FRAME_SAMPLES), np.int16)
        places = np.flatnonzero(self._lines.rooms_sounding(lists.narrow.numbers))
        sums = self._lines.sum_of_rooms(lists.narrow.numbers[places])
        return places, np.clip(sums, -32_768, 32_767).astype(np.int16)

    def _brought_up(self, lists: _Lists) -> Samples:
        """[M, 320] voices of rooms with a wide member."""
        rows, wide = self._rows, lists.are_wide
        members = lists.wide.rows
        pcm = np.empty((len(members), WIDE_FRAME_SAMPLES), np.int16)
        pcm[wide] = rows.caller_wide[members[wide]]
        narrow = members[~wide]
        if narrow.size:
            pcm[~wide] = self._up.up(narrow, rows.caller_pcm[narrow])
        return pcm


def _weighted(pcm: Samples, weights: tuple[Floats, Floats] | None) -> Sums:
    if weights is None:
        return pcm.astype(np.int32)
    return np.rint(pcm * ramps(*weights, pcm.shape[1])).astype(np.int32)


def _some(weights: tuple[Floats, Floats] | None, places: Index) -> tuple[Floats, Floats] | None:
    return (weights[0][places], weights[1][places]) if weights else None


def _of(lists: _Lists, played: Index, sound: Samples) -> tuple[Index, Samples]:
    """Announcements of the rooms that are mixed at 16 kHz, by their places there."""
    numbers = lists.narrow.numbers[played]
    here = np.isin(numbers, lists.wide.numbers)
    return np.searchsorted(lists.wide.numbers, numbers[here]), sound[here]


def _hear(voices: _Voices, said: Sums) -> Sums:
    """[M, S] what each member hears of the others."""
    shared = said
    if voices.whispers.size:
        shared = said.copy()
        shared[voices.whispers] = 0
    heard = mix_minus(shared, voices.starts, voices.room)
    if voices.confiding.size:
        np.add.at(heard, voices.confidants, said[voices.confiding])
    return heard
