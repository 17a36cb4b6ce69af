"""What legs send that do not fit the array of plain packets: other codecs, other packet times, comfort noise, SRTP.

A leg's 20 ms of each tick are cut or gathered into packets of its ptime (RFC 3551 section 4.2 lets it be any multiple
of a frame; ours are 10 to 60 ms), counted in halves of a tick, so that every packet has the timestamp of its first
sample. Must not touch plain rows: a tick without loose rows costs one test.
"""

from typing import Final

from mediaworker.core.rows import Rows
from mediaworker.core.transmit import Transmitter
from shared.contracts import MediaFormat
from shared.units import TICK_MS

PIECE_MS: Final = TICK_MS // 2
"""The shortest packet; every other is so many of it."""
PIECES: Final = 2
"""Of one tick."""
G711_OCTETS: Final = 80
"""Of one piece."""


class _Packer:
    """G.711 octets of one row, cut into packets."""

    __slots__ = ("_pieces", "pending")

    def __init__(self, ptime_ms: int) -> None:
        self._pieces = max(1, ptime_ms // PIECE_MS)
        self.pending = b""

    def add(self, octets: bytes) -> list[bytes]:
        """The packets that are full with these 20 ms."""
        data = self.pending + octets
        size = self._pieces * G711_OCTETS
        full = len(data) // size * size
        self.pending = data[full:]
        return [data[start : start + size] for start in range(0, full, size)]


class LooseLegs:
    """Sends the loose rows of one phase per call."""

    def __init__(self, rows: Rows, transmitter: Transmitter) -> None:
        self._rows = rows
        self._transmitter = transmitter
        self._packers: dict[int, _Packer] = {}

    def set_format(self, row: int, wanted: MediaFormat) -> None:
        """From the next tick on; the caller says `changed` to the transmitter."""
        self._packers.pop(row, None)
        self._rows.loose[row] = wanted.ptime_ms != TICK_MS
        if self._rows.loose[row]:
            self._packers[row] = _Packer(wanted.ptime_ms)

    def close(self, row: int) -> None:
        self._packers.pop(row, None)

    def send(self, phase: int) -> None:
        """Writes this tick's packets, before `stamp`: `out_time` is the time of this tick's first sample."""
        transmitter = self._transmitter
        for row in transmitter.loose_rows[phase]:
            packer = self._packers.get(row)
            if packer is None:
                transmitter.write(row, transmitter.payload(row))
            else:
                self._pack(row, packer)

    def _pack(self, row: int, packer: _Packer) -> None:
        time = int(self._rows.out_time[row]) - len(packer.pending)
        for payload in packer.add(self._transmitter.payload(row)):
            self._transmitter.write(row, payload, timestamp=time)
            time += len(payload)
