"""From datagrams to the jitter rings: whose packet it is, what it is, where it belongs.

A batch holds at most one packet per row. A plain packet of the pinned source is recognised by five vector comparisons;
only the others are looked at closely. Sources are checked as DESIGN I8 demands: the negotiated address or a media
network, then address and SSRC are pinned (`sources.py`); what has keys loses its protection first (`srtp.py`).
Must not play or send.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core import quality, rtp, sequence
from mediaworker.core.address import Network
from mediaworker.core.dtmf import DtmfReceiver
from mediaworker.core.g711 import Octets
from mediaworker.core.jitter import JitterRing
from mediaworker.core.rows import UNSET, Index, Ints, Mask, Rows
from mediaworker.core.sources import Sources
from mediaworker.core.srtp import SrtpLegs
from shared.units import FRAME_SAMPLES

COMFORT_NOISE = 13
"""RFC 3389: counted, not played."""


class _Batch(NamedTuple):
    """N packets, one per row."""

    at: Index
    packets: Octets
    lengths: Ints
    sources: npt.NDArray[np.uint64]
    arrivals: Ints

    def only(self, keep: Mask | Index) -> "_Batch":
        return _Batch(
            self.at[keep], self.packets[keep], self.lengths[keep], self.sources[keep], self.arrivals[keep]
        )


class _Payload(NamedTuple):
    """Where the audio of N packets is; size 0: none in it."""

    at: Ints
    size: Ints

    def only(self, keep: Index) -> "_Payload":
        return _Payload(self.at[keep], self.size[keep])


class Receiver:
    """RTP of all legs."""

    def __init__(
        self, rows: Rows, ring: JitterRing, dtmf: DtmfReceiver, rejected: Counter[str], *, latch: bool = False
    ) -> None:
        self._rows = rows
        self._ring = ring
        self._dtmf = dtmf
        self._rejected = rejected
        self.sources = Sources(rows, latch=latch)
        self.srtp = SrtpLegs(rows, self.sources, rejected)
        self.packets = 0
        self.pinned: list[int] = []
        """Rows whose source was pinned since `take_pinned`."""

    def open(self, row: int, networks: tuple[Network, ...]) -> None:
        self.sources.open(row, networks)

    def close(self, row: int) -> None:
        self.sources.close(row)
        self.srtp.close(row)

    def take_pinned(self) -> list[int]:
        pinned, self.pinned = self.pinned, []
        return pinned

    def receive(
        self, at: Index, packets: Octets, lengths: Ints, sources: npt.NDArray[np.uint64], arrivals: Ints
    ) -> None:
        """[N] rows, each once; [N, B] octets; [N] lengths, source addresses and arrival times in ns."""
        rows = self._rows
        if self.srtp:
            keep = self.srtp.unseal(at, packets, lengths, sources, arrivals)
            if keep is not None:
                at, packets, lengths = at[keep], packets[keep], lengths[keep]
                sources, arrivals = sources[keep], arrivals[keep]
                if not keep.size:
                    return
        words = rtp.first_words(packets) & ~np.uint16(rtp.MARKER_BIT)
        plain = lengths == rtp.PLAIN_BYTES
        plain &= words == rows.first_word[at]
        plain &= sources == rows.source[at]
        plain &= rtp.sources(packets) == rows.ssrc[at]
        plain &= rows.pinned[at]
        batch = _Batch(at, packets, lengths, sources, arrivals)
        if np.count_nonzero(plain) == len(plain):
            self._take(batch, None)
            return
        if np.count_nonzero(plain):
            self._take(batch.only(plain), None)
        self._examine(batch.only(~plain))

    # --- the others

    def _examine(self, batch: _Batch) -> None:
        shape = rtp.read_variable(batch.packets, batch.lengths)
        self._count("short", shape.short)
        self._count("version", shape.version)
        good = ~(shape.short | shape.version)
        good &= self._from_known_source(batch, good)
        kinds = (rtp.first_words(batch.packets) >> 8) & 0x7F
        wanted = self._rows.first_word[batch.at] >> 8
        audio = kinds == wanted
        silence = kinds == COMFORT_NOISE
        press = kinds == self._rows.dtmf_type[batch.at]
        self._count("payload_type", good & ~(audio | silence | press))
        good &= audio | silence | press
        good &= self._of_pinned_ssrc(batch, good)
        keep = np.flatnonzero(good)
        if keep.size:
            size = np.where(audio, shape.payload_bytes, 0)[keep]
            self._take(batch.only(keep), _Payload(shape.payload_at[keep], size))
            self._presses(batch, shape, np.flatnonzero(good & press))

    def _count(self, reason: str, mask: Mask) -> None:
        number = int(np.count_nonzero(mask))
        if number:
            self._rejected[reason] += number

    def _from_known_source(self, batch: _Batch, good: Mask) -> Mask:
        known = self.sources.known(batch.at, batch.sources, batch.arrivals, good)
        self._count("source", good & ~known)
        return known

    def _of_pinned_ssrc(self, batch: _Batch, good: Mask) -> Mask:
        """Pins address and SSRC at a leg's first good packet."""
        rows, at = self._rows, batch.at
        ssrc = rtp.sources(batch.packets)
        known, fresh, back = self.sources.streams(at, ssrc, batch.arrivals, good)
        self._count("ssrc", good & ~known & ~fresh)
        pins = at[fresh]
        if pins.size:
            sequence.restart(rows, pins, rtp.sequence_numbers(batch.packets)[fresh])
            rows.source[pins] = batch.sources[fresh]
            rows.ssrc[pins] = ssrc[fresh]
            rows.pinned[pins] = True
            rows.transit[pins] = UNSET
            rows.ext_max[pins] -= 1
            rows.flowing[pins] = False
            self.pinned.extend(pins.tolist())
            for row in pins.tolist():
                self._dtmf.restart(row)
        returned = at[back]
        if returned.size:
            rows.source[returned] = batch.sources[back]
            self.pinned.extend(returned.tolist())
        return known | fresh

    def _presses(self, batch: _Batch, shape: rtp.Variable, at: Index) -> None:
        stamps = rtp.timestamps(batch.packets)
        for index in at.tolist():
            start = int(shape.payload_at[index])
            payload = batch.packets[index, start : start + int(shape.payload_bytes[index])].tobytes()
            row, arrived = int(batch.at[index]), int(batch.arrivals[index])
            if not self._dtmf.packet(row, int(stamps[index]), payload, arrived):
                self._rejected["dtmf"] += 1

    # --- accepted

    def _take(self, batch: _Batch, payload: _Payload | None) -> None:
        """Sequence, statistics and place of packets whose source and type are right; plain ones without `payload`."""
        rows = self._rows
        seq = rtp.sequence_numbers(batch.packets)
        ext, jumped, renumbered = sequence.extend(rows, batch.at, seq)
        if jumped is not None and renumbered is not None and np.count_nonzero(jumped):
            self._count("sequence", jumped)
            keep = np.flatnonzero(~jumped)
            batch, ext, renumbered = batch.only(keep), ext[keep], renumbered[keep]
            payload = payload.only(keep) if payload else None
        at = batch.at
        self.packets += len(at)
        rows.received[at] += 1
        rows.arrived_ns[at] = batch.arrivals
        if payload is None:
            self._plain(batch, ext, renumbered)
            return
        sounding = np.flatnonzero(payload.size > 0)
        if sounding.size:
            fresh = renumbered[sounding] if renumbered is not None else None
            some = batch.only(sounding)
            position = self._place(some, ext[sounding], fresh)
            self._pieces(some, position, ext[sounding], payload.only(sounding))

    def _place(self, batch: _Batch, ext: Ints, renumbered: Mask | None) -> Ints:
        """Positions in samples, a new time line begun where the old one does not hold; jitter on the way."""
        rows, at = self._rows, batch.at
        time = rtp.timestamps(batch.packets)
        flowing = rows.flowing[at]
        fresh = None if np.count_nonzero(flowing) == len(flowing) and renumbered is None else ~flowing
        if fresh is not None and renumbered is not None:
            fresh = fresh | renumbered
        position = self._ring.place(at, time, fresh=fresh)
        newest = ext >= rows.ext_max[at]
        restart = self._ring.must_restart(at, position // FRAME_SAMPLES, newest=newest)
        if restart is not None and np.count_nonzero(restart):
            position = self._ring.place(at, time, fresh=restart if fresh is None else fresh | restart)
            rows.transit[at[restart]] = UNSET
        if fresh is not None:
            rows.transit[at[fresh]] = UNSET
            rows.top[at[fresh]] = rows.play[at[fresh]]
            rows.flowing[at] = True
        self._ring.keep_place(at, time, position)
        quality.jitter(rows, at, batch.arrivals, position)
        return position

    def _plain(self, batch: _Batch, ext: Ints, renumbered: Mask | None) -> None:
        position = self._place(batch, ext, renumbered)
        frame = position // FRAME_SAMPLES
        whole = position == frame * FRAME_SAMPLES
        if np.count_nonzero(whole) == len(whole):
            self._ring.insert(batch.at, frame, ext, batch.arrivals, batch.packets)
            return
        keep = np.flatnonzero(whole)
        some = batch.only(keep)
        self._ring.insert(some.at, frame[keep], ext[keep], some.arrivals, some.packets)
        rest = np.flatnonzero(~whole)
        inside = _Payload(np.full(len(rest), rtp.HEADER_BYTES), np.full(len(rest), rtp.FRAME_BYTES))
        self._pieces(batch.only(rest), position[rest], ext[rest], inside)

    def _pieces(self, batch: _Batch, position: Ints, ext: Ints, payload: _Payload) -> None:
        for index in range(len(batch.at)):
            start = int(payload.at[index])
            self._ring.insert_piece(
                int(batch.at[index]), int(position[index]), int(ext[index]), int(batch.arrivals[index]),
                batch.packets[index, start : start + int(payload.size[index])],
            )  # fmt: skip
