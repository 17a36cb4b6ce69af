"""Queues of things to play, sample by sample: any number of lines, a frame of each at a time.

A line plays its items one after the other without a gap, whatever their lengths; marks stand between samples. What a
line will play next is copied ahead into a stage of its own, so that a tick gathers the frames of all lines at once and
Python runs per line only a few times a second. Must not know legs, files or messages. Bounded: items per line, samples
staged per line.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

import numpy as np

from mediaworker.core.legs import Samples
from mediaworker.core.playing.media_source import Retuned, Source
from mediaworker.core.rows import Index, Ints, Mask
from shared.errors import Refused
from shared.units import FRAME_SAMPLES

STAGE_SAMPLES: Final = 4_000
"""Copied ahead per line: half a second, a quarter of one at 16 kHz."""
_SPREAD: Final = 16
"""Lines fill their stages to different heights, so that lines that began together are not all refilled in one tick."""
ITEMS_MAX: Final = 256
"""Waiting on one line."""
NEVER: Final = 1 << 60


class Happening(Enum):
    """What became of an item."""

    STARTED = "started"
    FINISHED = "finished"
    FLUSHED = "flushed"
    MARK = "mark"


class PlaybackEvent(NamedTuple):
    """`samples` of the item were played, `position` of the line, whose frames have `frame` samples."""

    line: int
    item: int
    what: Happening
    samples: int
    position: int
    frame: int


@dataclass(slots=True)
class _Item:
    """`number` names it; an item without a source is a mark. `begins` and `ends` are positions on its line."""

    number: int
    source: Source | None
    streams: bool = False
    """Somebody brings its samples."""
    begins: int = -1
    ends: int = -1
    staged: int = 0
    """Samples of it that were copied ahead or played."""
    told: bool = False
    """Whether its beginning was."""


@dataclass(slots=True)
class _Queue:
    """One line's items: the first is the one being played."""

    frame: int
    items: deque[_Item] = field(default_factory=deque)


