"""Datagrams of all legs through a small compiled library: one call from Python per batch instead of one per datagram.

The library (`datagrams.c`) is compiled when the package is installed, where there is a compiler; it is an optional extension,
and where it is missing or of another version `ctypes_sockets` does the same for more processor time. `CompiledSockets` makes
a system call per datagram; `UringSockets` one per batch through io_uring (Linux 6.1), which containers' default
seccomp profiles forbid. Must not decide anything: what is asked and sent is `linux_sockets`' matter.
"""

import ctypes
from collections.abc import Callable
from functools import partial
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

ABI: Final = 3
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


def path_of(module: str) -> str | None:
    found = find_spec(module)
    return found.origin if found else None


def compiled_library(module: str = MODULE) -> Any:
    """The compiled loop, or None where there is none that fits."""
    path = path_of(module)
    if not supported() or path is None:
        return None
    try:
        library = c_library(path)
        if library.abi() != ABI:
            return None
    except (OSError, AttributeError):  # of another machine, or another library altogether
        return None
    for name, *arguments in (
        ("receive", ctypes.c_void_p, ctypes.c_int),
        ("transmit", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
    ):
        getattr(library, name).argtypes = [ctypes.c_void_p, *arguments]
        getattr(library, f"ring_{name}").argtypes = [ctypes.c_void_p, ctypes.c_void_p, *arguments]
    library.ring_open.restype = ctypes.c_void_p
    library.ring_close.argtypes = [ctypes.c_void_p]
    return library


def uring_allowed(library: Any) -> bool:
    """Whether this kernel has io_uring and lets this process have one."""
    ring = library.ring_open()
    if ring:
        library.ring_close(ring)
    return bool(ring)


class _List:
    """Rows to send for, and their addresses: finding an array's costs as much as two packets."""

    __slots__ = ("arguments", "fds", "rows")

    def __init__(self, rows: Index, fds: npt.NDArray[np.int32]) -> None:
        self.rows = rows
        self.fds = fds
        self.arguments = (pointer(rows), pointer(fds), len(rows))


class CompiledSockets(LinuxSockets):
    """Socket pairs by engine row."""

    def __init__(self, engine: Engine, host: str = "0.0.0.0", *, connect: bool = True) -> None:
        super().__init__(engine, host, connect=connect)
        self._library = compiled_library()
        if self._library is None:
            raise RuntimeError("mediaworker/io/datagrams.c is not compiled here")
        self._receive: Callable[..., int] = self._library.receive
        self._transmit: Callable[..., int] = self._library.transmit
        self._whose: npt.NDArray[np.int64] = np.zeros(BATCH, np.int64)
        packets = engine.packets
        # Kept here: the library gets their addresses.
        self._structures = (_inbox(self._inbox, self._whose), _Outbox(
            packets=pointer(packets), addresses=pointer(engine.destinations), connected=pointer(self._connected),
            stride=packets.strides[0], bytes=packets.shape[1],
        ))  # fmt: skip
        self._in, self._out = (ctypes.addressof(structure) for structure in self._structures)
        self._lists = [_List(np.zeros(0, np.int64), np.zeros(0, np.int32))] * engine.phases

    def _ask(self, rows: Index) -> Index:
        fds = self._fd[rows]
        taken = self._receive(self._in, pointer(fds), len(fds))
        return rows if taken == len(rows) else rows[self._whose[:taken]]

    def _listed(self, phase: int, rows: Index) -> None:
        self._lists[phase] = _List(np.ascontiguousarray(rows, np.int64), self._fd[rows])

    def _send_listed(self, phase: int) -> int:
        listed = self._lists[phase]
        return self._transmit(self._out, *listed.arguments) if len(listed.rows) else 0


class UringSockets(CompiledSockets):
    """Only the thread that makes them may use them: the ring belongs to it."""

    def __init__(self, engine: Engine, host: str = "0.0.0.0", *, connect: bool = True) -> None:
        super().__init__(engine, host, connect=connect)
        self._ring = self._library.ring_open()
        if not self._ring:
            raise RuntimeError("no io_uring here")
        self._receive = partial(self._library.ring_receive, self._ring)
        self._transmit = partial(self._library.ring_transmit, self._ring)

    def close_all(self) -> None:
        super().close_all()
        if self._ring:
            self._library.ring_close(self._ring)
            self._ring = None


def _inbox(inbox: Inbox, whose: npt.NDArray[np.int64]) -> _Inbox:
    return _Inbox(
        shorts=pointer(inbox.shorts), rests=pointer(inbox.rests), sources=pointer(inbox.sources),
        stamps=pointer(inbox.stamps), lengths=pointer(inbox.lengths), whose=pointer(whose),
        short_bytes=SHORT_BYTES, rest_bytes=REST_BYTES,
    )  # fmt: skip
