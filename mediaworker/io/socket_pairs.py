"""The bound RTP and RTCP socket pairs of all legs, and the RTCP side, which is rare enough for ordinary calls.

How RTP is received and sent is the subclass's: `compiled_sockets`, `ctypes_sockets` or `portable_sockets`; `sockets` chooses. Ports
are bound when they are reserved, without SO_REUSEADDR, so a stranger's socket is an error and not a thief.
"""

import selectors
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from typing import Final

from mediaworker.core.address import address_key, host_of, port_of
from mediaworker.core.engine import Engine
from mediaworker.core.reporting.reports import RtcpPacket
from shared.errors import Refused
from shared.units import NS_PER_S

DATAGRAM_BYTES: Final = 2_048
"""Room for what a network carries unfragmented: 60 ms of 16 kHz linear PCM, the longest packet of Opus."""
MAX_ROUNDS: Final = 16
"""Datagrams taken from one socket in one drain; the rest waits for the next."""
RTCP_BYTES: Final = 1_500
RTCP_BATCH: Final = 64
_SO_TIMESTAMPNS: Final = 35 if sys.platform == "linux" and sys.maxsize > 2**32 else 0
_TIMESPEC: Final = struct.Struct("@qq")


class SocketPairs(ABC):
    """Socket pairs by engine row."""

    def __init__(self, engine: Engine, host: str) -> None:
        self._engine = engine
        self._host = host
        self._rtp: dict[int, socket.socket] = {}
        self._rtcp: dict[int, socket.socket] = {}
        self._rtcp_ready = selectors.DefaultSelector()

    def __len__(self) -> int:
        return len(self._rtp)

    # --- what differs

    @abstractmethod
    def drain(self, now_ns: int) -> None:
        """Takes what waits for the phase that the next tick serves. `now_ns` is the engine's clock."""

    @abstractmethod
    def flush(self) -> None:
        """Sends what the last tick prepared."""

    @abstractmethod
    def _opened(self, row: int, rtp: socket.socket, /) -> None:
        """A row got its socket."""

    @abstractmethod
    def _closing(self, row: int, rtp: socket.socket, /) -> None:
        """A row's socket is about to be closed."""

    # --- a pair's life

    def bind_pair(self, port: int, row: int) -> None:
        """Binds RTP `port` and RTCP `port` + 1 for a row; raises Refused: "port_busy" when a stranger has one, "full"."""
        rtp = self._bound(port)
        try:
            rtcp = self._bound(port + 1)
        except Refused:
            rtp.close()
            raise
        self._rtp[row], self._rtcp[row] = rtp, rtcp
        if _SO_TIMESTAMPNS:
            # A round trip is measured from the kernel's time of arrival, not from the next look at the socket.
            rtcp.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._rtcp_ready.register(rtcp, selectors.EVENT_READ, row)
        self._opened(row, rtp)

    def close(self, row: int) -> None:
        """Closes a row's pair, its last RTCP packet sent before. After `Engine.close`; a row without one is fine."""
        rtp, rtcp = self._rtp.pop(row, None), self._rtcp.pop(row, None)
        if rtp is None or rtcp is None:
            return
        for packet in self._engine.rtcp_out_of(row):
            self._send_rtcp(rtp if packet.mux else rtcp, packet)
        self._closing(row, rtp)
        self._rtcp_ready.unregister(rtcp)
        rtp.close()
        rtcp.close()

    def close_all(self) -> None:
        for row in list(self._rtp):
            self.close(row)
        self._rtcp_ready.close()

    def _bound(self, port: int) -> socket.socket:
        try:
            bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:  # no file descriptor is left: the port is not at fault
            raise Refused("full", str(error)) from error
        bound.settimeout(0)
        try:
            bound.bind((self._host, port))
        except OSError as error:
            bound.close()
            raise Refused("port_busy", f"{self._host}:{port}: {error}") from error
        return bound

    # --- RTCP

    def _drain_rtcp(self, now_ns: int) -> None:
        for ready, _ in self._rtcp_ready.select(0)[:RTCP_BATCH]:
            row = int(ready.data)
            try:
                data, extras, _, (host, port) = self._rtcp[row].recvmsg(RTCP_BYTES, _TIMESPEC.size + 16)
            except OSError:
                continue  # the peer has no RTCP port, or the packet was damaged on the way
            arrived_ns = now_ns
            for _, kind, stamp in extras:
                if kind == _SO_TIMESTAMPNS and len(stamp) == _TIMESPEC.size:
                    seconds, rest = _TIMESPEC.unpack(stamp)
                    arrived_ns = seconds * NS_PER_S + rest - (time.time_ns() - time.monotonic_ns())
            self._engine.receive_rtcp(row, data, address_key(host, port), arrived_ns)

    def _flush_rtcp(self) -> None:
        for packet in self._engine.rtcp_out(time.monotonic_ns()):
            sockets = self._rtp if packet.mux else self._rtcp
            if packet.row in sockets:
                self._send_rtcp(sockets[packet.row], packet)

    def _send_rtcp(self, rtcp: socket.socket, packet: RtcpPacket) -> None:
        try:
            rtcp.sendto(packet.data, (host_of(packet.to), port_of(packet.to)))
        except OSError:
            self._engine.send_errors += 1
