"""RTP sockets of all legs on Linux: which are looked at, when they are connected, what their datagrams become.

Every socket of a phase is asked once per drain, without epoll: nearly every caller has one packet waiting, and what
epoll costs (and the wake-ups it makes of every arrival) is more than asking the few that have none. Once is not enough for a caller
whose packets come unevenly, and asking twice costs a tenth of a packet's whole work: a socket is asked until it is empty
in the drains after one in which its packet was missing or it had two, all are every `RECHECK` drains and after a pause of
the host.

Datagrams are taken with the kernel's time of arrival, for jitter, and their source, for pinning. A socket is connected
once its leg's source is pinned and let go when it is unpinned: the kernel then drops strangers before they fill a buffer,
and sends cost an eighth less. The source is read all the same: what lay in the buffer before may be a stranger's.

How one datagram of each of many sockets is received and sent is the subclass's. It must keep the interpreter lock: with a
busy second thread, 500 sends through `socket.send` took 90 ms (every call lets the other thread in, which keeps the lock
for its switch interval), and 2.8 ms without letting go.
"""

import ctypes
import socket
import sys
import time
from abc import abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.address import host_of, port_of
from mediaworker.core.engine import Engine
from mediaworker.core.reporting.reports import RtcpPacket
from mediaworker.core.rows import Index
from mediaworker.io.socket_pairs import DATAGRAM_BYTES, MAX_ROUNDS, SocketPairs
from shared.units import NS_PER_MS, TICK_MS

BATCH: Final = 1_024
SHORT_BYTES: Final = 192
"""Three cache lines: 20 ms of G.711 and its header, with SRTP's tag. What is beyond goes to memory that plain calls never
touch: rows of `DATAGRAM_BYTES`, a power of two, would compete for a few lines of the cache."""
REST_BYTES: Final = DATAGRAM_BYTES - SHORT_BYTES
RECHECK: Final = 8
PAUSE_NS: Final = 3 * TICK_MS * NS_PER_MS // 2
SEND_FLAGS: Final = 0x4040
"""MSG_DONTWAIT and MSG_NOSIGNAL."""
SO_TIMESTAMPNS: Final = 35
SOCKADDR_BYTES: Final = 16


def supported() -> bool:
    """64-bit little-endian: structures of the system's are written as arrays."""
    return sys.platform == "linux" and sys.byteorder == "little" and sys.maxsize > 2**32


def c_library(path: str | None = None) -> Any:
    """A library whose functions are called with the interpreter lock held; without a path the C library."""
    return ctypes.PyDLL(path)


