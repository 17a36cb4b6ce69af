"""Datagrams of all legs through a small compiled loop: one call from Python per batch instead of one per datagram.

The loop (`datagrams.c`) is compiled when the package is installed, where there is a compiler; it is an optional extension,
and where it is missing or of another version `ctypes_sockets` does the same at about twice the processor time. Must not
decide anything: what is asked and sent is `linux_sockets`' matter.
"""

import ctypes
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.engine import Engine
from mediaworker.core.rows import Index
from mediaworker.io.linux_sockets import (
    BATCH,
    REST_BYTES,
    SHORT_BYTES,
    Inbox,
    LinuxSockets,
    c_library,
    pointer,
    supported,
)

ABI: Final = 1
"""Of `datagrams.c`."""
MODULE: Final = "mediaworker.io._datagrams"


class _Inbox(ctypes.Structure):
    _fields_ = (
        ("shorts", ctypes.c_void_p), ("rests", ctypes.c_void_p), ("sources", ctypes.c_void_p),
        ("stamps", ctypes.c_void_p), ("lengths", ctypes.c_void_p), ("whose", ctypes.c_void_p),
        ("short_bytes", ctypes.c_int64), ("rest_bytes", ctypes.c_int64),
    )  # fmt: skip


class _Outbox(ctypes.Structure):
    _fields_ = (
        ("packets", ctypes.c_void_p), ("addresses", ctypes.c_void_p), ("connected", ctypes.c_void_p),
        ("stride", ctypes.c_int64), ("bytes", ctypes.c_int64),
    )  # fmt: skip


def compiled_library(module: str = MODULE) -> Any:
    """The compiled loop, or None where there is none that fits."""
    found = find_spec(module)
    if not supported() or found is None or found.origin is None:
        return None
    try:
        library = c_library(found.origin)
        if library.abi() != ABI:
            return None
    except (OSError, AttributeError):  # of another machine, or another library altogether
        return None
    library.receive.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.transmit.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    return library


class CompiledSockets(LinuxSockets):
    """Socket pairs by engine row. `library` is what `compiled_library` gave."""

    def __init__(
        self, engine: Engine, host: str = "0.0.0.0", *, connect: bool = True, library: Any = None
    ) -> None:
        super().__init__(engine, host, connect=connect)
        self._compiled = library if library is not None else compiled_library()
        if self._compiled is None:
            raise RuntimeError("mediaworker.io._datagrams is not built here")
        self._whose: npt.NDArray[np.int64] = np.zeros(BATCH, np.int64)
        self._in = _inbox(self._inbox, self._whose)
        packets = engine.packets
        self._out = _Outbox(
            packets=pointer(packets), addresses=pointer(engine.destinations), connected=pointer(self._connected),
            stride=packets.strides[0], bytes=packets.shape[1],
        )  # fmt: skip
        nobody = (np.zeros(0, np.int64), np.zeros(0, np.int32))
        self._lists: list[tuple[Index, npt.NDArray[np.int32]]] = [nobody] * engine.phases

    def _ask(self, rows: Index) -> Index:
        fds = self._fd[rows]
        taken = self._compiled.receive(ctypes.byref(self._in), pointer(fds), len(fds))
        return rows if taken == len(rows) else rows[self._whose[:taken]]

    def _listed(self, phase: int, rows: Index) -> None:
        self._lists[phase] = (np.ascontiguousarray(rows, np.int64), self._fd[rows])

    def _send_listed(self, phase: int) -> int:
        rows, fds = self._lists[phase]
        if not len(rows):
            return 0
        failed: int = self._compiled.transmit(ctypes.byref(self._out), pointer(rows), pointer(fds), len(rows))
        return failed


def _inbox(inbox: Inbox, whose: npt.NDArray[np.int64]) -> _Inbox:
    return _Inbox(
        shorts=pointer(inbox.shorts), rests=pointer(inbox.rests), sources=pointer(inbox.sources),
        stamps=pointer(inbox.stamps), lengths=pointer(inbox.lengths), whose=pointer(whose),
        short_bytes=SHORT_BYTES, rest_bytes=REST_BYTES,
    )  # fmt: skip
