"""Stereo recordings: caller left, what was sent to them right; one WAV per call, written beside the tick.

The tick hands over one array per tick; a writer thread has the files. A file is playable after every second, whatever
kills the process: data first, then the sizes in its header. When the disk does not keep up frames are dropped, counted
and padded with silence, so that both sides stay in time. It must not block a tick (I7).
Sources: RIFF WAVE, PCM (Microsoft, Multimedia Programming Interface 1.0).
"""

import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from shared.log import get_log
from shared.units import BYTES_PER_SAMPLE, FRAME_SAMPLES, NARROWBAND_HZ

log = get_log(__name__)

QUEUE_FRAMES = 50_000
"""32 MB of audio: two seconds of 500 calls, half a minute of 30."""

CHANNELS = 2
FRAME_BYTES = FRAME_SAMPLES * CHANNELS * BYTES_PER_SAMPLE
HEADER_BYTES = 44
QUEUE_ITEMS = 100_000
"""Begins, ends and batches of frames that wait for a disk that stands still; then no recording is begun."""
CLOSE_S = 2.0
"""A disk that stands still must not keep a process from its end."""
_WAKE_S = 0.2
_FLUSH_FRAMES = 50
_LONGEST_GAP = 500
"""Frames of silence for one gap at most: a gap is a hiccup of the disk, not a call put away."""


def wav_header(data_bytes: int) -> bytes:
    """The header of a file with so many bytes of samples."""
    block = CHANNELS * BYTES_PER_SAMPLE
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", HEADER_BYTES - 8 + data_bytes, b"WAVE", b"fmt ", 16, 1, CHANNELS,
        NARROWBAND_HZ, NARROWBAND_HZ * block, block, 8 * BYTES_PER_SAMPLE, b"data", data_bytes,
    )  # fmt: skip


class _Begin(NamedTuple):
    row: int
    call_id: str


class _Frames(NamedTuple):
    rows: list[int]
    numbers: list[int]
    stereo: npt.NDArray[np.int16]


class _Finish(NamedTuple):
    row: int


@dataclass(slots=True)
class _Tape:
    call_id: str
    path: str
    fd: int
    written: int = 0
    """Where the next sample goes, in bytes of samples."""
    buffer: bytearray = field(default_factory=bytearray)
    frames: int = 0
    """Frames written or buffered."""


class Recorder:
    """`begin`, `frames` and `finish` are for the tick thread; `done(call_id, path)` is called by either thread, once per
    finished recording, with an empty path where there is no file.
    """

    def __init__(
        self,
        directory: str,
        done: Callable[[str, str], None],
        queue_frames: int = QUEUE_FRAMES,
        queue_items: int = QUEUE_ITEMS,
    ) -> None:
        self._bound = queue_frames
        self._items_bound = queue_items
        self._directory = directory
        self._done = done
        self._queue: deque[_Begin | _Frames | _Finish] = deque()
        self._queued_frames = 0
        self._taken_frames = 0
        self._numbers: dict[int, int] = {}
        """Frames handed over, by row of a leg that is recorded."""
        self._unrecorded: dict[int, str] = {}
        self._tapes: dict[int, _Tape] = {}
        self._rouse = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.dropped_frames = 0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Writes what is queued, finishes every file and ends the thread; gives up after `CLOSE_S`."""
        self._closing = True
        self._rouse.set()
        self._thread.join(CLOSE_S)

    # --- tick thread

    def begin(self, row: int, call_id: str) -> None:
        if len(self._queue) >= self._items_bound:
            self._unrecorded[row] = call_id
            return
        self._numbers[row] = 0
        self._queue.append(_Begin(row, call_id))
        self._rouse.set()

    def frames(self, rows: npt.NDArray[np.int32], caller: Samples, sent: Samples) -> None:
        """One frame of every recorded leg; `caller` and `sent` are [L, S] of all legs."""
        listed = [row for row in rows.tolist() if row in self._numbers]
        if not listed:
            return
        numbers = [self._numbers[row] for row in listed]
        for row, number in zip(listed, numbers, strict=True):
            self._numbers[row] = number + 1
        behind = self._queued_frames - self._taken_frames > self._bound
        if behind or len(self._queue) >= self._items_bound:
            self.dropped_frames += len(listed)
            return
        stereo = np.empty((len(listed), FRAME_SAMPLES, CHANNELS), np.int16)
        stereo[:, :, 0] = caller[listed]
        stereo[:, :, 1] = sent[listed]
        self._queued_frames += len(listed)
        self._queue.append(_Frames(listed, numbers, stereo))

    def finish(self, row: int) -> None:
        if row in self._unrecorded:
            self._done(self._unrecorded.pop(row), "")
            return
        self._numbers.pop(row, None)
        self._queue.append(_Finish(row))
        self._rouse.set()

    # --- writer thread

    def _run(self) -> None:
        while not self._closing or self._queue:
            self._rouse.wait(_WAKE_S)
            self._rouse.clear()
            while self._queue:
                self._act(self._queue.popleft())
        for row in list(self._tapes):
            self._finish(row)

    def _act(self, item: _Begin | _Frames | _Finish) -> None:
        if isinstance(item, _Begin):
            self._open(item)
        elif isinstance(item, _Finish):
            self._finish(item.row)
        else:
            self._taken_frames += len(item.rows)
            for row, number, stereo in zip(item.rows, item.numbers, item.stereo, strict=True):
                tape = self._tapes.get(row)
                if tape:
                    self._add(tape, number, stereo)

    def _open(self, item: _Begin) -> None:
        path = os.path.join(self._directory, f"{item.call_id}.wav")
        fd = -1
        try:
            os.makedirs(self._directory, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            os.write(fd, wav_header(0))
        except OSError:
            log.exception("recording not begun", call_id=item.call_id, path=path)
            if fd >= 0:
                os.close(fd)
            fd, path = -1, ""
        self._tapes[item.row] = _Tape(item.call_id, path, fd)

    def _add(self, tape: _Tape, number: int, stereo: npt.NDArray[np.int16]) -> None:
        missing = min(number - tape.frames, _LONGEST_GAP)
        if missing > 0:
            tape.buffer += bytes(missing * FRAME_BYTES)
        tape.frames = number + 1
        tape.buffer += stereo.tobytes()
        if len(tape.buffer) >= _FLUSH_FRAMES * FRAME_BYTES:
            self._flush(tape)

    def _flush(self, tape: _Tape) -> None:
        if tape.fd < 0:
            self.dropped_frames += len(tape.buffer) // FRAME_BYTES
            tape.buffer.clear()
            return
        if not tape.buffer:
            return
        # Where the disk refused, the position moves on all the same: the hole reads as silence, and both sides stay in time.
        end = tape.written + len(tape.buffer)
        try:
            complete = os.pwrite(tape.fd, tape.buffer, HEADER_BYTES + tape.written) == len(tape.buffer)
            if complete:
                os.pwrite(tape.fd, wav_header(end), 0)
        except OSError:
            complete = False
            log.exception("recording not written", call_id=tape.call_id)
        if not complete:
            self.dropped_frames += len(tape.buffer) // FRAME_BYTES
        tape.written = end
        tape.buffer.clear()

    def _finish(self, row: int) -> None:
        tape = self._tapes.pop(row, None)
        if tape is None:
            return
        self._flush(tape)
        if tape.fd >= 0:
            os.close(tape.fd)
        self._done(tape.call_id, tape.path)
