"""The jitter ring: a caller's audio in its own time.

A frame's place is its RTP timestamp, not its sequence number: packets of any length fit, and a silent sender's gap is a gap.
The ring keeps the octets of G.711 legs; of the others only which frames are there (decision 0005). What was played stays until it is
overwritten, for concealment and pre-roll. When a frame is heard is decided by `pace`. Must not decode, but for the past.
"""

from typing import Final

import numpy as np

from mediaworker.core.g711 import A_LAW, MU_LAW, Octets
from mediaworker.core.legs import Samples
from mediaworker.core.rows import NO_FRAME, Index, Ints, Mask, Rows
from mediaworker.core.rtp import FRAME_BYTES, HEADER_BYTES
from shared.units import FRAME_SAMPLES

SLOTS: Final = 128
"""Frames of the ring: 2.56 s."""
PAST_FRAMES: Final = 40
"""Frames behind playout that are still there, but after a burst of more than SLOTS - PAST_FRAMES."""
AHEAD: Final = 96
"""Frames ahead of playout that fit: 1.92 s, so that a burst after a stall of the sender's or the network's is heard whole."""
BLOCK: Final = 80
"""Packets whose places and lengths are multiples of 10 ms are stored as arrays, like those of 20 ms."""

_FRAME, _FILLED, _EXT, _ARRIVED = range(4)


