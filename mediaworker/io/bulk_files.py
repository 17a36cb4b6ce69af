"""A second of many recordings in one call: sound where it lies in memory, then the headers.

A file at a time, every `pwrite` lets go of the interpreter lock and has to wait for it beside a busy tick: a thousand
recordings then take longer than they last. The compiled library (`datagrams.c`) writes all without the lock. Where it is missing, so
is this, and files are written one by one. Must not know legs; what is written where is `recorder`'s and `wav`'s matter.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from mediaworker.io.compiled_sockets import MODULE, compiled_library, path_of
from mediaworker.io.linux_sockets import pointer
from mediaworker.io.wav import HEADER_BYTES, WavFile

FRAMES = 64
"""In one call; the C side's arrays are as long."""


class BulkFiles:
    """One library, loaded a second time: its calls let go of the interpreter lock."""

    def __init__(self, library: Any) -> None:
        self._library = library
        pointers = ctypes.c_void_p
        library.write_frames.argtypes = [
            pointers, pointers, pointers, ctypes.c_int, pointers, ctypes.c_int, ctypes.c_int64, pointers,
        ]  # fmt: skip
        library.write_frames.restype = None
        library.write_heads.argtypes = [pointers, pointers, ctypes.c_int64, ctypes.c_int]

    def write(
        self,
        files: Sequence[WavFile],
        at_samples: Sequence[int],
        index: Sequence[int],
        frames: Sequence[Samples],
    ) -> npt.NDArray[np.bool_]:
        """Of every file its row (`index`) of each of the frames [R, S, 2], from a place on; which files took all of it."""
        size = frames[0][0].nbytes
        fds = np.array([file.fd for file in files], np.int32)
        at = np.array([file.offset(place) for file, place in zip(files, at_samples, strict=True)], np.int64)
        rows, bases = np.array(index, np.int64), np.array([pointer(frame) for frame in frames], np.uint64)
        written = np.zeros(len(files), np.int64)
        self._library.write_frames(
            pointer(fds),
            pointer(at),
            pointer(rows),
            len(files),
            pointer(bases),
            len(frames),
            size,
            pointer(written),
        )
        took: npt.NDArray[np.bool_] = written == size * len(frames)
        grown = [i for i in np.flatnonzero(took).tolist() if files[i].grow(int(at[i] + written[i]))]
        heads = np.frombuffer(b"".join(files[i].header() for i in grown), np.uint8)
        some = fds[grown]
        self._library.write_heads(pointer(some), pointer(heads), HEADER_BYTES, len(grown))
        return took


def bulk_files() -> BulkFiles | None:
    """None where the library was not compiled."""
    return None if compiled_library() is None else BulkFiles(ctypes.CDLL(path_of(MODULE)))
