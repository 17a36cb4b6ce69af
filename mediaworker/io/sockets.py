"""RTP of all legs drained into the engine and fed from it, on Linux.

All calls of the tick go to the C library without letting go of the interpreter lock: with a busy second thread, 500
sends through `socket.send` took 90 ms (every call lets the other thread in, which keeps the lock for its switch
interval), and 2.8 ms this way. Datagrams come with the kernel's receive time, for jitter, and their source, for
pinning, written straight into arrays. A socket is connected once its leg's source is pinned and let go when it is
unpinned: the kernel then drops strangers before they fill a buffer, and sends cost 12 % less.

Linux on 64-bit little-endian machines (`struct msghdr` is written as an array); elsewhere `open_sockets` gives the portable
ones.
"""

import ctypes
import platform
import select
import socket
import sys
import time
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.address import host_of, port_of
from mediaworker.core.engine import Engine
from mediaworker.io.portable_sockets import PortableSockets
from mediaworker.io.socket_pairs import DATAGRAM_BYTES, SocketPairs

BATCH: Final = 512
MAX_ROUNDS: Final = 16
"""Datagrams taken from one socket in one drain; the rest waits for the next."""
_SO_TIMESTAMPNS: Final = 35
_MSG_DONTWAIT: Final = 0x40
_MSG_NOSIGNAL: Final = 0x4000
_MSG_TRUNC: Final = 0x20
_SOCKADDR_BYTES: Final = 16
_CONTROL_BYTES: Final = 32
_RECHECK: Final = 8
"""Looking twice at every socket costs a fifth of the drain: done when there was a reason, and every so often."""

_MSGHDR: Final = np.dtype(
    [
        ("name", "u8"), ("name_bytes", "u4"), ("_pad0", "u4"), ("parts", "u8"), ("part_count", "u8"),
        ("control", "u8"), ("control_bytes", "u8"), ("flags", "u4"), ("_pad1", "u4"),
    ]
)  # fmt: skip
# The kernel packs the structure on x86-64 only.
_EPOLL_EVENT: Final = np.dtype(
    {"names": ["events", "fd"], "formats": ["u4", "i4"], "offsets": [0, 4], "itemsize": 12}
    if platform.machine() in {"x86_64", "AMD64"}
    else {"names": ["events", "fd"], "formats": ["u4", "i4"], "offsets": [0, 8], "itemsize": 16}
)


def _library() -> Any:
    """The C library, called with the interpreter lock held."""
    library = ctypes.PyDLL(None)
    for name in ("sendmsg", "recvmsg"):
        function = getattr(library, name)
        function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        function.restype = ctypes.c_ssize_t
    library.epoll_wait.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    library.connect.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]
    return library


