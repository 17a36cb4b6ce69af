"""Two playback lines for every leg and every room: a foreground, and a background that gives way to it.

Lines are numbered: legs by row, then rooms, first all foregrounds, then all backgrounds. A leg's lines are at its own
rate, a room's at 16 kHz, because its members may be of either kind. Must not know messages or files.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.playing.playback import Playback
from mediaworker.core.rooms.gain import Ducker
from mediaworker.core.rows import Index, Mask
from shared.contracts import PlayLine
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES

ROOM_FRAME: Final = WIDE_FRAME_SAMPLES


class Lines:
    """Lines of `legs` rows and `rooms` room numbers."""

    def __init__(self, legs: int, rooms: int) -> None:
        self._legs = legs
        self._half = legs + rooms
        self.playback = Playback(2 * self._half)
        self._ducker = Ducker(2 * self._half)
        self._wide: set[int] = set()

    def __bool__(self) -> bool:
        """Whether anything is played anywhere."""
        return bool(self.playback)

    def of_leg(self, row: int, line: PlayLine) -> int:
        return row + self._half * (line == "background")

    def of_room(self, number: int, line: PlayLine) -> int:
        return self._legs + number + self._half * (line == "background")

    def duck(self, line: int, depth: float, *, begins: bool = False) -> None:
        """How soft a background line is while something is heard over it: a gain. `begins`: nothing was on it before."""
        self._ducker.depth[line] = depth
        if begins:
            self._ducker.begin(line)

    def set_wide(self, row: int, *, wide: bool) -> None:
        """A leg's rate from now on; what waits on its lines goes on at the new one."""
        if wide == (row in self._wide):
            return
        (self._wide.add if wide else self._wide.discard)(row)
        for line in (row, row + self._half):
            self.playback.retune(line, up=wide)

    def frame_of_leg(self, row: int) -> int:
        return WIDE_FRAME_SAMPLES if row in self._wide else FRAME_SAMPLES

    def forget_leg(self, row: int) -> None:
        self._forget(row)
        self._wide.discard(row)

    def forget_room(self, number: int) -> None:
        self._forget(self._legs + number)

    def _forget(self, foreground: int) -> None:
        for line in (foreground, foreground + self._half):
            self.playback.clear(line)
            self._ducker.forget(line)

    # --- per tick

    def sounding(self, foregrounds: Index | slice) -> Mask:
        """Which of the lines, or their backgrounds, have something to play."""
        if isinstance(foregrounds, slice):
            backgrounds: Index | slice = slice(foregrounds.start + self._half, foregrounds.stop + self._half)
        else:
            backgrounds = foregrounds + self._half
        return self.playback.ready(foregrounds) | self.playback.ready(backgrounds)

    def rooms_sounding(self, numbers: Index) -> Mask:
        return self.sounding(numbers + self._legs)

    def sum_of_rooms(self, numbers: Index) -> npt.NDArray[np.int32]:
        """[R, 320] of rooms."""
        return self.sums(numbers + self._legs, np.zeros(len(numbers), np.bool_), ROOM_FRAME)

    def sums(self, foregrounds: Index, over: Mask, size: int) -> npt.NDArray[np.int32]:
        """[R, S] a frame of each line with its background under it; `over` [R]: something else is heard as well."""
        total = np.zeros((len(foregrounds), size), np.int32)
        backgrounds = foregrounds + self._half
        front, back = self.playback.ready(foregrounds), self.playback.ready(backgrounds)
        if np.count_nonzero(front):
            total[front] = self._frames(foregrounds[front], size)
        if np.count_nonzero(back):
            frames = self._frames(backgrounds[back], size)
            total[back] += self._ducker.apply(backgrounds[back], frames, (over | front)[back])
        return total

    def _frames(self, lines: Index, size: int) -> Samples:
        frames = np.empty((len(lines), size), np.int16)
        self.playback.play(lines, frames)
        return frames
