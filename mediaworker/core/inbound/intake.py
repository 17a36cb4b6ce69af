"""What becomes of a packet that was taken: its number, its place in the caller's time, its audio into the ring.

A batch holds at most one packet per row. Places are made of RTP timestamps; a time line begins with a leg's first packet, with a new
SSRC or numbering, and where the timestamps jump further than the wire can explain. Must not judge whose packet it is.
"""

from collections import Counter
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core import rtp
from mediaworker.core.g711 import Octets
from mediaworker.core.inbound import quality, sequence
from mediaworker.core.inbound.delay import DelayTarget
from mediaworker.core.inbound.jitter import AHEAD, JitterRing, whole_blocks
from mediaworker.core.inbound.timeline import CodedAudio
from mediaworker.core.rows import UNSET, Index, Ints, Mask, Rows

BEHIND: Final = 10
"""Frames behind playout at which the newest packet begins a new time line: the sender's clock went back."""
START_FRAMES: Final = 1
"""A new time line begins so many frames after the one due."""


class Batch(NamedTuple):
    """N packets, one per row."""

    at: Index
    packets: Octets
    lengths: Ints
    sources: npt.NDArray[np.uint64]
    arrivals: Ints

    def only(self, keep: Mask | Index) -> "Batch":
        return Batch(
            self.at[keep], self.packets[keep], self.lengths[keep], self.sources[keep], self.arrivals[keep]
        )


class Payload(NamedTuple):
    """Where the payload of N packets is; `noise` are those of comfort noise; size 0: no sound in it."""

    at: Ints
    size: Ints
    noise: Mask

    def only(self, keep: Index) -> "Payload":
        return Payload(self.at[keep], self.size[keep], self.noise[keep])


