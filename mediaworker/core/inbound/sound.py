"""What the caller says: the frame due in each row, decoded, holes concealed, noise where the sender asked for it.

Beside what is heard it keeps the caller's own time for speech to text (decision 0005): what was made up while playout
waited is not in it, what was left out to catch up is. Must not judge either; that is `speech`. Rows not
started or not received from are silent here.
"""

import numpy as np

from mediaworker.core.g711 import A_LAW, MU_LAW, Octets
from mediaworker.core.inbound import plc
from mediaworker.core.inbound.comfort_in import noise
from mediaworker.core.inbound.delay import DelayTarget
from mediaworker.core.inbound.jitter import BLOCK, JitterRing
from mediaworker.core.inbound.pace import Pace, Special
from mediaworker.core.inbound.splice import splice
from mediaworker.core.inbound.timeline import Act, CodedAudio, NoCodedAudio, OwnTime
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Index, Ints, Mask, Rows
from mediaworker.core.rtp import FRAME_BYTES
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES

HISTORY_FRAMES = plc.HISTORY // FRAME_SAMPLES
MOST_OWN = 50
"""Frames of one hole that an utterance gets: a second."""


class CallerSound:
    """Fills `rows.caller_pcm` (and `rows.caller_wide`) of one phase per call."""

    def __init__(
        self, rows: Rows, ring: JitterRing, delay: DelayTarget, coded: CodedAudio | None = None
    ) -> None:
        self._rows = rows
        self._ring = ring
        self._pace = Pace(rows, ring, delay)
        self._coded: CodedAudio = NoCodedAudio() if coded is None else coded
        self._payload: Octets = np.zeros((rows.block, FRAME_BYTES), np.uint8)
        self._tick = 0
        self.own_time: OwnTime = {}
        """Of the phase just played: what an utterance gets where that is not the frame heard."""

    def play(self, phase: int, span: slice, now_ns: int) -> None:
        rows, ring = self._rows, self._ring
        self._tick += 1
        if self.own_time:
            self.own_time = {}
        special = self._pace.step(phase, span, now_ns)
        pcm = rows.caller_pcm[span]
        payload = self._payload[: len(pcm)]
        ring.read(span, payload)
        MU_LAW.decode(payload, pcm)
        alaw = rows.alaw[span]
        if np.count_nonzero(alaw):
            pcm[alaw] = A_LAW.decoder[payload[alaw]]
        play, run = rows.play[span], rows.hole_run[span]
        if special is None and not np.count_nonzero(run):
            self._play_coded(span, None)
            rows.last_good[span] = play
            play += 1
        else:
            self._with_holes(span, special)
        if ring.left_out:
            self._own_left_out(span)
        audible = rows.started[span] & rows.receives[span]
        audible &= rows.flowing[span]
        if np.count_nonzero(audible) < len(audible):
            pcm[~audible] = 0
            self._silence_wide(span, ~audible)

    def _silence_wide(self, span: slice, off: Mask) -> None:
        wide = off & self._rows.wide[span]
        if np.count_nonzero(wide):
            self._rows.caller_wide[span][wide] = 0

    # --- rows that do not just play on

    def _with_holes(self, span: slice, special: Special | None) -> None:
        """Also rows that play on after a hole."""
        rows = self._rows
        act = np.zeros(span.stop - span.start, np.int64)
        step = np.ones(len(act), np.int64)
        if special is not None:
            act[special.at - span.start], step[special.at - span.start] = special.act, special.step
        play, run, good = rows.play[span], rows.hole_run[span], rows.last_good[span]
        plain = ~rows.coded[span]
        for kind, fill in (
            (Act.MERGE, self._merge), (Act.LOSS, self._lose), (Act.HOLD, self._hold), (Act.QUIET, self._quiet),
        ):  # fmt: skip
            at = np.flatnonzero((act == kind) & plain) + span.start
            if at.size:
                fill(at)
        heard = (act == Act.PLAY) | (act == Act.MERGE)
        again = np.flatnonzero((act == Act.PLAY) & (run > 0) & plain) + span.start
        if again.size:
            self._begin_again(again)
        if self._pace.passed:
            self._own_passed()
        self._play_coded(span, act)
        np.copyto(good, play + step - 1, where=heard)
        rows.waited[span][heard] = rows.bridged[span][heard] = 0
        np.add(run, 1, out=run, where=~heard)
        run[heard] = 0
        play += step

    def _before(self, at: Index) -> Samples:
        return self._ring.history(at, HISTORY_FRAMES, self._rows.last_good[at])

    def _made_up(self, at: Index) -> Samples:
        """The next frame of concealment; silence after a while."""
        rows = self._rows
        out: Samples = np.zeros((len(at), FRAME_SAMPLES), np.int16)
        fading = np.flatnonzero((rows.hole_run[at] < plc.FADE_FRAMES) & (rows.noise[at] == 0))
        if fading.size:
            some = at[fading]
            out[fading] = plc.conceal(self._before(some), rows.hole_run[some])
        return out

    def _hold(self, at: Index) -> None:
        self._rows.caller_pcm[at] = self._made_up(at)
        for row in at[self._rows.detect[at]].tolist():
            self.own_time[row] = np.zeros(0, np.int16)

    def _lose(self, at: Index) -> None:
        """A part of the frame may be there: it is heard where it is."""
        rows, ring = self._rows, self._ring
        made_up = self._made_up(at)
        part = ring.history(at, 1, rows.play[at]).reshape(len(at), -1, BLOCK)
        there = part.any(axis=2, keepdims=True)
        pcm = np.where(there, part, made_up.reshape(part.shape)).reshape(made_up.shape)
        rows.caller_pcm[at] = pcm
        ring.mend(at, rows.play[at], pcm)

    def _quiet(self, at: Index) -> None:
        rows = self._rows
        rows.caller_pcm[at] = 0
        noisy = at[(rows.noise[at] > 0) & rows.flowing[at]]
        if noisy.size:
            rows.caller_pcm[noisy] = noise(noisy, rows.noise[noisy], self._tick, FRAME_SAMPLES)

    def _merge(self, at: Index) -> None:
        rows = self._rows
        pair = self._ring.history(at, 2, rows.play[at] + 1)
        rows.caller_pcm[at] = splice(pair[:, :FRAME_SAMPLES], pair[:, FRAME_SAMPLES:])
        for index in np.flatnonzero(rows.detect[at]).tolist():
            self.own_time[int(at[index])] = pair[index]

    def _begin_again(self, at: Index) -> None:
        """The first frame after a hole fades in over what concealment would go on with.

        After a mere wait the utterance gets it as it came: there it follows the frame before the wait.
        """
        rows = self._rows
        passed = {row for row, _, _ in self._pace.passed}
        for row in at[rows.detect[at] & (rows.waited[at] > 0)].tolist():
            if row not in passed:
                self.own_time[row] = rows.caller_pcm[row].copy()
        rows.caller_pcm[at] = plc.blend(self._made_up(at), rows.caller_pcm[at], rows.hole_run[at])

    # --- legs that are decoded packet by packet

    def _play_coded(self, span: slice, act: Ints | None) -> None:
        rows = self._rows
        coded = np.flatnonzero(rows.coded[span])
        if not coded.size:
            return
        at = coded + span.start
        acts = np.zeros(len(at), np.int64) if act is None else act[coded]
        self._coded.play(at, rows.play[at] + (acts == Act.MERGE), acts)
        quiet = np.flatnonzero((acts == Act.QUIET) & (rows.noise[at] > 0) & rows.flowing[at])
        if quiet.size:
            noisy = at[quiet]
            sound = noise(noisy, rows.noise[noisy], self._tick, WIDE_FRAME_SAMPLES)
            rows.caller_pcm[noisy] = sound[:, :FRAME_SAMPLES]
            wide = rows.wide[noisy]
            rows.caller_wide[noisy[wide]] = sound[wide]
        for row in at[(acts == Act.HOLD) & rows.detect[at]].tolist():
            self.own_time[row] = np.zeros(0, np.int16)

    # --- the caller's own time

    def _own_passed(self) -> None:
        """Lost frames that were waited for: what was made up then belongs to the utterance after all."""
        passed = [entry for entry in self._pace.passed if entry[2] and not self._rows.coded[entry[0]]]
        if not passed:
            return
        row, first, count = (np.array(column) for column in zip(*passed, strict=True))
        heard = np.minimum(count, plc.FADE_FRAMES)
        begin = np.cumsum(heard) - heard
        at, run = np.repeat(row, heard), np.arange(int(heard.sum())) - np.repeat(begin, heard)
        pcm = plc.conceal(self._before(at), run)
        self._ring.mend(at, np.repeat(first, heard) + run, pcm)
        for index in np.flatnonzero(self._rows.detect[row]).tolist():
            own = np.zeros((int(count[index]), FRAME_SAMPLES), np.int16)
            own[: heard[index]] = pcm[begin[index] : begin[index] + heard[index]]
            self._own_before(int(row[index]), own)

    def _own_left_out(self, span: slice) -> None:
        """Frames that nobody heard, because a burst was longer than the ring."""
        left, self._ring.left_out = self._ring.left_out, []
        # The newest first: each goes before what is there already.
        for row, first, count in reversed(left):
            if not span.start <= row < span.stop:
                self._ring.left_out.insert(0, (row, first, count))
            elif not self._rows.coded[row]:
                self._own_before(
                    row, self._ring.history(np.array([row]), count, np.array([first + count - 1]))
                )

    def _own_before(self, row: int, pcm: Samples) -> None:
        """Puts frames before what the utterance gets in this tick."""
        now = self.own_time.get(row, self._rows.caller_pcm[row])
        self.own_time[row] = np.concatenate([pcm.reshape(-1)[-MOST_OWN * FRAME_SAMPLES :], now])
