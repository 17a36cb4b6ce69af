"""Audio files for the tick: WAV, FLAC, Ogg (Opus, Vorbis) and MP3 decoded in a thread of their own, at the rate asked for.

The tick thread asks for streams and takes pieces; it never waits. Bounded: a piece is a second, of each stream at most
two are ahead, so many streams, and a cache of short files by bytes (many callers hear the same ones; a cached file costs
no thread at all). Channels are mixed down; rates are brought to the leg's by soxr. Only regular files below the
configured directory are opened, whatever links lead out of it. Sources: libsndfile, soxr.
"""

import os
import queue
import stat
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from mediaworker.core.legs import Samples
from mediaworker.core.playing.media_source import NOTHING
from mediaworker.core.playing.studio import Loaded
from shared.log import get_log

log = get_log(__name__)

PIECE_S: Final = 1
CACHED_S: Final = 30
"""Files up to this long are kept whole..."""
CACHE_BYTES: Final = 64_000_000
"""...as many as fit, the ones not heard for longest going first."""
STREAMS_MAX: Final = 1_000
"""Longer files open at once."""
CLOSE_S: Final = 2.0
CHANNELS_MAX: Final = 8
RATES_HZ: Final = range(4_000, 384_001)
"""Of files: what is beyond is no audio, and its second would be no bound of anything."""
FULL_SCALE: Final = 32_768


class _Open(NamedTuple):
    stream: int
    path: str
    rate_hz: int
    loops: int


class _More(NamedTuple):
    stream: int


class _Close(NamedTuple):
    stream: int


class _Key(NamedTuple):
    """A file as it was, at a rate."""

    path: str
    changed_ns: int
    size: int
    rate_hz: int


class Unplayable(Exception):
    """Why a file is not played: not_found, unreadable, busy."""


class _Reader:
    """One file decoded piece by piece at another rate, `loops` times without a seam; 0: for ever."""

    def __init__(self, file: Any, rate_hz: int, loops: int) -> None:
        self._file = file
        self._left = loops or -1
        self._size = max(1, file.samplerate * PIECE_S)
        self._convert = (
            None if file.samplerate == rate_hz
            else soxr.ResampleStream(file.samplerate, rate_hz, 1, dtype="int16")
        )  # fmt: skip

    def piece(self) -> tuple[Samples, bool]:
        """About a second, and whether it is the last."""
        while True:
            # As floats: libsndfile turns float files into integers without scaling them, which is silence.
            block = _mono(self._file.read(self._size, dtype="float32", always_2d=True))
            if not len(block):
                self._left -= 1
                if self._left == 0 or not self._file.tell():
                    return self._converted(NOTHING, last=True), True
                self._file.seek(0)
                continue
            pcm = self._converted(block, last=False)
            if len(pcm):
                return pcm, False

    def close(self) -> None:
        self._file.close()

    def _converted(self, pcm: Samples, *, last: bool) -> Samples:
        if self._convert is None:
            return pcm
        converted: Samples = self._convert.resample_chunk(pcm, last=last)
        return converted


def _mono(frames: npt.NDArray[np.float32]) -> Samples:
    """Channels mixed down; what is louder than full scale is cut, what is no number is silence."""
    mixed = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    scaled = np.nan_to_num(np.rint(mixed * FULL_SCALE), posinf=FULL_SCALE, neginf=-FULL_SCALE)
    pcm: Samples = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return pcm


@dataclass(slots=True)
class _Cache:
    """Whole short files, the newest heard last."""

    files: "OrderedDict[_Key, Samples]"
    held_bytes: int = 0

    def get(self, key: _Key) -> Samples | None:
        pcm = self.files.get(key)
        if pcm is not None:
            self.files.move_to_end(key)
        return pcm

    def put(self, key: _Key, pcm: Samples) -> None:
        self.files[key] = pcm
        self.held_bytes += pcm.nbytes
        while self.held_bytes > CACHE_BYTES:
            _, oldest = self.files.popitem(last=False)
            self.held_bytes -= oldest.nbytes


