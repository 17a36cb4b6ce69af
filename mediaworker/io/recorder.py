"""Stereo recordings: caller left, what was sent to them right; one WAV per call, written beside the tick.

The tick hands over one array per tick; a writer thread has the files. A frame's place in its file is the number of its
20 ms since the recording began, so both sides stay in time with the call whatever is missing: ticks that the process
slept through, frames that the disk did not take, and pauses read as silence. A second of all legs is gathered before it is
written, a leg at a time: no Python runs per frame. A file is playable after every second, whatever kills the process. Must
not block a tick (I7), and holds a bounded number of frames (I6).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.core.resample import HalfBand
from mediaworker.io.bulk_files import FRAMES, BulkFiles, bulk_files
from mediaworker.io.wav import BLOCK_BYTES, CHANNELS, WavFile
from shared.log import get_log
from shared.units import FRAME_SAMPLES, NARROWBAND_HZ, TICK_MS, WIDE_FRAME_SAMPLES, WIDEBAND_HZ

log = get_log(__name__)

QUEUE_FRAMES: Final = 50_000
"""32 MB of audio: a second of 1,000 calls, half a minute of 30. A frame at 16 kHz counts twice."""
FRAME_BYTES: Final = FRAME_SAMPLES * BLOCK_BYTES
QUEUE_ITEMS: Final = 100_000
"""Begins, ends and batches of frames that wait for a disk that stands still; then no recording is begun."""
CLOSE_S: Final = 2.0
"""A disk that stands still must not keep a process from its end."""
GATHER_ROUNDS: Final = 50
"""A second: what a killed process loses, and how seldom a file is written to."""
_WAKE_S: Final = 0.2

Rows = npt.NDArray[np.int32]


class _Begin(NamedTuple):
    row: int
    call_id: str


class _First(NamedTuple):
    """The leg's media begins with this round: its place in the file is 0."""

    row: int
    round: int


class _Frames(NamedTuple):
    """One frame of some rows, all of one rate: [R, S, 2]."""

    rows: Rows
    round: int
    stereo: Samples


class _Finish(NamedTuple):
    row: int
    rounds: int
    """Length of the recording in frames, pauses and gaps included."""


@dataclass(slots=True)
class _Tape:
    call_id: str
    file: WavFile | None
    first: int = -1
    """The round of the first frame."""
    convert: HalfBand | None = None
    refused: bool = False
    """By the disk, the last time: that is said once, not every second."""


@dataclass(slots=True)
class _Gathering:
    """Frames of the same rows, round after round."""

    rows: Rows
    first: int
    frames: list[Samples] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    """Rows whose recording ended: their part was written."""


_Item = _Begin | _First | _Frames | _Finish


class _Leg:
    """What the tick thread knows of a recorded leg."""

    __slots__ = ("first", "paused")

    def __init__(self) -> None:
        self.first = -1
        self.paused = False


