"""RTP through ordinary socket calls: what runs where `linux_sockets` do not (macOS, other byte orders).

Good for a laptop's calls, not for a node's: every call lets go of the interpreter lock (see `linux_sockets`). Sockets stay open
to all sources, the engine checks them; arrival times are those of the drain, so jitter below a slot is not seen.
"""

import socket

import numpy as np

from mediaworker.core.address import address_key, host_of, port_of
from mediaworker.core.engine import Engine
from mediaworker.io.socket_pairs import DATAGRAM_BYTES, MAX_ROUNDS, SocketPairs


class PortableSockets(SocketPairs):
    """Socket pairs by engine row."""

    def __init__(self, engine: Engine, host: str = "0.0.0.0") -> None:
        super().__init__(engine, host)
        self._rows_of: list[list[int]] = [[] for _ in range(engine.phases)]

    def drain(self, now_ns: int) -> None:
        phase = self._engine.next_phase
        for row in self._rows_of[phase]:
            self._drain_row(row, now_ns)
        if phase == 0:
            self._drain_rtcp(now_ns)
        self._engine.take_moved()

    def flush(self) -> None:
        for row in self._engine.sending(self._engine.last_phase).tolist():
            rtp = self._rtp.get(row)
            if rtp is not None:
                self._send(row, rtp, self._engine.packets[row].tobytes())
        for packet in self._engine.loose():
            rtp = self._rtp.get(packet.row)
            if rtp is not None:
                self._send(packet.row, rtp, packet.data)
        self._flush_rtcp()

    def _opened(self, row: int, _rtp: socket.socket, /) -> None:
        self._rows_of[self._engine.rows.phase_of(row)].append(row)

    def _closing(self, row: int, _rtp: socket.socket, /) -> None:
        self._rows_of[self._engine.rows.phase_of(row)].remove(row)

    def _drain_row(self, row: int, now_ns: int) -> None:
        for _ in range(MAX_ROUNDS):
            try:
                data, (host, port) = self._rtp[row].recvfrom(DATAGRAM_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier send
            if len(data) > DATAGRAM_BYTES:
                self._engine.rejected["long"] += 1
                continue
            self._receive(row, data, address_key(host, port), now_ns)

    def _receive(self, row: int, data: bytes, source: int, now_ns: int) -> None:
        datagram = np.zeros((1, DATAGRAM_BYTES), np.uint8)
        datagram[0, : len(data)] = np.frombuffer(data, np.uint8)
        self._engine.receive(
            np.array([row], np.int64), datagram, np.array([len(data)], np.int64), np.array([source], np.uint64),
            np.array([now_ns], np.int64),
        )  # fmt: skip

    def _send(self, row: int, rtp: socket.socket, data: bytes) -> None:
        key = int(self._engine.destinations[row, 0])
        try:
            rtp.sendto(data, (host_of(key), port_of(key)))
        except OSError:
            self._engine.send_errors += 1
