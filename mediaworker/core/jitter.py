"""The jitter ring: a caller's audio in its own time, and when it is played.

A frame's place is its RTP timestamp, not its sequence number: packets of any length fit, and a silent sender's gap is
a gap. `slack` is how many ticks a packet has until its frame is due. A late packet pushes playout back (a stall,
concealed); two seconds in which no packet was closer than two frames pull it forward by one; more than the maximum
depth is skipped at once, so a pause of the host never stays as delay. Must not decode.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.g711 import A_LAW, MU_LAW, Octets
from mediaworker.core.rows import FAR, NO_FRAME, Index, Ints, Mask, Rows
from mediaworker.core.rtp import FRAME_BYTES, HEADER_BYTES
from shared.units import FRAME_SAMPLES

SLOTS: Final = 64
"""Frames of the ring: 1.28 s. What was played stays for concealment and pre-roll until it is overwritten."""
PAST_FRAMES: Final = 40
"""Frames behind playout that are certain not to be overwritten (depth is at most SLOTS - PAST_FRAMES)."""
START_SLACK: Final = 1
WINDOW_TICKS: Final = 100
SPARE_SLACK: Final = 2
HISTORY_FRAMES: Final = 3


class JitterRing:
    """[L, SLOTS, 160] octets."""

    def __init__(self, rows: Rows, max_frames: int) -> None:
        self._rows = rows
        self._max = min(max_frames, SLOTS - PAST_FRAMES)
        count = rows.count * SLOTS
        self._audio: Octets = np.zeros((count, FRAME_BYTES), np.uint8)
        self._flat = self._audio.reshape(-1)
        self._frame: Ints = np.full(count, NO_FRAME, np.int64)
        self._ext: Ints = np.full(count, -1, np.int64)
        self._arrived: Ints = np.zeros(count, np.int64)
        self._base: Ints = np.arange(rows.count, dtype=np.int64) * SLOTS
        self._window = [0] * rows.phases
        self.skipped = 0
        """Frames not played to catch up."""

    def clear(self, row: int) -> None:
        self._frame[row * SLOTS : (row + 1) * SLOTS] = NO_FRAME

    # --- arrival

    def place(self, at: Index, time: Ints, *, fresh: Mask | None) -> Ints:
        """Positions in samples of packets with RTP timestamps `time`; `fresh` rows begin a new time line."""
        rows = self._rows
        step = ((time - rows.rtp_last[at] + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        position = rows.position[at] + step
        if fresh is not None:
            position = np.where(fresh, (rows.play[at] + START_SLACK) * FRAME_SAMPLES, position)
        return position

    def keep_place(self, at: Index, time: Ints, position: Ints) -> None:
        self._rows.rtp_last[at] = time
        self._rows.position[at] = position

    def must_restart(self, at: Index, frame: Ints, *, newest: Mask) -> Mask | None:
        """Which packets are so far from playout that only a new time line helps; None for none."""
        slack = frame - self._rows.play[at]
        if slack.size == 0 or (
            np.maximum.reduce(slack) < SLOTS - PAST_FRAMES and np.minimum.reduce(slack) >= -self._max
        ):
            return None
        return newest & ((slack >= SLOTS - PAST_FRAMES) | (slack < -self._max))

    def insert(self, at: Index, frame: Ints, ext: Ints, arrivals: Ints, packets: Octets) -> None:
        """[N] plain packets, one per row, at whole frames."""
        rows = self._rows
        slack = frame - rows.play[at]
        slot = self._base[at] + (frame & (SLOTS - 1))
        twice = (self._frame[slot] == frame) & (self._ext[slot] == ext)
        late = slack < 0
        refuse = late | twice | (slack >= SLOTS - PAST_FRAMES)
        rows.min_slack[at] = np.minimum(rows.min_slack[at], slack)
        if np.count_nonzero(refuse):
            self._count_refused(at, slack, late & ~twice, twice)
            keep = ~refuse
            at, frame, ext, arrivals, slot = at[keep], frame[keep], ext[keep], arrivals[keep], slot[keep]
            packets = packets[keep]
        self._audio[slot] = packets[:, HEADER_BYTES : HEADER_BYTES + FRAME_BYTES]
        self._frame[slot] = frame
        self._ext[slot] = ext
        self._arrived[slot] = arrivals
        rows.top[at] = np.maximum(rows.top[at], frame)

    def _count_refused(self, at: Index, slack: Ints, late: Mask, twice: Mask) -> None:
        rows = self._rows
        rows.duplicate[at[twice]] += 1
        behind = at[late]
        rows.late[behind] += 1
        # Wait for what comes as late as this one did, within the depth allowed.
        depth = np.maximum(rows.top[behind] - rows.play[behind], 0)
        wait = np.minimum(-slack[late], self._max - depth)
        rows.stall[behind] = np.maximum(rows.stall[behind], wait)

    def insert_piece(self, row: int, position: int, ext: int, arrived_ns: int, payload: Octets) -> None:
        """One packet of any length at any place; samples outside the ring are left out."""
        rows = self._rows
        first = position // FRAME_SAMPLES
        last = (position + len(payload) - 1) // FRAME_SAMPLES
        play = int(rows.play[row])
        slack = first - play
        rows.min_slack[row] = min(int(rows.min_slack[row]), slack)
        mark = np.array([row])
        slot = row * SLOTS + (first & (SLOTS - 1))
        if self._ext[slot] == ext and self._frame[slot] == first:
            rows.duplicate[row] += 1
            return
        if last < play:
            self._count_refused(mark, np.array([slack]), np.array([True]), np.array([False]))
            return
        silence = A_LAW.silence if rows.alaw[row] else MU_LAW.silence
        for frame in range(max(first, play), min(last, play + SLOTS - PAST_FRAMES - 1) + 1):
            slot = row * SLOTS + (frame & (SLOTS - 1))
            if self._frame[slot] != frame:
                self._audio[slot] = silence
                self._frame[slot] = frame
            start = frame * FRAME_SAMPLES
            begin, end = max(position, start), min(position + len(payload), start + FRAME_SAMPLES)
            self._audio[slot, begin - start : end - start] = payload[begin - position : end - position]
            self._ext[slot] = ext
            self._arrived[slot] = arrived_ns
            rows.top[row] = max(int(rows.top[row]), frame)

    # --- playout

    def due(self, span: slice, phase: int, payload: Octets) -> Mask:
        """Fills `payload` [L, 160] with the frame due in each row of `span`; says which rows had one.

        `play` is not moved: `advance` does, after concealment has looked at the past.
        """
        rows = self._rows
        self._catch_up(span, phase)
        play = rows.play[span]
        slot = self._base[span] + (play & (SLOTS - 1))
        have: Mask = self._frame.take(slot) == play
        np.take(self._audio, slot, axis=0, out=payload, mode="clip")
        stall = rows.stall[span]
        if np.count_nonzero(stall):
            have &= stall == 0
        return have

    def advance(self, span: slice, have: Mask) -> None:
        rows = self._rows
        play, run = rows.play[span], rows.hole_run[span]
        if np.count_nonzero(have) == len(have):
            rows.last_good[span] = play
            run[:] = 0
        else:
            np.copyto(rows.last_good[span], play, where=have)
            np.add(run, 1, out=run)
            run[have] = 0
        stall = rows.stall[span]
        if np.count_nonzero(stall):
            held = stall > 0
            play += ~held
            stall -= held
        else:
            play += 1

    def _catch_up(self, span: slice, phase: int) -> None:
        rows = self._rows
        depth = rows.top[span] - rows.play[span]
        if depth.size and np.maximum.reduce(depth) > self._max:
            far = np.flatnonzero(depth > self._max)
            ahead = depth[far] - self._max
            rows.play[span][far] += ahead
            self.skipped += int(ahead.sum())
        self._window[phase] += 1
        if self._window[phase] >= WINDOW_TICKS:
            self._window[phase] = 0
            slack = rows.min_slack[span]
            spare = (slack >= SPARE_SLACK) & (slack < FAR)
            rows.play[span] += spare
            self.skipped += int(spare.sum())
            slack[:] = FAR

    def arrived(self, at: Index) -> Ints:
        """When the packet of the frame last played arrived."""
        return self._arrived[self._base[at] + (self._rows.last_good[at] & (SLOTS - 1))]

    # --- the past

    def history(self, at: Index, frames: int, last: Ints) -> npt.NDArray[np.int16]:
        """[L, frames * 160] decoded samples up to and with frame `last` of each row; zeros where nothing was."""
        wanted = last[:, None] + np.arange(1 - frames, 1)
        slot = self._base[at][:, None] + (wanted & (SLOTS - 1))
        audio = self._audio[slot]
        pcm = MU_LAW.decoder[audio]
        alaw = self._rows.alaw[at]
        if np.count_nonzero(alaw):
            pcm[alaw] = A_LAW.decoder[audio[alaw]]
        pcm[self._frame[slot] != wanted] = 0
        return pcm.reshape(len(at), frames * FRAME_SAMPLES)