class Intake:
    """All legs' accepted packets."""

    def __init__(
        self, rows: Rows, ring: JitterRing, delay: DelayTarget, coded: CodedAudio, rejected: Counter[str]
    ) -> None:
        self._rows = rows
        self._ring = ring
        self._delay = delay
        self._coded = coded
        self._rejected = rejected
        self.packets = 0

    def take(self, batch: Batch, payload: Payload | None) -> None:
        """Packets whose source and type are right; those that are all plain without `payload`."""
        rows = self._rows
        ext, jumped, renumbered = sequence.extend(rows, batch.at, rtp.sequence_numbers(batch.packets))
        if jumped is not None and renumbered is not None and np.count_nonzero(jumped):
            self._rejected["sequence"] += int(np.count_nonzero(jumped))
            keep = np.flatnonzero(~jumped)
            batch, ext, renumbered = batch.only(keep), ext[keep], renumbered[keep]
            payload = payload.only(keep) if payload else None
        at = batch.at
        self.packets += len(at)
        rows.received[at] += 1
        rows.arrived_ns[at] = batch.arrivals
        again = sequence.repeated(rows, at, ext)
        if again is not None:
            keep = np.flatnonzero(~again)
            renumbered = None if renumbered is None else renumbered[keep]
            batch, ext, payload = batch.only(keep), ext[keep], payload.only(keep) if payload else None
        if not len(batch.at):
            return
        if payload is None:
            self._plain(batch, ext, renumbered)
        else:
            self._others(batch, ext, renumbered, payload)

    def _plain(self, batch: Batch, ext: Ints, renumbered: Mask | None) -> None:
        position, frame = self._place(batch, ext, renumbered)
        if np.count_nonzero(position == frame * rtp.FRAME_BYTES) == len(frame):
            self._ring.insert(batch.at, frame, ext, batch.arrivals, batch.packets)
            return
        count = len(frame)
        self._g711(batch, position, ext, np.full(count, rtp.HEADER_BYTES), np.full(count, rtp.FRAME_BYTES))

    def _others(self, batch: Batch, ext: Ints, renumbered: Mask | None, payload: Payload) -> None:
        quiet = np.flatnonzero(payload.size == 0)
        if quiet.size:
            self._without_sound(batch.only(quiet), ext[quiet], payload.only(quiet))
        sounding = np.flatnonzero(payload.size > 0)
        if not sounding.size:
            return
        fresh = renumbered[sounding] if renumbered is not None else None
        batch, ext, payload = batch.only(sounding), ext[sounding], payload.only(sounding)
        position, _ = self._place(batch, ext, fresh)
        coded = self._rows.coded[batch.at]
        index = np.flatnonzero(coded)
        if index.size:
            self._store(batch.only(index), position[index], ext[index], payload.only(index))
        if np.count_nonzero(coded) < len(coded):
            keep = np.flatnonzero(~coded)
            inside = payload.only(keep)
            self._g711(batch.only(keep), position[keep], ext[keep], inside.at, inside.size)

    # --- place

    def _place(self, batch: Batch, ext: Ints, renumbered: Mask | None) -> tuple[Ints, Ints]:
        """Positions in units of the RTP clock and the frames they lie in; a new time line where the old one does not hold."""
        rows, at = self._rows, batch.at
        time = rtp.timestamps(batch.packets)
        clock = rows.clock[at]
        step = ((time - rows.rtp_last[at] + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        position = rows.position[at] + step
        frame = position // clock
        fresh = ~rows.flowing[at] if renumbered is None else renumbered | ~rows.flowing[at]
        slack = frame - rows.play[at]
        if np.maximum.reduce(slack) >= AHEAD or np.minimum.reduce(slack) < -BEHIND:
            newest = ext >= rows.ext_max[at]
            fresh |= self._beyond(at, frame, ext, newest)
            strays = ~newest & ~fresh & (frame - rows.play[at] >= AHEAD)
            if np.count_nonzero(strays):
                return self._around(batch, ext, renumbered, strays)
        if np.count_nonzero(fresh):
            self._begin(at[fresh], ext[fresh])
            frame = np.where(fresh, rows.play[at] + START_FRAMES, frame)
            position = np.where(fresh, frame * clock, position)
        rows.rtp_last[at] = time
        rows.position[at] = position
        quality.jitter(rows, at, batch.arrivals, position)
        if np.count_nonzero(rows.noise[at]):
            sounding = at[rows.top[at] < frame]
            rows.noise[sounding] = 0
        self._delay.note(at, frame, batch.arrivals)
        return position, frame

    def _around(self, batch: Batch, ext: Ints, renumbered: Mask | None, strays: Mask) -> tuple[Ints, Ints]:
        """Places where some packets are overtaken ones of a time line that has ended: those are late, and nothing is learnt of them."""
        frame = self._rows.play[batch.at] - AHEAD
        position = frame * self._rows.clock[batch.at]
        keep = np.flatnonzero(~strays)
        if keep.size:
            fresh = renumbered[keep] if renumbered is not None else None
            position[keep], frame[keep] = self._place(batch.only(keep), ext[keep], fresh)
        return position, frame

    def _begin(self, at: Index, ext: Ints) -> None:
        """A new time line: nothing that waits from the old one is heard, and nothing is missing before its first packet."""
        rows = self._rows
        for row in at.tolist():
            self._ring.forget_future(row)
            self._delay.forget(row)
        for row in at[rows.coded[at]].tolist():
            self._coded.restart(row)
        rows.transit[at] = UNSET
        rows.top[at] = rows.play[at] - 1
        rows.waited[at] = 0
        rows.noise[at] = 0
        rows.calm_ext[at] = ext - 1
        rows.flowing[at] = True

    def _beyond(self, at: Index, frame: Ints, ext: Ints, newest: Mask) -> Mask:
        """Rows whose packet is far from playout. What was waited makes room, then what is left out; which need a new time line."""
        rows = self._rows
        drained = rows.top[at] < rows.play[at]
        gap = frame - rows.play[at]
        waited = np.where(drained & newest & (gap > 0), np.minimum(gap, rows.waited[at]), 0)
        rows.play[at] += waited
        rows.waited[at] -= waited
        known = np.maximum(rows.calm_ext[at], self._ring.number(at, rows.top[at]))
        silent = (waited > 0) & (ext == known + 1)
        rows.silent_sender[at] |= silent
        bridged = np.minimum(waited, rows.bridged[at])
        rows.bridged[at] -= bridged
        rows.held[at] -= bridged
        rows.concealed[at] -= np.where(silent, bridged, 0)
        gap -= waited
        burst = ~drained & newest & (gap >= AHEAD) & (gap < 2 * AHEAD)
        over = np.where(burst, gap - AHEAD + 1, 0)
        if np.count_nonzero(burst):
            self._ring.leave_out(at[burst], over[burst])
        return newest & ((gap - over >= AHEAD) | (gap < -BEHIND))

    # --- sound

    def _g711(self, batch: Batch, position: Ints, ext: Ints, start: Ints, size: Ints) -> None:
        blocks = whole_blocks(position, size)
        index = np.flatnonzero(blocks)
        if index.size:
            some = batch.only(index)
            self._ring.insert_blocks(
                some.at, position[index], ext[index], some.arrivals, some.packets, start[index], size[index]
            )
        for odd in np.flatnonzero(~blocks).tolist():
            begin, end = int(start[odd]), int(start[odd] + size[odd])
            self._ring.insert_piece(
                int(batch.at[odd]), int(position[odd]), int(ext[odd]), int(batch.arrivals[odd]),
                batch.packets[odd, begin:end],
            )  # fmt: skip

    def _store(self, batch: Batch, position: Ints, ext: Ints, payload: Payload) -> None:
        """Octets to the coded legs, their places to the ring."""
        ends = payload.at + payload.size
        columns = (batch.at, position, ext, batch.arrivals, payload.at, ends)
        units = np.array([
            self._coded.store(row, place, number, arrived, octets[begin:end])
            for octets, row, place, number, arrived, begin, end in zip(
                batch.packets, *(column.tolist() for column in columns), strict=True
            )
        ])  # fmt: skip
        good = np.flatnonzero(units > 0)
        self._ring.insert_marks(batch.at[good], position[good], units[good], ext[good], batch.arrivals[good])

    def _without_sound(self, batch: Batch, ext: Ints, payload: Payload) -> None:
        """Key presses and comfort noise: what follows the newest sound without a gap says that no sound is missing there."""
        rows, at = self._rows, batch.at
        known = np.maximum(rows.calm_ext[at], self._ring.number(at, rows.top[at]))
        follows = at[ext == known + 1]
        rows.calm_ext[follows] = ext[ext == known + 1]
        noise = np.flatnonzero(payload.noise & (ext >= rows.ext_max[at]))
        if noise.size:
            level = batch.packets[noise, payload.at[noise]] & 0x7F
            rows.noise[at[noise]] = NOISE_AMPLITUDE[level]


NOISE_AMPLITUDE: Final = np.maximum(32_768 * 10.0 ** (-np.arange(128) / 20), 1e-3)
"""Root mean square of the noise level of RFC 3389: dB below the overload point; never 0, which means no noise."""
