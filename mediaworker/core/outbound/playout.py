"""What the farm says to a leg: a bounded ring of audio per leg, cut into frames, in chunks from one pool.

A leg that says nothing holds no chunk. Samples are queued as segments of a turn; a segment's end is filled up to a
whole frame with silence. Queuing, pausing and flushing are per leg and rare; playing is one gather for all legs of a
rate. A leg's samples are at its own rate, 8 or 16 kHz; frames are 20 ms either way. Must not decide whose turn it is.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from mediaworker.core.legs import Heard, PlayoutEvent, Samples
from mediaworker.core.resample import HalfBand
from mediaworker.core.rows import Ints, Mask
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES

CHUNK_SAMPLES: Final = 8_000
"""50 frames, or 25 of a wideband leg."""
RING_CHUNKS: Final = 31
"""Of one leg: 30 s and the chunk that is being played; twice as many of a wideband leg."""
POOL_CHUNKS: Final = 8_192
"""Of all legs: 131 MB when every one is in use. When none is left a leg's `queue` takes less than it is offered."""
OPEN_END: Final = 1 << 40
_NONE: Final[Samples] = np.zeros(0, np.int16)


@dataclass(slots=True)
class _Segment:
    turn: int
    number: int
    frames: int = 0
    samples: int = 0
    ended: bool = False


class _Line:
    """The queue of one leg, in frames of `frame` samples."""

    __slots__ = ("chunks", "fill", "frame", "segments")

    def __init__(self, frame: int) -> None:
        self.frame = frame
        self.chunks: deque[int] = deque()
        self.fill = 0
        """Samples written into the chunks, those played included."""
        self.segments: deque[_Segment] = deque()

    @property
    def chunk_frames(self) -> int:
        return CHUNK_SAMPLES // self.frame

    @property
    def bound(self) -> int:
        """Chunks that it may hold."""
        return RING_CHUNKS * self.frame // FRAME_SAMPLES


