"""From samples to the packets of a tick: one RTP stream per leg, continuous in sequence and time.

A started leg that sends gets a packet every tick, silence included, so that NATs stay open and the peer's clock has
something to follow. The timestamp counts also while a leg is held; the marker says that sound begins again (RFC 3551
section 4.1).

Plain rows (G.711, 20 ms, no keys, no comfort noise) are one array. Everything else is a loose packet: `write` gives it
the row's sequence number, SSRC and clock, and its seal (SRTP) where the row has one. Must not send: the shell takes
`packets`, `to`, the list of rows and the loose packets.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core.g711 import A_LAW, MU_LAW, Octets
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index, Mask, Rows
from mediaworker.core.rtp import FIRST_OCTET, HEADER_BYTES, PLAIN_BYTES
from shared.units import FRAME_SAMPLES

MARKER: Final = 0x80
_HEADER: Final = struct.Struct("!BBHII")

Seal = Callable[[bytes], bytes]
"""Protects one RTP packet, header included; what it gives is sent instead."""


class LoosePacket(NamedTuple):
    """A packet that is not in the array, for the RTP destination of its row."""

    row: int
    data: bytes


class Transmitter:
    """Outgoing packets [L, 172], one row per leg."""

    def __init__(self, rows: Rows, random: np.random.Generator) -> None:
        self._rows = rows
        self._random = random
        self.packets: Octets = np.zeros((rows.count, PLAIN_BYTES), np.uint8)
        self.to: npt.NDArray[np.uint64] = np.zeros((rows.count, 2), np.uint64)
        """[L, 2] where to, as `sockaddr_in`."""
        self._halves = self.packets.view(">u2")
        self._words = self.packets.view(">u4")
        self._payload = self.packets[:, HEADER_BYTES:]
        self._encoded: Octets = np.zeros((rows.block, FRAME_SAMPLES), np.uint8)
        self._to_mark: set[int] = set()
        self._marked: set[int] = set()
        self._sounding: Mask = np.zeros(rows.count, np.bool_)
        self._lists: list[Index] = [np.zeros(0, np.int64) for _ in range(rows.phases)]
        self.loose_rows: list[list[int]] = [[] for _ in range(rows.phases)]
        """Sending rows of a phase whose audio goes out as loose packets; those taken (`take_over`) left out."""
        self._clocked = [False] * rows.phases
        """Whether a row of the phase has another clock than 160 units in 20 ms."""
        self._plain: Mask = np.ones(rows.count, np.bool_)
        self._seals: dict[int, Seal] = {}
        self._sealed: Mask = np.zeros(rows.count, np.bool_)
        self._taken: Mask = np.zeros(rows.count, np.bool_)
        self._loose: list[LoosePacket] = []
        self.versions = [0] * rows.phases
        """Rises when the list of sending rows of a phase changes."""
        self.sent = 0

    def open(self, row: int, payload_type: int) -> None:
        seq, time, ssrc = self._random.integers(0, 1 << 32, 3, dtype=np.uint32)
        rows = self._rows
        # In the lower half: the first wrap comes when both ends of an SRTP stream have seen a packet (RFC 3711 section 3.3.1).
        rows.out_seq[row] = seq & 0x7FFF
        rows.out_time[row] = time
        rows.out_ssrc[row] = ssrc
        self.packets[row, 0] = FIRST_OCTET
        self._words[row, 2] = ssrc
        self.retype(row, payload_type)

    def retype(self, row: int, payload_type: int) -> None:
        """Another payload type or law, from the next packet on."""
        self.packets[row, 1] = payload_type
        self._payload[row] = A_LAW.silence if self._rows.alaw[row] else MU_LAW.silence
        self._rows.sent_pcm[row] = 0
        self._sounding[row] = False

    def mark(self, row: int) -> None:
        """The next packet of the row begins a talkspurt."""
        self._to_mark.add(row)

    def _set_marks(self, phase: int) -> None:
        """Marks what is to be marked, unmarks what went out marked in the tick before."""
        rows = self._rows
        for row in [row for row in self._marked if rows.phase_of(row) == phase]:
            self.packets[row, 1] &= ~MARKER & 0xFF
            self._marked.remove(row)
        plain = self._plain
        due = [row for row in self._to_mark if rows.phase_of(row) == phase and rows.sends[row] and plain[row]]
        for row in due:
            self.packets[row, 1] |= MARKER
            self._marked.add(row)
            self._to_mark.remove(row)

    def changed(self, phase: int) -> None:
        """A leg of the phase began or ceased to send, or sends in another way."""
        rows = self._rows
        span = rows.span(phase)
        sending = rows.started[span] & rows.sends[span]
        taken = self._taken[span]
        plain = ~(rows.loose[span] | self._sealed[span] | taken)
        self._plain[span] = plain
        self._lists[phase] = np.flatnonzero(sending & plain) + span.start
        self.loose_rows[phase] = (np.flatnonzero(sending & ~plain & ~taken) + span.start).tolist()
        self._clocked[phase] = bool(np.any(rows.opened[span] & (rows.clock[span] != FRAME_SAMPLES)))
        self.versions[phase] += 1

    def sending(self, phase: int) -> Index:
        return self._lists[phase]

    def close(self, row: int) -> None:
        self._to_mark.discard(row)
        self._marked.discard(row)
        self._taken[row] = self._sealed[row] = False
        self._seals.pop(row, None)

    # --- loose packets

    def seal(self, row: int, seal: Seal | None) -> None:
        """Every packet of the row goes through `seal` from now on; None ends that."""
        self._sealed[row] = seal is not None
        if seal is None:
            self._seals.pop(row, None)
        else:
            self._seals[row] = seal
        self.changed(self._rows.phase_of(row))

    def take_over(self, row: int) -> None:
        """The row's audio is left out until `hand_back`: whoever took it writes its packets (a key press)."""
        self._taken[row] = True
        self.changed(self._rows.phase_of(row))

    def hand_back(self, row: int) -> None:
        """Audio again, from the next tick on; `mark` says whether it begins a talkspurt."""
        self._taken[row] = False
        self.changed(self._rows.phase_of(row))

    def taken_over(self, row: int) -> bool:
        return bool(self._taken[row])

    def write(
        self,
        row: int,
        payload: bytes,
        *,
        payload_type: int | None = None,
        timestamp: int | None = None,
        marker: bool = False,
    ) -> None:
        """One loose packet, the next of the row's stream.

        Without `payload_type` it is the leg's audio, which also takes the marker that waits for it. Without `timestamp`
        it has the time of this tick's 20 ms: `rows.out_time`, which counts on in `stamp`, at the end of the tick.
        """
        rows = self._rows
        if payload_type is None:
            payload_type = int(rows.first_word[row]) >> 8 & 0x7F
            if row in self._to_mark:
                self._to_mark.remove(row)
                marker = True
        seq = int(rows.out_seq[row])
        time = int(rows.out_time[row]) if timestamp is None else timestamp & 0xFFFF_FFFF
        second = payload_type | MARKER if marker else payload_type
        data = _HEADER.pack(FIRST_OCTET, second, seq, time, int(rows.out_ssrc[row])) + payload
        rows.out_seq[row] = (seq + 1) & 0xFFFF
        if self._sealed[row]:
            data = self._seals[row](data)
            if not data:  # the number is spent all the same: a seal takes each only once
                return
        rows.packets_out[row] += 1
        rows.loose_packets[row] += 1
        rows.loose_octets[row] += len(payload)
        self.sent += 1
        self._loose.append(LoosePacket(row, data))

    def take_loose(self) -> list[LoosePacket]:
        loose, self._loose = self._loose, []
        return loose

    def octets(self, row: int) -> Octets:
        """The G.711 octets of this tick, for rows that send them as loose packets."""
        octets: Octets = self._payload[row]
        return octets

    def sounding(self, row: int) -> bool:
        """Whether something is played to the row in this tick."""
        return bool(self._sounding[row])

    # --- per tick

    def encode(self, span: slice, sound: Mask) -> None:
        """Payloads of the span's rows from `sent_pcm`; `sound` says which rows have any this tick."""
        if np.count_nonzero(sound) == len(sound):
            self._encode_all(span)
            self._sounding[span] = True
            return
        fell_silent = np.flatnonzero(self._sounding[span] & ~sound) + span.start
        if fell_silent.size:
            self._rows.sent_pcm[fell_silent] = 0
            silence = np.where(self._rows.alaw[fell_silent], A_LAW.silence, MU_LAW.silence)
            self._payload[fell_silent] = silence.astype(np.uint8)[:, None]
        self._sounding[span] = sound
        some = np.flatnonzero(sound) + span.start
        if some.size:
            self._encode_some(some)

    def _encode_all(self, span: slice) -> None:
        pcm: Samples = self._rows.sent_pcm[span]
        out = self._encoded[: len(pcm)]
        alaw = self._rows.alaw[span]
        MU_LAW.encode(pcm, out)
        if np.count_nonzero(alaw):
            out[alaw] = A_LAW.encoder[pcm[alaw].view(np.uint16)]
        self._payload[span] = out

    def _encode_some(self, some: Index) -> None:
        pcm = self._rows.sent_pcm[some]
        out = MU_LAW.encoder[pcm.view(np.uint16)]
        alaw = self._rows.alaw[some]
        if np.count_nonzero(alaw):
            out[alaw] = A_LAW.encoder[pcm[alaw].view(np.uint16)]
        self._payload[some] = out

    def stamp(self, phase: int, span: slice) -> None:
        """Sequence numbers, timestamps and markers of this tick's packets."""
        rows = self._rows
        if self._to_mark or self._marked:
            self._set_marks(phase)
        self._halves[span, 1] = rows.out_seq[span]
        self._words[span, 1] = rows.out_time[span]
        if self._clocked[phase]:
            rows.out_time[span] += rows.clock[span].astype(np.uint32)
        else:
            rows.out_time[span] += np.uint32(FRAME_SAMPLES)
        sending = self._lists[phase]
        if len(sending) == span.stop - span.start:
            rows.out_seq[span] += np.uint16(1)
            rows.packets_out[span] += 1
        else:
            rows.out_seq[sending] += np.uint16(1)
            rows.packets_out[sending] += 1
        self.sent += len(sending)