class MediaFiles:
    """`open`, `more`, `close` and `take` are the tick thread's; they only put and take. See `studio.Library`."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.realpath(directory)
        self._asked: queue.SimpleQueue[_Open | _More | _Close | None] = queue.SimpleQueue()
        self._done: deque[Loaded] = deque()
        self._readers: dict[int, _Reader] = {}
        self._cache = _Cache(OrderedDict())
        self._thread = threading.Thread(target=self._run, name="media files", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def shut(self) -> None:
        """Ends the thread."""
        self._asked.put(None)
        self._thread.join(CLOSE_S)

    # --- tick thread

    def open(self, stream: int, path: str, rate_hz: int, loops: int) -> None:
        self._asked.put(_Open(stream, path, rate_hz, loops))

    def more(self, stream: int) -> None:
        self._asked.put(_More(stream))

    def close(self, stream: int) -> None:
        self._asked.put(_Close(stream))

    def take(self) -> list[Loaded]:
        return [self._done.popleft() for _ in range(len(self._done))] if self._done else []

    # --- decoder thread

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            self.act(asked)
        for reader in self._readers.values():
            reader.close()

    def act(self, asked: _Open | _More | _Close) -> None:
        """Carries out one request; what comes of it is taken by `take`."""
        if isinstance(asked, _Close):
            reader = self._readers.pop(asked.stream, None)
            if reader:
                reader.close()
            return
        step: Callable[[], None] = (
            (lambda: self._begin(asked)) if isinstance(asked, _Open) else (lambda: self._go_on(asked.stream))
        )
        try:
            step()
        except Unplayable as problem:
            self._done.append(Loaded(asked.stream, NOTHING, problem=str(problem)))
        except (soundfile.SoundFileError, OSError, ValueError, TypeError, RuntimeError, MemoryError) as error:
            # A file that libsndfile or soxr cannot do anything with: the play fails, the worker does not.
            log.warning("media file not played", stream=asked.stream, problem=str(error))
            self._drop(asked.stream)
            self._done.append(Loaded(asked.stream, NOTHING, problem="unreadable"))

    def _begin(self, asked: _Open) -> None:
        path, found = self._find(asked.path)
        key = _Key(path, found.st_mtime_ns, found.st_size, asked.rate_hz)
        pcm = self._cache.get(key)
        if pcm is not None:
            self._done.append(Loaded(asked.stream, pcm, last=True, whole=True))
            return
        file = soundfile.SoundFile(path)
        if not 0 < file.channels <= CHANNELS_MAX or file.samplerate not in RATES_HZ:
            file.close()
            raise Unplayable("unreadable")
        if 0 < file.frames <= CACHED_S * file.samplerate:
            self._keep(asked, key, file)
            return
        if len(self._readers) >= STREAMS_MAX:
            file.close()
            raise Unplayable("busy")
        self._readers[asked.stream] = _Reader(file, asked.rate_hz, asked.loops)
        self._go_on(asked.stream)
        self._go_on(asked.stream)

    def _keep(self, asked: _Open, key: _Key, file: Any) -> None:
        reader = _Reader(file, asked.rate_hz, 1)
        try:
            pieces, last = [], False
            while not last:
                pcm, last = reader.piece()
                pieces.append(pcm)
        finally:
            reader.close()
        pcm = np.concatenate(pieces)
        pcm.setflags(write=False)
        self._cache.put(key, pcm)
        self._done.append(Loaded(asked.stream, pcm, last=True, whole=True))

    def _go_on(self, stream: int) -> None:
        reader = self._readers.get(stream)
        if reader is None:
            return
        pcm, last = reader.piece()
        if last:
            self._drop(stream)
        self._done.append(Loaded(stream, pcm, last=last))

    def _drop(self, stream: int) -> None:
        reader = self._readers.pop(stream, None)
        if reader:
            reader.close()

    def _find(self, path: str) -> tuple[str, os.stat_result]:
        """A regular file below the directory. Raises Unplayable("not_found")."""
        whole = os.path.realpath(os.path.join(self._directory, path))
        if os.path.commonpath([whole, self._directory]) != self._directory:
            raise Unplayable("not_found")
        try:
            found = os.stat(whole)
        except OSError:
            raise Unplayable("not_found") from None
        if not stat.S_ISREG(found.st_mode):
            raise Unplayable("not_found")
        return whole, found