class Playout:
    """Queues of all legs over one pool of chunks, which is read in frames of either length."""

    def __init__(self, count: int, capacity: int, pool_chunks: int = POOL_CHUNKS) -> None:
        chunks = max(RING_CHUNKS, min(capacity * RING_CHUNKS, pool_chunks))
        self._flat: Samples = np.zeros(chunks * CHUNK_SAMPLES, np.int16)
        self._pools = {size: self._flat.reshape(-1, size) for size in (FRAME_SAMPLES, WIDE_FRAME_SAMPLES)}
        self._free = list(range(chunks - 1, -1, -1))
        self._lines: dict[int, _Line] = {}
        self._wide: set[int] = set()
        self._cursor: Ints = np.zeros(count, np.int64)
        self._ready: Ints = np.zeros(count, np.int64)
        """Whole frames waiting."""
        self._in_chunk: Ints = np.zeros(count, np.int64)
        """Frames until the cursor leaves its chunk."""
        self._in_segment: Ints = np.full(count, OPEN_END, np.int64)
        """Frames until the segment being played ends."""
        self._played: Ints = np.zeros(count, np.int64)
        """Frames of it that were played."""
        self._paused: Mask = np.zeros(count, np.bool_)
        self._begun: Mask = np.zeros(count, np.bool_)
        self._heard: dict[int, Heard] = {}
        self._turn: dict[int, int] = {}
        self._events: list[PlayoutEvent] = []

    @property
    def free_chunks(self) -> int:
        return len(self._free)

    # --- per leg

    def queue(self, row: int, turn: int, segment: int, pcm: Samples, *, last: bool) -> int:
        line = self._lines.get(row)
        if line is None:
            line = self._lines[row] = _Line(self._frame(row))
        taken = min(len(pcm), self.room(row))
        open_segment = line.segments[-1] if line.segments else None
        if (
            open_segment is None
            or open_segment.ended
            or (open_segment.turn, open_segment.number) != (turn, segment)
        ):
            self._end_segment(row, line)
            open_segment = _Segment(turn, segment)
            line.segments.append(open_segment)
        self._write(line, pcm[:taken])
        open_segment.samples += taken
        if last and taken == len(pcm):
            self._end_segment(row, line)
        self._count_ready(row, line)
        return taken

    def room(self, row: int) -> int:
        line = self._lines.get(row)
        if line is None:
            line = _Line(self._frame(row))
        held = len(line.chunks)
        more = min(line.bound - held, len(self._free))
        # One frame is kept back: the padding at a segment's end always fits.
        return max(0, (held + more) * CHUNK_SAMPLES - line.fill - line.frame)

    def set_wide(self, row: int, *, wide: bool) -> None:
        """The leg's rate from now on; what waits is resampled, so that it is said in the same voice."""
        before = row in self._wide
        if wide:
            self._wide.add(row)
        else:
            self._wide.discard(row)
        if wide != before and row in self._lines:
            self._retune(row)

    def pause(self, row: int) -> None:
        self._paused[row] = True

    def resume(self, row: int) -> None:
        self._paused[row] = False

    def playing(self, row: int) -> bool:
        """Whether audio waits to be played, paused or not."""
        return bool(self._ready[row] > 0)

    def heard(self, row: int) -> Heard:
        line = self._lines.get(row)
        if line and line.segments and self._played[row]:
            segment = line.segments[0]
            samples = min(int(self._played[row]) * line.frame, segment.samples)
            return Heard(segment.turn, segment.number, samples)
        return self._heard.get(row, Heard(-1, -1, 0))

    def flush(self, row: int) -> Heard:
        heard = self.heard(row)
        self._release(row)
        if heard.segment >= 0:
            self._heard[row] = heard
        return heard

    def forget(self, row: int) -> None:
        self._release(row)
        self._heard.pop(row, None)
        self._turn.pop(row, None)
        self._wide.discard(row)
        self._events = [event for event in self._events if event.row != row]

    # --- per tick

    def ready(self, span: slice, started: Mask) -> Mask:
        """Which rows of the span have a frame to play now."""
        return (self._ready[span] > 0) & started & ~self._paused[span]

    def play(self, rows: Ints, out: Samples, now_ns: int) -> None:
        """Moves one frame of each of the rows (all ready, all of one rate) into `out` [R, 160 or 320]."""
        cursor = self._cursor[rows]
        np.take(self._pools[out.shape[1]], cursor, axis=0, out=out, mode="clip")
        self._cursor[rows] = cursor + 1
        self._ready[rows] -= 1
        self._played[rows] += 1
        begun = self._begun[rows]
        if np.count_nonzero(begun) < len(begun):
            self._begin(rows[~begun], now_ns)
        in_segment = self._in_segment[rows] - 1
        self._in_segment[rows] = in_segment
        in_chunk = self._in_chunk[rows] - 1
        self._in_chunk[rows] = in_chunk
        for row in rows[in_segment == 0].tolist():
            self._segment_done(row, now_ns)
        for row in rows[in_chunk == 0].tolist():
            self._next_chunk(row)

    def take_events(self, now_ns: int) -> list[PlayoutEvent]:
        """What happened since the last call; ends seen while queuing are told as of now."""
        if not self._events:
            return []
        events, self._events = self._events, []
        return [event if event.at_ns >= 0 else event._replace(at_ns=now_ns) for event in events]

    # --- inside

    def _frame(self, row: int) -> int:
        return WIDE_FRAME_SAMPLES if row in self._wide else FRAME_SAMPLES

    def _retune(self, row: int) -> None:
        """What was not played yet at the leg's new rate. Frames stay frames, so only samples are counted anew."""
        line = self._lines[row]
        played = (line.chunk_frames - int(self._in_chunk[row])) * line.frame if self._in_chunk[row] else 0
        pcm = np.concatenate(
            [self._flat[chunk * CHUNK_SAMPLES :][:CHUNK_SAMPLES] for chunk in line.chunks] or [_NONE]
        )
        pcm = pcm[played : line.fill]
        self._free.extend(line.chunks)
        before, line.frame = line.frame, self._frame(row)
        line.chunks.clear()
        line.fill = self._ready[row] = self._in_chunk[row] = 0
        for segment in line.segments:
            segment.samples = segment.samples * line.frame // before
        up = line.frame > before
        pcm = pcm if up else pcm[: len(pcm) // 2 * 2]
        if len(pcm):
            half = HalfBand(1)
            pcm = (half.up if up else half.down)(np.zeros(1, np.int64), pcm[None])[0]
        if len(pcm) > len(self._free) * CHUNK_SAMPLES:
            self._give_up(row, line)
            return
        self._write(line, pcm)
        self._count_ready(row, line)

    def _give_up(self, row: int, line: _Line) -> None:
        """No chunks are left for what waits: its segments end unheard, so that nobody waits for them."""
        for segment in line.segments:
            heard = Heard(segment.turn, segment.number, 0)
            self._events.append(PlayoutEvent(row, started=False, heard=heard, at_ns=-1))
        self._release(row)

    def _write(self, line: _Line, pcm: Samples) -> None:
        done = 0
        while done < len(pcm):
            inside = line.fill % CHUNK_SAMPLES
            if line.fill == len(line.chunks) * CHUNK_SAMPLES:
                line.chunks.append(self._free.pop())
            part = min(len(pcm) - done, CHUNK_SAMPLES - inside)
            start = line.chunks[-1] * CHUNK_SAMPLES + inside
            self._flat[start : start + part] = pcm[done : done + part]
            line.fill += part
            done += part

    def _end_segment(self, row: int, line: _Line) -> None:
        """Ends the segment being queued, if one is, on a whole frame."""
        if not line.segments or line.segments[-1].ended:
            return
        segment = line.segments[-1]
        rest = -line.fill % line.frame
        if rest:
            self._write(line, np.zeros(rest, np.int16))
        segment.frames = -(-segment.samples // line.frame)
        segment.ended = True
        if segment is line.segments[0]:
            self._in_segment[row] = segment.frames - self._played[row]
            if self._in_segment[row] <= 0:
                self._segment_done(row, -1)

    def _count_ready(self, row: int, line: _Line) -> None:
        if not line.chunks:
            return
        if self._in_chunk[row] == 0:
            self._cursor[row] = line.chunks[0] * line.chunk_frames
            self._in_chunk[row] = line.chunk_frames
        played = line.chunk_frames - int(self._in_chunk[row])
        self._ready[row] = line.fill // line.frame - played

    def _begin(self, rows: Ints, now_ns: int) -> None:
        for row in rows.tolist():
            self._begun[row] = True
            segment = self._lines[row].segments[0]
            if self._turn.get(row) != segment.turn:
                self._turn[row] = segment.turn
                heard = Heard(segment.turn, segment.number, 0)
                self._events.append(PlayoutEvent(row, started=True, heard=heard, at_ns=now_ns))

    def _segment_done(self, row: int, now_ns: int) -> None:
        line = self._lines[row]
        while line.segments:
            segment = line.segments[0]
            if not segment.ended or segment.frames > self._played[row]:
                break
            heard = Heard(segment.turn, segment.number, segment.samples)
            self._heard[row] = heard
            self._events.append(PlayoutEvent(row, started=False, heard=heard, at_ns=now_ns))
            line.segments.popleft()
            self._played[row] = 0
        self._begun[row] = False
        following = line.segments[0] if line.segments else None
        ends = following.frames - int(self._played[row]) if following and following.ended else OPEN_END
        self._in_segment[row] = ends

    def _next_chunk(self, row: int) -> None:
        line = self._lines[row]
        self._free.append(line.chunks.popleft())
        line.fill -= CHUNK_SAMPLES
        if line.chunks:
            self._cursor[row] = line.chunks[0] * line.chunk_frames
            self._in_chunk[row] = line.chunk_frames
        else:
            self._in_chunk[row] = 0

    def _release(self, row: int) -> None:
        line = self._lines.pop(row, None)
        if line:
            self._free.extend(line.chunks)
        self._ready[row] = self._in_chunk[row] = self._played[row] = 0
        self._in_segment[row] = OPEN_END
        self._paused[row] = self._begun[row] = False