class Playback:
    """`lines` queues. Items are named by numbers, which `add` gives."""

    def __init__(self, lines: int) -> None:
        self._queues: dict[int, _Queue] = {}
        self._stage: Samples = np.zeros((lines, STAGE_SAMPLES), np.int16)
        self._flat = self._stage.reshape(-1)
        self._cursor: Ints = np.zeros(lines, np.int64)
        """In the stage: the next sample to play."""
        self._fill: Ints = np.zeros(lines, np.int64)
        """In the stage: one past the last sample that is there."""
        self._position: Ints = np.zeros(lines, np.int64)
        """Samples the line has played since it was cleared."""
        self._next: Ints = np.full(lines, NEVER, np.int64)
        """The position at which something is to be told."""
        self._ready: Mask = np.zeros(lines, np.bool_)
        """Has something to play, as far as is known."""
        self._paused: Mask = np.zeros(lines, np.bool_)
        self._events: list[PlaybackEvent] = []
        self._numbers = 0
        self.hungry: set[int] = set()
        """Items with a stream that was read since the set was last emptied; whoever feeds them empties it."""

    def __bool__(self) -> bool:
        """Whether any line has items."""
        return bool(self._queues)

    # --- per line

    def add(self, line: int, source: Source | None, *, frame: int, streams: bool = False) -> int:
        """Queues a source, or a mark where there is none. `frame` is the samples of 20 ms of this line, and stays while
        it has items; `streams`: somebody brings what the source gives. Raises Refused("full").
        """
        queue = self._queues.setdefault(line, _Queue(frame))
        if len(queue.items) >= ITEMS_MAX:
            raise Refused("full", "too many things wait to be played")
        self._numbers += 1
        queue.items.append(_Item(self._numbers, source, streams))
        if streams:
            self.hungry.add(self._numbers)
        self._stock(line)
        return self._numbers

    def fed(self, line: int) -> None:
        """A stream of the line got samples, or its end."""
        if line in self._queues:
            self._stock(line)

    def pause(self, line: int) -> int:
        """Stops before the next frame; the position."""
        self._paused[line] = True
        return int(self._position[line])

    def resume(self, line: int) -> int:
        self._paused[line] = False
        return int(self._position[line])

    def position(self, line: int) -> int:
        """Samples the line has played."""
        return int(self._position[line])

    def frame(self, line: int) -> int:
        """Samples of 20 ms on this line while it has items, else 0."""
        queue = self._queues.get(line)
        return queue.frame if queue else 0

    def played(self, line: int, item: int) -> int:
        """Samples of an item that were played; -1 when it is not on the line."""
        queue = self._queues.get(line)
        found = next((i for i in queue.items if i.number == item), None) if queue else None
        return self._played(line, found) if found else -1

    def current(self, line: int) -> int:
        """The item being played or waiting as the first, 0 where there is none."""
        queue = self._queues.get(line)
        return next((item.number for item in queue.items if item.source is not None), 0) if queue else 0

    def flush(self, line: int, item: int = 0) -> None:
        """Takes everything off the line (and a pause), or one item; what was played of each is told."""
        queue = self._queues.get(line)
        if queue is None:
            return
        gone = [i for i in queue.items if not item or i.number == item]
        kept = [i for i in queue.items if item and i.number != item]
        position = int(self._position[line])
        for one in gone:
            self._tell(line, one, Happening.FLUSHED, self._played(line, one), position)
            self.hungry.discard(one.number)
        if not item:
            self._paused[line] = False
        queue.items = deque(kept)
        self._restage(line, gone, kept)
        self._stock(line)

    def clear(self, line: int) -> None:
        """The line as it was before anything was played on it; what was waiting is told as flushed."""
        self.flush(line)
        self._cursor[line] = self._fill[line] = self._position[line] = 0
        self._next[line] = NEVER
        self._ready[line] = self._paused[line] = False

    def retune(self, line: int, *, up: bool) -> None:
        """The line goes on at twice or half its rate: positions and counts are in its new samples from now on."""
        position = int(self._position[line])
        queue = self._queues.get(line)
        if queue is None:
            self._position[line] = position * 2 if up else position // 2
            return
        ahead = self._stage[line, int(self._cursor[line]) : int(self._fill[line])].copy()
        now = position * 2 if up else position // 2
        for item in queue.items:
            played, first = self._played(line, item), max(item.begins - position, 0)
            left = ahead[first : first + item.staged - played]
            item.staged = played * 2 if up else played // 2
            item.begins = now - item.staged if played else -1
            item.ends = -1
            if item.source is not None:
                item.source = Retuned(left, item.source, up=up)
        self._position[line] = now
        queue.frame = queue.frame * 2 if up else queue.frame // 2
        self._cursor[line] = self._fill[line] = 0
        self._stock(line)

    # --- per tick

    def ready(self, lines: slice | Index) -> Mask:
        """Which of the lines have something to play now."""
        found: Mask = self._ready[lines] & ~self._paused[lines]
        return found

    def play(self, lines: Index, out: Samples) -> None:
        """Moves a frame of each of the lines (all ready, all of one rate) into `out` [R, S]."""
        frame = out.shape[1]
        cursor = self._cursor[lines]
        short = self._fill[lines] - cursor < frame
        if np.count_nonzero(short):
            for line in lines[short].tolist():
                self._stock(line)
            cursor = self._cursor[lines]
        there = np.minimum(self._fill[lines] - cursor, frame)
        places = (lines * STAGE_SAMPLES + cursor)[:, None] + np.arange(frame)
        np.take(self._flat, places, out=out, mode="clip")
        cut = np.flatnonzero(there < frame)
        for row in cut.tolist():
            out[row, there[row] :] = 0
        self._cursor[lines] = cursor + there
        position = self._position[lines] + there
        self._position[lines] = position
        for line in lines[(position >= self._next[lines]) | (there < frame)].tolist():
            self._pass(line)

    def take_events(self) -> list[PlaybackEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- inside

    def _stock(self, line: int) -> None:
        """Copies ahead what the sources have, after what is there."""
        queue = self._queues[line]
        stage, cursor, fill = self._stage[line], int(self._cursor[line]), int(self._fill[line])
        if fill - cursor < queue.frame and cursor:
            stage[: fill - cursor] = stage[cursor:fill].copy()
            cursor, fill = 0, fill - cursor
        position = int(self._position[line]) - cursor
        height = STAGE_SAMPLES - line % _SPREAD * FRAME_SAMPLES
        for item in queue.items:
            if item.ends >= 0:
                continue
            if item.begins < 0:
                item.begins = position + fill
            fill = self._copy(item, stage[:height], fill)
            if item.source is not None and not item.source.ended:
                break
            item.ends = position + fill
        self._cursor[line], self._fill[line] = cursor, fill
        self._look_ahead(line, queue)

    def _copy(self, item: _Item, stage: Samples, fill: int) -> int:
        if item.source is None:
            return fill
        # A source may give less than it has at a seam: it is asked until it has no more or the stage is full.
        while fill < len(stage) and not item.source.ended:
            pcm = item.source.read(len(stage) - fill)
            if not len(pcm):
                break
            stage[fill : fill + len(pcm)] = pcm
            fill += len(pcm)
            item.staged += len(pcm)
        if item.streams and not item.source.ended:
            self.hungry.add(item.number)
        return fill

    def _look_ahead(self, line: int, queue: _Queue) -> None:
        """Whether there is something to play, and where something is to be told next."""
        while queue.items and self._over(line, queue.items[0]):
            self._finish(line, queue.items.popleft())
        first = queue.items[0] if queue.items else None
        if first and first.source is not None and not first.told and 0 <= first.begins < self._position[line]:
            self._start(line, first)
        self._ready[line] = self._fill[line] > self._cursor[line]
        if first is None:
            del self._queues[line]
            self._next[line] = NEVER
        # A beginning is told with its first sample, an end or a mark with the last sample before it.
        elif not first.told and first.begins >= 0 and first.source is not None:
            self._next[line] = first.begins + 1
        else:
            self._next[line] = first.ends if first.ends >= 0 else NEVER

    def _over(self, line: int, item: _Item) -> bool:
        return 0 <= item.ends <= int(self._position[line])

    def _pass(self, line: int) -> None:
        """The line came to where something is to be told, or ran dry."""
        queue = self._queues.get(line)
        if queue is None:
            return
        if self._fill[line] == self._cursor[line]:
            # What comes next found no place while the stage was full: without it the line would be taken for dry.
            self._stock(line)
        else:
            self._look_ahead(line, queue)

    def _start(self, line: int, item: _Item) -> None:
        item.told = True
        self._tell(line, item, Happening.STARTED, 0, item.begins)

    def _finish(self, line: int, item: _Item) -> None:
        if item.source is None:
            self._tell(line, item, Happening.MARK, 0, item.ends)
            return
        if not item.told:
            self._start(line, item)
        self.hungry.discard(item.number)
        self._tell(line, item, Happening.FINISHED, item.staged, item.ends)

    def _tell(self, line: int, item: _Item, what: Happening, samples: int, position: int) -> None:
        frame = self._queues[line].frame
        self._events.append(PlaybackEvent(line, item.number, what, samples, position, frame))

    def _played(self, line: int, item: _Item) -> int:
        if item.begins < 0:
            return 0
        return min(max(0, int(self._position[line]) - item.begins), item.staged)

    def _restage(self, line: int, gone: list[_Item], kept: list[_Item]) -> None:
        """Closes the gap that items leave that were copied ahead already."""
        cursor, fill, position = int(self._cursor[line]), int(self._fill[line]), int(self._position[line])
        ahead = self._stage[line, cursor:fill].copy()
        stays = np.ones(len(ahead), np.bool_)
        for item in gone:
            if item.begins >= 0:
                end = item.begins + item.staged
                stays[max(0, item.begins - position) : max(0, end - position)] = False
        for item in kept:
            if item.begins > position:
                item.begins -= int(np.count_nonzero(~stays[: item.begins - position]))
            if item.ends > position:
                item.ends -= int(np.count_nonzero(~stays[: item.ends - position]))
        ahead = ahead[stays]
        self._stage[line, : len(ahead)] = ahead
        self._cursor[line], self._fill[line] = 0, len(ahead)
