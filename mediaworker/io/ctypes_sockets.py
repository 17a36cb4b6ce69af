"""Datagrams of all legs through the C library's own `recvmsg` and `sendmsg`: what runs where nothing could be compiled.

Every datagram is one call from Python, at about twice the processor time of `compiled_sockets`, with the interpreter lock
held and straight into the same arrays. `struct msghdr` is written as an array. Must not decide anything: what is asked and sent
is `linux_sockets`' matter.
"""

import ctypes
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.engine import Engine
from mediaworker.core.rows import Index
from mediaworker.io.linux_sockets import BATCH, SEND_FLAGS, SOCKADDR_BYTES, LinuxSockets, pointer

_CONTROL_BYTES: Final = 32
_RECEIVE_FLAGS: Final = 0x60
"""MSG_DONTWAIT; MSG_TRUNC: the length is the datagram's, also when it did not fit."""

_MSGHDR: Final = np.dtype(
    [
        ("name", "u8"), ("name_bytes", "u4"), ("_pad0", "u4"), ("parts", "u8"), ("part_count", "u8"),
        ("control", "u8"), ("control_bytes", "u8"), ("flags", "u4"), ("_pad1", "u4"),
    ]
)  # fmt: skip

_Parts = npt.NDArray[np.uint64]


def _headers(*data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], _Parts]:
    """A msghdr per row of the `data` arrays, whose parts follow each other; the second array is theirs and must live as long."""
    count = len(data[0])
    number = np.arange(count, dtype=np.uint64)
    parts = np.zeros((count, len(data), 2), np.uint64)
    for place, array in enumerate(data):
        parts[:, place, 0] = pointer(array) + number * array.strides[0]
        parts[:, place, 1] = array.shape[1]
    headers = np.zeros(count, _MSGHDR)
    headers["parts"] = pointer(parts) + number * parts.strides[0]
    headers["part_count"] = len(data)
    return headers, parts


class CtypesSockets(LinuxSockets):
    """Socket pairs by engine row."""

    def __init__(self, engine: Engine, host: str = "0.0.0.0", *, connect: bool = True) -> None:
        super().__init__(engine, host, connect=connect)
        for name in ("sendmsg", "recvmsg"):
            function = getattr(self._libc, name)
            function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
            function.restype = ctypes.c_ssize_t
        self._prepare_receive()
        self._prepare_send()

    def _prepare_receive(self) -> None:
        number = np.arange(BATCH, dtype=np.uint64)
        inbox = self._inbox
        self._names = np.zeros((BATCH, 2), np.uint64)
        self._control = np.zeros((BATCH, 4), np.int64)
        self._in, self._in_parts = _headers(inbox.shorts, inbox.rests)
        self._in["name"] = pointer(self._names) + number * SOCKADDR_BYTES
        self._in["control"] = pointer(self._control) + number * _CONTROL_BYTES
        self._in_at = (pointer(self._in) + np.arange(BATCH) * _MSGHDR.itemsize).tolist()

    def _prepare_send(self) -> None:
        self._out, self._out_parts = _headers(self._engine.packets)
        self._out_at = pointer(self._out) + np.arange(len(self._out)) * _MSGHDR.itemsize
        self._lists: list[tuple[list[int], list[int]]] = [([], [])] * self._engine.phases

    def _ask(self, rows: Index) -> Index:
        count, inbox = len(rows), self._inbox
        self._in["name_bytes"][:count] = SOCKADDR_BYTES
        self._in["control_bytes"][:count] = _CONTROL_BYTES
        fds = self._fd[rows].tolist()
        got = list(map(self._libc.recvmsg, fds, self._in_at, repeat(_RECEIVE_FLAGS, count)))
        lengths = np.array(got, np.int64)
        stamps = self._control[:count, 2] * 1_000_000_000 + self._control[:count, 3]
        if min(got) >= 0:
            inbox.lengths[:count], inbox.stamps[:count] = lengths, stamps
            inbox.sources[:count] = self._names[:count, 0]
            return rows
        some = np.flatnonzero(lengths >= 0)
        taken = len(some)
        inbox.lengths[:taken], inbox.stamps[:taken] = lengths[some], stamps[some]
        inbox.sources[:taken] = self._names[some, 0]
        inbox.shorts[:taken] = inbox.shorts[some]
        if np.count_nonzero(lengths > inbox.shorts.shape[1]):
            inbox.rests[:taken] = inbox.rests[some]
        return rows[some]

    def _listed(self, phase: int, rows: Index) -> None:
        to = pointer(self._engine.destinations) + rows.astype(np.uint64) * np.uint64(SOCKADDR_BYTES)
        connected = self._connected[rows] != 0
        self._out["name"][rows] = np.where(connected, 0, to)
        self._out["name_bytes"][rows] = np.where(connected, 0, SOCKADDR_BYTES)
        self._lists[phase] = (self._fd[rows].tolist(), self._out_at[rows].tolist())

    def _send_listed(self, phase: int) -> int:
        fds, headers = self._lists[phase]
        if not fds:
            return 0
        sent = list(map(self._libc.sendmsg, fds, headers, repeat(SEND_FLAGS, len(fds))))
        return sum(result < 0 for result in sent) if min(sent) < 0 else 0
