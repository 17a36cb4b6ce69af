"""Rooms against plain rooms: any members, gains, whispers and announcements; the limiter against its promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.playing.lines import Lines
from mediaworker.core.playing.media_source import Pcm
from mediaworker.core.rooms.gain import FULL, PARTS, Limiter
from mediaworker.core.rooms.room_mix import RoomMix
from mediaworker.core.rows import Rows
from tests.support.reference_rooms import PlainMember, plain_room

pytestmark = pytest.mark.property

LEGS = 8
SIZE = 160


@st.composite
def people(draw: st.DrawFn) -> list[PlainMember]:
    rooms = draw(st.lists(st.integers(-1, 2), min_size=LEGS, max_size=LEGS))
    found = []
    for row, room in enumerate(rooms):
        said = draw(st.integers(-4_000, 4_000))
        same = [other for other in range(LEGS) if rooms[other] == room and other != row]
        whisper = draw(st.sampled_from([None, None, *same]))
        found.append(
            PlainMember(
                row, room, (said,) * SIZE, gain=draw(st.sampled_from([1.0, 1.0, 0.5, 0.25])),
                muted=draw(st.integers(0, 4)) == 0, deaf=draw(st.integers(0, 4)) == 0, whisper_to=whisper,
            )
        )  # fmt: skip
    return [member for member in found if member.room >= 0]


class Bed:
    """Rows in rooms, as an engine would have them."""

    def __init__(self, members: list[PlainMember], wide: set[int]) -> None:
        self.rows = Rows(LEGS, 1)
        self.lines = Lines(LEGS, LEGS)
        self.mix = RoomMix(self.rows, self.lines, LEGS)
        for row in range(LEGS):
            self.rows.take(0)
            self.rows.started[row] = self.rows.sends[row] = True
        for member in members:
            row = member.row
            self.rows.room[row] = member.room
            self.rows.wide[row] = row in wide
            self.rows.voice[row], self.rows.muted[row] = member.gain, member.muted
            self.rows.deaf[row] = member.deaf
            self.rows.whisper_to[row] = -1 if member.whisper_to is None else member.whisper_to
            self.rows.caller_pcm[row] = member.said
            self.rows.caller_wide[row] = member.said[0]
        self.changed()

    def changed(self) -> None:
        self.mix.changed(0, np.flatnonzero(self.rows.room >= 0))

    def run(self, ticks: int) -> None:
        """Until gains and filters stand still."""
        for _ in range(ticks):
            self.mix.mix(0)


@settings(max_examples=150, deadline=None)
@given(
    people(), st.sets(st.integers(0, LEGS - 1)), st.dictionaries(st.integers(0, 2), st.integers(-900, 900))
)
def test_everybody_hears_what_a_plain_room_gives_them(
    members: list[PlainMember], wide: set[int], announced: dict[int, int]
) -> None:
    bed = Bed(members, wide)
    for room, value in announced.items():
        bed.lines.playback.add(
            bed.lines.of_room(room, "foreground"), Pcm(np.full(320, value, np.int16), 0), frame=320
        )
    bed.run(4)
    expected = plain_room(members, {room: (value,) * SIZE for room, value in announced.items()})
    for member in members:
        row, is_wide = member.row, member.row in wide
        heard = bed.rows.sent_wide[row] if is_wide else bed.rows.sent_pcm[row]
        # A voice that was brought up or down through a filter ripples by a thousandth.
        slack = 2 + sum(abs(other.said[0]) for other in members) // 500 + 3 * bool(announced)
        assert np.abs(heard.astype(int) - expected[row][0]).max() <= slack, f"row {row}, wide {wide}"


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.sampled_from([160, 320]), st.integers(0, 2**32 - 1))
def test_what_is_limited_never_clips_and_never_jumps(legs: int, frames: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    limiter, rows = Limiter(legs), np.arange(legs)
    for _ in range(frames):
        loud = 10.0 ** random.uniform(2, 5.6, (legs, 1))
        heard = np.rint(random.uniform(-1, 1, (legs, size)) * loud).astype(np.int32)
        out = limiter.limit(rows, heard)
        assert out.dtype == np.int16
        parts = heard.reshape(legs, PARTS, -1)
        for leg in range(legs):
            large = np.abs(heard[leg]) > 2_000
            if large.any():
                gain = out[leg][large] / heard[leg][large]
                assert gain.min() > 0
                assert gain.max() <= 1.001
                # Where a part of the frame would clip it is down to what that part needs.
                peak = np.abs(parts[leg]).max()
                assert gain.min() >= min(1, FULL / peak) * 0.6 or frames > 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-32_768, 32_767), min_size=160, max_size=160))
def test_a_single_voice_is_passed_on_as_it_is(said: list[int]) -> None:
    limiter = Limiter(1)
    heard = np.array([said], np.int32)
    assert limiter.limit(np.array([0]), heard).tolist() == [said]