class JitterRing:
    """[L, SLOTS, 160] octets; [L, SLOTS, 4] frame, how much of it is there in units of the RTP clock, number and arrival of the packet."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        count = rows.count * SLOTS
        self._audio: Octets = np.zeros((count, FRAME_BYTES), np.uint8)
        self._blocks: Octets = self._audio.reshape(-1, BLOCK)
        self._mark: Ints = np.zeros((count, 4), np.int64)
        self._mark[:, _FRAME] = NO_FRAME
        self._found: Ints = np.zeros((rows.block, 4), np.int64)
        self._base: Ints = np.arange(rows.count, dtype=np.int64) * SLOTS
        self.skipped = 0
        """Frames that were not heard to catch up."""
        self.left_out: list[tuple[int, int, int]] = []
        """Row, first frame and number of those left out since the row's last tick; only of rows with speech detection."""

    def clear(self, row: int) -> None:
        if self.left_out:
            self.left_out = [entry for entry in self.left_out if entry[0] != row]
        self._mark[row * SLOTS : (row + 1) * SLOTS, _FRAME] = NO_FRAME

    def translate(self, row: int) -> None:
        """The row's law is another one from now on: what is there is written in it."""
        before, law = (MU_LAW, A_LAW) if self._rows.alaw[row] else (A_LAW, MU_LAW)
        octets = self._audio[row * SLOTS : (row + 1) * SLOTS]
        octets[:] = law.encoder[before.decoder[octets].view(np.uint16)]

    def forget_future(self, row: int) -> None:
        """What has not been played is void; the past stays."""
        frames = self._mark[row * SLOTS : (row + 1) * SLOTS, _FRAME]
        frames[frames >= self._rows.play[row]] = NO_FRAME

    def _slot(self, at: Index, frame: Ints) -> Ints:
        slot: Ints = self._base[at] + (frame & (SLOTS - 1))
        return slot

    # --- arrival: packets that were not there before, one per row

    def insert(self, at: Index, frame: Ints, ext: Ints, arrivals: Ints, packets: Octets) -> None:
        """[N] plain packets at whole frames, none of them further ahead than AHEAD."""
        rows = self._rows
        late = frame < rows.play[at]
        if np.count_nonzero(late):
            keep = ~late
            rows.late[at[late]] += 1
            at, frame, ext, arrivals, packets = (
                at[keep],
                frame[keep],
                ext[keep],
                arrivals[keep],
                packets[keep],
            )
        slot = self._slot(at, frame)
        self._audio[slot] = packets[:, HEADER_BYTES : HEADER_BYTES + FRAME_BYTES]
        mark = np.empty((len(at), 4), np.int64)
        mark[:, _FRAME], mark[:, _FILLED], mark[:, _EXT], mark[:, _ARRIVED] = (
            frame, FRAME_BYTES, ext, arrivals,
        )  # fmt: skip
        self._mark[slot] = mark
        rows.top[at] = np.maximum(rows.top[at], frame)

    def insert_blocks(
        self, at: Index, position: Ints, ext: Ints, arrivals: Ints, packets: Octets, start: Ints, size: Ints
    ) -> None:
        """[N] packets of G.711 with `size` octets from `start` on, for `position`; both multiples of BLOCK."""
        rows = self._rows
        rows.late[at] += (position + size - 1) // FRAME_SAMPLES < rows.play[at]
        columns = np.arange(BLOCK)
        for offset in range(0, int(np.maximum.reduce(size)), BLOCK):
            frame = (position + offset) // FRAME_SAMPLES
            slack = frame - rows.play[at]
            index = np.flatnonzero((size > offset) & (slack >= 0) & (slack < AHEAD))
            some, there = at[index], frame[index]
            slot = self._open(some, there)
            half = (position[index] + offset) // BLOCK & 1
            wanted = start[index][:, None] + (offset + columns)
            self._blocks[slot * 2 + half] = packets[index[:, None], wanted]
            self._fill(some, there, slot, BLOCK, ext[index], arrivals[index])

    def insert_piece(self, row: int, position: int, ext: int, arrived_ns: int, payload: Octets) -> None:
        """One packet of G.711 of any length at any place; samples outside the ring are left out."""
        rows = self._rows
        play, end = int(rows.play[row]), position + len(payload)
        rows.late[row] += (end - 1) // FRAME_SAMPLES < play
        at, ext_of, arrived = np.array([row]), np.array([ext]), np.array([arrived_ns])
        for frame in range(
            max(position // FRAME_SAMPLES, play), min((end - 1) // FRAME_SAMPLES, play + AHEAD - 1) + 1
        ):
            there = np.array([frame])
            slot = self._open(at, there)
            start = frame * FRAME_SAMPLES
            begin, stop = max(position, start), min(end, start + FRAME_SAMPLES)
            self._audio[slot[0], begin - start : stop - start] = payload[begin - position : stop - position]
            self._fill(at, there, slot, stop - begin, ext_of, arrived)

    def insert_marks(self, at: Index, position: Ints, units: Ints, ext: Ints, arrivals: Ints) -> None:
        """[N] packets of coded legs that last for `units` of their clocks."""
        rows = self._rows
        play, clock, end = rows.play[at], rows.clock[at], position + units
        first, last = position // clock, (end - 1) // clock
        rows.late[at] += last < play
        for step in range(int(np.maximum.reduce(last - first, initial=-1)) + 1):
            frame = first + step
            index = np.flatnonzero((frame <= last) & (frame >= play) & (frame < play + AHEAD))
            some, there, beat = at[index], frame[index], clock[index]
            slot = self._slot(some, there)
            begun = self._mark[slot, _FRAME] != there
            self._mark[slot[begun], _FRAME] = there[begun]
            self._mark[slot[begun], _FILLED] = 0
            part = np.minimum(end[index], (there + 1) * beat) - np.maximum(position[index], there * beat)
            self._fill(some, there, slot, part, ext[index], arrivals[index])

    def _open(self, at: Index, frame: Ints) -> Ints:
        """The slots of frames, which hold silence where they were not begun."""
        slot = self._slot(at, frame)
        new = self._mark[slot, _FRAME] != frame
        if np.count_nonzero(new):
            begun = slot[new]
            self._mark[begun, _FRAME] = frame[new]
            self._mark[begun, _FILLED] = 0
            quiet = np.where(self._rows.alaw[at[new]], A_LAW.silence, MU_LAW.silence)
            self._audio[begun] = quiet[:, None]
        return slot

    def _fill(self, at: Index, frame: Ints, slot: Ints, units: Ints | int, ext: Ints, arrivals: Ints) -> None:
        self._mark[slot, _FILLED] += units
        self._mark[slot, _EXT] = ext
        self._mark[slot, _ARRIVED] = arrivals
        self._rows.top[at] = np.maximum(self._rows.top[at], frame)

    def leave_out(self, at: Index, count: Ints) -> None:
        """Moves playout of rows on by so many frames that nobody hears."""
        rows = self._rows
        self.skipped += int(count.sum())
        for row, number in zip(at.tolist(), count.tolist(), strict=True):
            if rows.detect[row] and number:
                self.left_out.append((row, int(rows.play[row]), number))
        rows.play[at] += count

    # --- what is there

    def complete(self, span: slice) -> Mask:
        """[span] rows whose frame due is there as a whole."""
        rows = self._rows
        play = rows.play[span]
        slot = self._base[span] + (play & (SLOTS - 1))
        found = self._found[: len(play)]
        np.take(self._mark, slot, axis=0, out=found, mode="clip")
        have: Mask = found[:, _FRAME] == play
        have &= found[:, _FILLED] >= rows.clock[span]
        return have

    def is_complete(self, at: Index, frame: Ints) -> Mask:
        mark = self._mark[self._slot(at, frame)]
        whole: Mask = (mark[:, _FRAME] == frame) & (mark[:, _FILLED] >= self._rows.clock[at])
        return whole

    def next_there(self, at: Index) -> tuple[Ints, Ints]:
        """[N] rows with a hole at `play`: how many frames until the next one of which there is a part, and its packet's number.

        AHEAD, and a number that nothing follows, where there is none.
        """
        wanted = self._rows.play[at][:, None] + np.arange(AHEAD)
        slot = self._base[at][:, None] + (wanted & (SLOTS - 1))
        there = self._mark[slot, _FRAME] == wanted
        gap = np.where(there.any(axis=1), np.argmax(there, axis=1), AHEAD)
        number = self._mark[self._slot(at, self._rows.play[at] + np.minimum(gap, AHEAD - 1)), _EXT]
        return gap, np.where(gap < AHEAD, number, NO_FRAME)

    def number(self, at: Index, frame: Ints) -> Ints:
        """Extended numbers of the packets of frames; NO_FRAME where the frame is not there."""
        mark = self._mark[self._slot(at, frame)]
        return np.where(mark[:, _FRAME] == frame, mark[:, _EXT], NO_FRAME)

    def arrived(self, at: Index) -> Ints:
        """When the packet of the frame last played arrived."""
        arrived: Ints = self._mark[self._slot(at, self._rows.last_good[at]), _ARRIVED]
        return arrived

    # --- sound of G.711 legs

    def read(self, span: slice, payload: Octets) -> None:
        """Fills `payload` [span, 160] with the octets of the frame due in each row; of no meaning where it is not there."""
        slot = self._base[span] + (self._rows.play[span] & (SLOTS - 1))
        np.take(self._audio, slot, axis=0, out=payload, mode="clip")

    def history(self, at: Index, frames: int, last: Ints) -> Samples:
        """[L, frames * 160] decoded samples up to and with frame `last` of each row; zeros where nothing was."""
        wanted = last[:, None] + np.arange(1 - frames, 1)
        slot = self._base[at][:, None] + (wanted & (SLOTS - 1))
        pcm = self._decode(at, self._audio[slot])
        pcm[self._mark[slot, _FRAME] != wanted] = 0
        return pcm.reshape(len(at), frames * FRAME_SAMPLES)

    def _decode(self, at: Index, audio: Octets) -> Samples:
        pcm: Samples = MU_LAW.decoder[audio]
        alaw = self._rows.alaw[at]
        if np.count_nonzero(alaw):
            pcm[alaw] = A_LAW.decoder[audio[alaw]]
        return pcm

    def mend(self, at: Index, frame: Ints, pcm: Samples) -> None:
        """Keeps what was made up for lost frames of G.711 legs: the past has no holes for those who look back."""
        audio = MU_LAW.encoder[pcm.view(np.uint16)]
        alaw = self._rows.alaw[at]
        if np.count_nonzero(alaw):
            audio[alaw] = A_LAW.encoder[pcm[alaw].view(np.uint16)]
        slot = self._slot(at, frame)
        self._audio[slot] = audio
        self._mark[slot, _FRAME] = frame


def whole_blocks(position: Ints, size: Ints) -> Mask:
    """Which packets can be stored as blocks."""
    blocks: Mask = (position % BLOCK == 0) & (size % BLOCK == 0)
    return blocks
