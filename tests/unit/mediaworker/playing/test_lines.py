"""The lines of legs and rooms: none is another's, a background goes under its foreground, rates follow the leg."""

import numpy as np
import pytest

from mediaworker.core.legs import Samples
from mediaworker.core.playing.lines import ROOM_FRAME, Lines
from mediaworker.core.playing.media_source import Pcm

pytestmark = pytest.mark.unit

LEGS, ROOMS = 3, 2


def level(value: int, samples: int = 32_000) -> Pcm:
    return Pcm(np.full(samples, value, np.int16))


def heard(lines: Lines, row: int, size: int = 160, *, over: bool = False) -> int:
    """The last sample of a leg's frame."""
    return int(lines.sums(np.array([row]), np.array([over]), size)[0, -1])


def everything(lines: Lines) -> list[int]:
    numbers = [lines.of_leg(row, line) for row in range(LEGS) for line in ("foreground", "background")]
    return numbers + [
        lines.of_room(room, line) for room in range(ROOMS) for line in ("foreground", "background")
    ]


def test_every_leg_and_room_has_two_lines_of_its_own():
    lines = Lines(LEGS, ROOMS)
    assert len(set(everything(lines))) == 2 * (LEGS + ROOMS)
    assert not lines
    lines.playback.add(lines.of_leg(1, "background"), level(100), frame=160)
    lines.playback.add(lines.of_room(0, "foreground"), level(7), frame=ROOM_FRAME)
    assert lines
    assert (
        lines.sounding(np.arange(LEGS)).tolist()
        == lines.sounding(slice(0, LEGS)).tolist()
        == [False, True, False]
    )
    assert lines.rooms_sounding(np.arange(ROOMS)).tolist() == [True, False]
    total: Samples = lines.sum_of_rooms(np.arange(ROOMS))
    assert (total.shape, total[0].tolist(), total[1].any()) == (
        (ROOMS, ROOM_FRAME),
        [7] * ROOM_FRAME,
        np.False_,
    )


@pytest.mark.parametrize("over", [False, True])
def test_a_background_goes_under_its_foreground_and_under_what_is_heard_over_it(*, over: bool):
    lines = Lines(LEGS, ROOMS)
    music = lines.of_leg(0, "background")
    lines.playback.add(music, level(1_000), frame=160)
    lines.duck(music, 0.25)
    assert heard(lines, 0) == 1_000
    if not over:
        lines.playback.add(lines.of_leg(0, "foreground"), level(10, 160 * 20), frame=160)
    soft = [heard(lines, 0, over=over) for _ in range(20)][-1]
    assert soft == 250 + 10 * (not over)
    back = [heard(lines, 0) for _ in range(100)]
    assert (back[-1], back == sorted(back)) == (1_000, True)


def test_what_waits_goes_on_at_the_rate_of_its_leg():
    lines = Lines(LEGS, ROOMS)
    lines.playback.add(lines.of_leg(2, "foreground"), level(500, 1_600), frame=lines.frame_of_leg(2))
    heard(lines, 2)
    for wide, size in ((True, 320), (True, 320), (False, 160)):
        lines.set_wide(2, wide=wide)
        assert lines.frame_of_leg(2) == size
    lines.set_wide(2, wide=True)
    frames = 0
    while lines.sounding(np.array([2]))[0]:
        heard(lines, 2, 320)
        frames += 1
    assert 9 <= frames <= 10, "ten frames of 20 ms in all, whatever the rate"


def test_a_row_that_is_used_again_has_nothing_of_the_leg_before():
    lines = Lines(LEGS, ROOMS)
    lines.set_wide(0, wide=True)
    for line in ("foreground", "background"):
        lines.playback.add(lines.of_leg(0, line), level(100), frame=320)
        lines.playback.add(lines.of_room(1, line), level(100), frame=ROOM_FRAME)
    lines.duck(lines.of_leg(0, "background"), 0.1)
    heard(lines, 0, 320)
    lines.forget_leg(0)
    lines.forget_room(1)
    assert not lines
    assert lines.frame_of_leg(0) == 160
    lines.playback.add(lines.of_leg(0, "background"), level(1_000), frame=160)
    assert heard(lines, 0, over=True) == 1_000, "neither ducked as before nor on its way back"