def pointer(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


class Inbox:
    """Room for `BATCH` datagrams, split into what every one has and what only long ones have."""

    def __init__(self) -> None:
        self.shorts = np.zeros((BATCH, SHORT_BYTES), np.uint8)
        self.rests = np.zeros((BATCH, REST_BYTES), np.uint8)
        self.sources = np.zeros(BATCH, np.uint64)
        self.stamps = np.zeros(BATCH, np.int64)
        self.lengths = np.zeros(BATCH, np.int64)

    def whole(self, some: Index) -> npt.NDArray[np.uint8]:
        """[M, DATAGRAM_BYTES] of long ones."""
        return np.concatenate([self.shorts[some], self.rests[some]], axis=1)


class LinuxSockets(SocketPairs):
    """`connect` off keeps sockets open to all sources (the engine checks them anyway)."""

    def __init__(self, engine: Engine, host: str = "0.0.0.0", *, connect: bool = True) -> None:
        super().__init__(engine, host)
        count = engine.rows.count
        self._connect = connect
        self._libc = c_library()
        self._libc.sendto.argtypes = [
            ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint,
        ]  # fmt: skip
        self._libc.sendto.restype = ctypes.c_ssize_t
        self._libc.connect.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]
        self._fd: npt.NDArray[np.int32] = np.full(count, -1, np.int32)
        self._connected: npt.NDArray[np.uint8] = np.zeros(count, np.uint8)
        self._open: list[Index] = [np.zeros(0, np.int64) for _ in range(engine.phases)]
        """Rows with a socket, by phase."""
        self._looks: npt.NDArray[np.int8] = np.zeros(count, np.int8)
        """Drains in which the row's socket is asked until it is empty."""
        self._answered: npt.NDArray[np.int64] = np.zeros(count, np.int64)
        """Number of the drain in which the row's socket last had something."""
        self._drains = 0
        self._drained_ns = [0] * engine.phases
        self._inbox = Inbox()
        self._versions = [-1] * engine.phases
        """Of the engine's lists that the subclass was told."""

    # --- what differs

    @abstractmethod
    def _ask(self, rows: Index) -> Index:
        """At most one datagram of each row (no more than `BATCH`) into the first places of the inbox; whose they are."""

    @abstractmethod
    def _listed(self, phase: int, rows: Index) -> None:
        """From now on these rows are sent for in a phase. Told anew when one of them is connected or let go."""

    @abstractmethod
    def _send_listed(self, phase: int) -> int:
        """The packet of every listed row; how many were not sent."""

    # --- a pair's life

    def _opened(self, row: int, rtp: socket.socket, /) -> None:
        rtp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._fd[row] = rtp.fileno()
        self._connected[row] = False
        self._looks[row] = RECHECK
        phase = self._engine.rows.phase_of(row)
        self._open[phase] = np.append(self._open[phase], row)
        self._versions[phase] = -1

    def _closing(self, row: int, _rtp: socket.socket, /) -> None:
        phase = self._engine.rows.phase_of(row)
        self._open[phase] = self._open[phase][self._open[phase] != row]
        self._fd[row] = -1
        self._versions[phase] = -1

    # --- in

    def drain(self, now_ns: int) -> None:
        phase = self._engine.next_phase
        rows = self._open[phase]
        if len(rows):
            self._drain_phase(phase, rows, now_ns)
        if phase == 0:
            self._drain_rtcp(now_ns)
        self._follow_pins()

    def _drain_phase(self, phase: int, rows: Index, now_ns: int) -> None:
        self._drains += 1
        paused = now_ns - self._drained_ns[phase] > PAUSE_NS
        self._drained_ns[phase] = now_ns
        offset_ns = time.time_ns() - now_ns
        again = self._round(rows, offset_ns)
        if len(again) < len(rows):
            self._answered[again] = self._drains
            self._looks[rows[self._answered[rows] != self._drains]] = RECHECK
        if not paused and self._drains // self._engine.phases % RECHECK:
            again = again[self._looks[again] > 0]
            self._looks[again] -= 1
        for _ in range(MAX_ROUNDS - 1):
            if not len(again):
                break
            again = self._round(again, offset_ns)
            self._looks[again] = RECHECK

    def _round(self, rows: Index, offset_ns: int) -> Index:
        """At most one datagram of every row; the rows that had one."""
        if len(rows) <= BATCH:
            answered = self._ask(rows)
            self._deliver(answered, offset_ns)
            return answered
        parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return np.concatenate([self._round(part, offset_ns) for part in parts])

    def _deliver(self, rows: Index, offset_ns: int) -> None:
        """What the inbox has for the rows becomes the engine's."""
        inbox, count = self._inbox, len(rows)
        if not count:
            return
        lengths, sources = inbox.lengths[:count], inbox.sources[:count]
        arrivals = inbox.stamps[:count] - offset_ns
        short = lengths <= SHORT_BYTES
        if np.count_nonzero(short) == count:
            self._engine.receive(rows, inbox.shorts[:count], lengths, sources, arrivals)
            return
        some = np.flatnonzero(short)
        self._engine.receive(rows[some], inbox.shorts[some], lengths[some], sources[some], arrivals[some])
        cut = int(np.count_nonzero(lengths > DATAGRAM_BYTES))
        if cut:
            self._engine.rejected["long"] += cut
        some = np.flatnonzero(~short & (lengths <= DATAGRAM_BYTES))
        self._engine.receive(rows[some], inbox.whole(some), lengths[some], sources[some], arrivals[some])

    # --- whom a socket hears

    def _follow_pins(self) -> None:
        for row in self._engine.take_moved():
            rtp = self._rtp.get(row)
            if rtp is None or not self._connect:
                continue
            self._versions[self._engine.rows.phase_of(row)] = -1
            source = int(self._engine.rows.source[row])
            if source:
                self._pin(row, rtp, source)
            else:
                self._dissolve(row, rtp)

    def _pin(self, row: int, rtp: socket.socket, source: int) -> None:
        try:
            rtp.connect((host_of(source), port_of(source)))
        except OSError:
            self._engine.send_errors += 1
        else:
            self._connected[row] = True

    def _dissolve(self, row: int, rtp: socket.socket) -> None:
        """Open to other sources again: connect to AF_UNSPEC keeps the bound port."""
        nobody = ctypes.create_string_buffer(SOCKADDR_BYTES)
        self._libc.connect(rtp.fileno(), nobody, SOCKADDR_BYTES)
        self._connected[row] = False

    # --- out

    def flush(self) -> None:
        engine = self._engine
        phase = engine.last_phase
        version = engine.sending_version(phase)
        if self._versions[phase] != version:
            rows = engine.sending(phase)
            self._listed(phase, rows[self._fd[rows] >= 0])
            self._versions[phase] = version
        engine.send_errors += self._send_listed(phase)
        for packet in engine.loose():
            self._send_loose(packet.row, packet.data)
        self._flush_rtcp()

    def _send_loose(self, row: int, data: bytes) -> None:
        fd = int(self._fd[row])
        if fd < 0:
            return
        to = 0 if self._connected[row] else pointer(self._engine.destinations) + row * SOCKADDR_BYTES
        size = SOCKADDR_BYTES if to else 0
        sent = self._libc.sendto(fd, data, len(data), SEND_FLAGS, to or None, size)
        self._engine.send_errors += sent < 0

    def _send_rtcp(self, rtcp: socket.socket, packet: RtcpPacket) -> None:
        to = packet.to.to_bytes(SOCKADDR_BYTES, "little")
        sent = self._libc.sendto(rtcp.fileno(), packet.data, len(packet.data), SEND_FLAGS, to, SOCKADDR_BYTES)
        self._engine.send_errors += sent < 0