def _address_of(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _headers(count: int, data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """`count` msghdr records, each over one row of `data`; the second array is theirs and must live as long."""
    number = np.arange(count, dtype=np.uint64)
    parts = np.zeros((count, 2), np.uint64)
    parts[:, 0] = _address_of(data) + number * data.strides[0]
    parts[:, 1] = data.shape[1]
    headers = np.zeros(count, _MSGHDR)
    headers["parts"] = _address_of(parts) + number * 16
    headers["part_count"] = 1
    return headers, parts


def open_sockets(engine: Engine, host: str) -> SocketPairs:
    """The best sockets that this machine has."""
    fits = sys.platform == "linux" and sys.byteorder == "little" and sys.maxsize > 2**32
    return MediaSockets(engine, host) if fits else PortableSockets(engine, host)


class MediaSockets(SocketPairs):
    """Socket pairs by engine row. `connect` off keeps them open to all sources (the engine checks them anyway)."""

    def __init__(self, engine: Engine, host: str = "0.0.0.0", *, connect: bool = True) -> None:
        super().__init__(engine, host)
        self._connect = connect
        self._c = _library()
        self._epolls = [select.epoll() for _ in range(engine.phases)]
        self._row_of: npt.NDArray[np.int64] = np.full(1_024, -1, np.int64)
        """By file descriptor."""
        self._fd_of: npt.NDArray[np.int64] = np.full(engine.rows.count, -1, np.int64)
        self._hungry = [_RECHECK] * engine.phases
        """Drains of a phase in which sockets are looked at again: after one in which someone's packet was missing."""
        self._drains = [0] * engine.phases
        self._prepare_receive()
        self._prepare_send()

    def _prepare_receive(self) -> None:
        number = np.arange(BATCH, dtype=np.uint64)
        self._data = np.zeros((BATCH, DATAGRAM_BYTES), np.uint8)
        self._names = np.zeros((BATCH, 2), np.uint64)
        self._control = np.zeros((BATCH, 4), np.int64)
        self._in, self._in_parts = _headers(BATCH, self._data)
        self._in["name"] = _address_of(self._names) + number * _SOCKADDR_BYTES
        self._in["control"] = _address_of(self._control) + number * _CONTROL_BYTES
        self._in_at = (_address_of(self._in) + np.arange(BATCH) * _MSGHDR.itemsize).tolist()
        self._events = np.zeros(BATCH, _EPOLL_EVENT)

    def _prepare_send(self) -> None:
        engine = self._engine
        count = engine.rows.count
        self._out, self._out_parts = _headers(count, engine.packets)
        self._out["name"] = (
            _address_of(engine.destinations) + np.arange(count, dtype=np.uint64) * _SOCKADDR_BYTES
        )
        self._out["name_bytes"] = _SOCKADDR_BYTES
        self._out_at = _address_of(self._out) + np.arange(count) * _MSGHDR.itemsize
        self._lists: list[tuple[int, list[int], list[int]]] = [(-1, [], [])] * engine.phases

    def _opened(self, row: int, rtp: socket.socket, /) -> None:
        rtp.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        fd = rtp.fileno()
        if fd >= len(self._row_of):
            self._row_of = np.concatenate([self._row_of, np.full(fd + 1, -1, np.int64)])
        self._row_of[fd] = row
        self._fd_of[row] = fd
        self._address(row)
        self._epolls[self._phase_of(row)].register(fd, select.EPOLLIN)
        self._forget_lists(row)

    def _closing(self, row: int, rtp: socket.socket, /) -> None:
        self._row_of[rtp.fileno()] = -1
        self._fd_of[row] = -1
        self._forget_lists(row)

    def close_all(self) -> None:
        super().close_all()
        for epoll in self._epolls:
            epoll.close()

    def _phase_of(self, row: int) -> int:
        return self._engine.rows.phase_of(row)

    def _forget_lists(self, row: int) -> None:
        self._lists[self._phase_of(row)] = (-1, [], [])

    # --- in

    def drain(self, now_ns: int) -> None:
        """Takes what waits for the phase that the next tick serves. `now_ns` is the engine's clock."""
        phase = self._engine.next_phase
        offset = time.time_ns() - now_ns
        if not self._engine.rows.live[phase]:
            return
        taken = self._drain_round(phase, offset)
        self._drains[phase] += 1
        if taken < self._engine.rows.live[phase]:
            self._hungry[phase] = _RECHECK
        elif self._drains[phase] % _RECHECK == 0:
            self._hungry[phase] = max(self._hungry[phase], 1)
        for _ in range(MAX_ROUNDS if self._hungry[phase] else 0):
            if not self._drain_round(phase, offset):
                break
        self._hungry[phase] = max(0, self._hungry[phase] - 1)
        if phase == 0:
            self._drain_rtcp(now_ns)
        self._connect_pinned()

    def _drain_round(self, phase: int, offset_ns: int) -> int:
        """At most one datagram of every socket of the phase; how many came."""
        total = 0
        for _ in range(0, self._engine.rows.live[phase], BATCH):
            count = self._c.epoll_wait(self._epolls[phase].fileno(), _address_of(self._events), BATCH, 0)
            if count <= 0:
                break
            self._receive(self._events["fd"][:count], offset_ns)
            total += count
            if count < BATCH:
                break
        return total

    def _receive(self, fds: npt.NDArray[np.int32], offset_ns: int) -> None:
        count = len(fds)
        self._in["name_bytes"][:count] = _SOCKADDR_BYTES
        self._in["control_bytes"][:count] = _CONTROL_BYTES
        got = list(map(self._c.recvmsg, fds.tolist(), self._in_at, repeat(_MSG_DONTWAIT, count)))
        lengths = np.array(got, np.int64)
        stamps = self._control[:count]
        arrivals = stamps[:, 2] * 1_000_000_000 + stamps[:, 3] - offset_ns
        rows, data, names = self._row_of[fds], self._data[:count], self._names[:count, 0]
        good = (lengths >= 0) & (rows >= 0)
        cut = (self._in["flags"][:count] & _MSG_TRUNC) != 0
        if np.count_nonzero(cut):
            self._engine.rejected["long"] += int(np.count_nonzero(cut & good))
            good &= ~cut
        if np.count_nonzero(good) < len(good):
            keep = np.flatnonzero(good)
            rows, data, lengths = rows[keep], data[keep], lengths[keep]
            names, arrivals = names[keep], arrivals[keep]
        self._engine.receive(rows, data, lengths, names, arrivals)

    def _connect_pinned(self) -> None:
        for row in self._engine.take_moved():
            rtp = self._rtp.get(row)
            if rtp is None or not self._connect:
                continue
            source = int(self._engine.rows.source[row])
            if source:
                try:
                    rtp.connect((host_of(source), port_of(source)))
                except OSError:
                    self._engine.send_errors += 1
                    continue
                self._out["name"][row] = 0
                self._out["name_bytes"][row] = 0
            else:
                self._dissolve(row, rtp)

    def _dissolve(self, row: int, rtp: socket.socket) -> None:
        """Open to other sources again: connect to AF_UNSPEC keeps the bound port."""
        nobody = ctypes.create_string_buffer(_SOCKADDR_BYTES)
        self._c.connect(rtp.fileno(), nobody, _SOCKADDR_BYTES)
        self._address(row)

    def _address(self, row: int) -> None:
        """The row's packets carry their destination: the socket is not connected."""
        self._out["name"][row] = _address_of(self._engine.destinations) + row * _SOCKADDR_BYTES
        self._out["name_bytes"][row] = _SOCKADDR_BYTES

    # --- out

    def flush(self) -> None:
        """Sends what the last tick prepared."""
        engine = self._engine
        phase = engine.last_phase
        version = engine.sending_version(phase)
        known, fds, headers = self._lists[phase]
        if known != version:
            rows = engine.sending(phase)
            rows = rows[self._fd_of[rows] >= 0]
            fds, headers = self._fd_of[rows].tolist(), self._out_at[rows].tolist()
            self._lists[phase] = (version, fds, headers)
        if fds:
            flags = repeat(_MSG_DONTWAIT | _MSG_NOSIGNAL, len(fds))
            sent = list(map(self._c.sendmsg, fds, headers, flags))
            if min(sent) < 0:
                engine.send_errors += sum(result < 0 for result in sent)
        self._flush_rtcp()
