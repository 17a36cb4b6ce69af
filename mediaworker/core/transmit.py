"""From samples to the packets of a tick: one RTP stream per leg, continuous in sequence and time.

A started leg that sends gets a packet every tick, silence included, so that NATs stay open and the peer's clock has
something to follow. The timestamp counts also while a leg is held; the marker says that sound begins again (RFC 3551
section 4.1). Must not send: the shell takes `packets`, `to` and the list of rows.
"""

import numpy as np
import numpy.typing as npt

from mediaworker.core.g711 import A_LAW, MU_LAW, Octets
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index, Mask, Rows
from mediaworker.core.rtp import FIRST_OCTET, HEADER_BYTES, PLAIN_BYTES
from shared.units import FRAME_SAMPLES

MARKER = 0x80


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
        self.versions = [0] * rows.phases
        """Rises when the list of sending rows of a phase changes."""
        self.sent = 0

    def open(self, row: int, payload_type: int) -> None:
        seq, time, ssrc = self._random.integers(0, 1 << 32, 3, dtype=np.uint32)
        rows = self._rows
        rows.out_seq[row] = seq & 0xFFFF
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
        for row in [row for row in self._to_mark if rows.phase_of(row) == phase and rows.sends[row]]:
            self.packets[row, 1] |= MARKER
            self._marked.add(row)
            self._to_mark.remove(row)

    def changed(self, phase: int) -> None:
        """A leg of the phase began or ceased to send."""
        span = self._rows.span(phase)
        sending = self._rows.started[span] & self._rows.sends[span]
        self._lists[phase] = np.flatnonzero(sending) + span.start
        self.versions[phase] += 1

    def sending(self, phase: int) -> Index:
        return self._lists[phase]

    def close(self, row: int) -> None:
        self._to_mark.discard(row)
        self._marked.discard(row)

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
        rows.out_time[span] += np.uint32(FRAME_SAMPLES)
        sending = self._lists[phase]
        if len(sending) == span.stop - span.start:
            rows.out_seq[span] += np.uint16(1)
            rows.packets_out[span] += 1
        else:
            rows.out_seq[sending] += np.uint16(1)
            rows.packets_out[sending] += 1
        self.sent += len(sending)