class Recorder:
    """`begin`, `pause`, `resume`, `frames` and `finish` are for the tick thread; `done(call_id, path)` is called by
    either thread, once per finished recording, with an empty path where there is no file.
    """

    def __init__(
        self,
        directory: str,
        done: Callable[[str, str], None],
        queue_frames: int = QUEUE_FRAMES,
        queue_items: int = QUEUE_ITEMS,
        prefer: Callable[[], None] | None = None,
    ) -> None:
        self._prefer = prefer
        """Called by the writer thread when it begins."""
        self._bound = queue_frames
        self._items_bound = queue_items
        self._directory = directory
        self._done = done
        self._queue: deque[_Item] = deque()
        self._queued_frames = 0
        self._taken_frames = 0
        self._legs: dict[int, _Leg] = {}
        self._unrecorded: dict[int, str] = {}
        self._known: dict[tuple[int, bool], tuple[Rows, int, Rows]] = {}
        """Rows handed over last, the count of changes then, and those of them that are written; by first row and rate."""
        self._changes = 0
        self._round = -1
        self._tapes: dict[int, _Tape] = {}
        self._gathering: dict[tuple[int, int], _Gathering] = {}
        self._rouse = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._bulk = bulk_files()
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
        self._legs[row] = _Leg()
        self._changes += 1
        self._queue.append(_Begin(row, call_id))
        self._rouse.set()

    def pause(self, row: int) -> None:
        """Silence is written from the next frame on."""
        self._set_paused(row, paused=True)

    def resume(self, row: int) -> None:
        self._set_paused(row, paused=False)

    def frames(self, rows: Rows, caller: Samples, sent: Samples, round_: int) -> None:
        """A frame of every recorded leg of one rate; `caller` and `sent` are [L, S] of all legs. `round_` numbers the
        20 ms, those included in which there was no tick.
        """
        self._round = round_
        if not self._legs or not len(rows):
            return
        listed = self._listed(rows, round_, wide=caller.shape[1] == WIDE_FRAME_SAMPLES)
        if not len(listed):
            return
        weight = len(listed) * caller.shape[1] // FRAME_SAMPLES
        behind = self._queued_frames - self._taken_frames > self._bound
        if behind or len(self._queue) >= self._items_bound:
            self.dropped_frames += len(listed)
            return
        stereo = np.empty((len(listed), caller.shape[1], CHANNELS), np.int16)
        stereo[:, :, 0] = caller[listed]
        stereo[:, :, 1] = sent[listed]
        self._queued_frames += weight
        self._queue.append(_Frames(listed, round_, stereo))

    def finish(self, row: int) -> None:
        if row in self._unrecorded:
            self._done(self._unrecorded.pop(row), "")
            return
        leg = self._legs.pop(row, None)
        if leg is None:
            return
        self._changes += 1
        self._queue.append(_Finish(row, self._round - leg.first + 1 if leg.first >= 0 else 0))
        self._rouse.set()

    def _set_paused(self, row: int, *, paused: bool) -> None:
        if row in self._legs:
            self._legs[row].paused = paused
            self._changes += 1

    def _listed(self, rows: Rows, round_: int, *, wide: bool) -> Rows:
        """Those of the rows that are written now; the same object for as long as nothing changes."""
        key = (int(rows[0]), wide)
        known = self._known.get(key)
        if known and known[0] is rows and known[1] == self._changes:
            return known[2]
        recorded = [row for row in rows.tolist() if row in self._legs]
        for row in recorded:
            leg = self._legs[row]
            if leg.first < 0:
                leg.first = round_
                self._queue.append(_First(row, round_))
        listed = np.array([row for row in recorded if not self._legs[row].paused], np.int32)
        self._known = {at: then for at, then in self._known.items() if then[1] == self._changes}
        self._known[key] = (rows, self._changes, listed)
        return listed

    # --- writer thread

    def _run(self) -> None:
        if self._prefer:
            self._prefer()
        while not self._closing or self._queue:
            self._rouse.wait(_WAKE_S)
            self._rouse.clear()
            while self._queue:
                self._act(self._queue.popleft())
        self._write_all(self._gathering)
        for row in list(self._tapes):
            self._finish(_Finish(row, 0))

    def _act(self, item: _Item) -> None:
        if isinstance(item, _Begin):
            self._open(item)
        elif isinstance(item, _First):
            tape = self._tapes.get(item.row)
            if tape:
                tape.first = item.round
        elif isinstance(item, _Finish):
            self._finish(item)
        else:
            self._gather(item)

    def _open(self, item: _Begin) -> None:
        path = os.path.join(self._directory, f"{item.call_id}.wav")
        file = None
        try:
            os.makedirs(self._directory, exist_ok=True)
            file = WavFile(path)
        except OSError:
            log.exception("recording not begun", call_id=item.call_id, path=path)
        self._tapes[item.row] = _Tape(item.call_id, file)

    def _gather(self, item: _Frames) -> None:
        self._taken_frames += len(item.rows) * item.stereo.shape[1] // FRAME_SAMPLES
        key = (int(item.rows[0]), item.stereo.shape[1])
        found = self._gathering.get(key)
        if found and (found.rows is not item.rows or item.round != found.first + len(found.frames)):
            self._write(self._gathering.pop(key))
            found = None
        if found is None:
            found = self._gathering[key] = _Gathering(item.rows, item.round)
        found.frames.append(item.stereo)
        if len(found.frames) >= GATHER_ROUNDS:
            # What lies longer than this is of rows that are now listed otherwise.
            self._write_all(
                [at for at, other in self._gathering.items() if other.first + GATHER_ROUNDS <= item.round + 1]
            )

    def _write_all(self, keys: Iterable[tuple[int, int]]) -> None:
        for key in list(keys):
            self._write(self._gathering.pop(key))

    def _write(self, gathered: _Gathering) -> None:
        if self._bulk and len(gathered.frames) <= FRAMES:
            self._write_bulk(self._bulk, gathered)
            return
        by_leg = np.ascontiguousarray(np.stack(gathered.frames).transpose(1, 0, 2, 3))
        for row, sound in zip(gathered.rows.tolist(), by_leg, strict=True):
            if row not in gathered.gone:
                self._put(self._tapes.get(row), gathered.first, sound)

    def _write_bulk(self, bulk: BulkFiles, gathered: _Gathering) -> None:
        """All files that take the frames as they are at once; the others one by one."""
        frames, rounds = gathered.frames, len(gathered.frames)
        size = frames[0].shape[1]
        rate_hz = WIDEBAND_HZ if size == WIDE_FRAME_SAMPLES else NARROWBAND_HZ
        files, places, index = [], [], []
        for at, row in enumerate(gathered.rows.tolist()):
            if row in gathered.gone:
                continue
            tape = self._tapes.get(row)
            place = (gathered.first - tape.first) * size if tape else 0
            if tape and tape.file and _takes(tape.file, rate_hz, place + rounds * size):
                tape.file.rate_hz = rate_hz
                files.append(tape.file)
                places.append(place)
                index.append(at)
            else:
                self._put(tape, gathered.first, np.stack([frame[at] for frame in frames]))
        if files:
            refused = int(np.count_nonzero(~bulk.write(files, places, index, frames)))
            if refused:
                self.dropped_frames += refused * rounds
                log.error("recordings not written", files=refused)

    def _put(self, tape: _Tape | None, first: int, sound: Samples) -> None:
        """[T, S, 2] frames of one leg from round `first` on."""
        if tape is None:
            return
        rounds, size = sound.shape[:2]
        pcm = sound.reshape(rounds * size, CHANNELS)
        if tape.file is None:
            self.dropped_frames += rounds
            return
        rate_hz = WIDEBAND_HZ if size == WIDE_FRAME_SAMPLES else NARROWBAND_HZ
        if not tape.file.rate_hz:
            tape.file.rate_hz = rate_hz
        if tape.file.rate_hz != rate_hz:
            pcm = _converted(tape, pcm)
        per_round = len(pcm) // rounds
        # Where the disk refused, the hole reads as silence, and both sides stay in time.
        complete = False
        try:
            complete = tape.file.write((first - tape.first) * per_round, pcm.reshape(-1).view(np.uint8).data)
        except OSError:
            if not tape.refused:
                log.exception("recording not written", call_id=tape.call_id)
        tape.refused = not complete
        if not complete:
            self.dropped_frames += rounds

    def _finish(self, item: _Finish) -> None:
        tape = self._tapes.pop(item.row, None)
        if tape is None:
            return
        for gathered in self._gathering.values():
            places = np.flatnonzero(gathered.rows == item.row)
            if places.size and item.row not in gathered.gone:
                gathered.gone.add(item.row)
                sound = np.stack([frame[places[0]] for frame in gathered.frames])
                self._put(tape, gathered.first, sound)
        path = tape.file.path if tape.file else ""
        if tape.file:
            try:
                tape.file.extend(item.rounds * ((tape.file.rate_hz or NARROWBAND_HZ) * TICK_MS // 1_000))
            except OSError:
                log.exception("recording not completed", call_id=tape.call_id)
            tape.file.close()
        self._done(tape.call_id, path)


def _takes(file: WavFile, rate_hz: int, samples: int) -> bool:
    return file.rate_hz in {0, rate_hz} and file.holds(samples)


def _converted(tape: _Tape, pcm: Samples) -> Samples:
    """[N, 2] at the other rate: the leg changed its codec, its file cannot."""
    if tape.convert is None:
        tape.convert = HalfBand(CHANNELS)
    sides = np.ascontiguousarray(pcm.T)
    both = np.arange(CHANNELS)
    wide = tape.file is not None and tape.file.rate_hz == WIDEBAND_HZ
    changed = tape.convert.up(both, sides) if wide else tape.convert.down(both, sides)
    return np.ascontiguousarray(changed.T)
