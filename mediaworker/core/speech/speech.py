"""The speech gate over the legs that want it: levels in, events and utterance rows out.

Must not keep audio: the pre-roll is read from the jitter ring's past, that of coded rows from `past`.
"""

import numpy as np
import numpy.typing as npt

from mediaworker.core.inbound.jitter import PAST_FRAMES, JitterRing
from mediaworker.core.inbound.timeline import OwnTime
from mediaworker.core.legs import Samples, SpeechEvent
from mediaworker.core.rows import Index, Rows
from mediaworker.core.speech.past import CodedPast
from mediaworker.core.speech.vad import IDLE, Detector, levels_dbfs
from shared.contracts import TurnSettings
from shared.units import FRAME_SAMPLES


class SpeechGate:
    """Runs the detector for one phase per call."""

    def __init__(self, rows: Rows, ring: JitterRing, threshold_dbfs: float) -> None:
        self._rows = rows
        self._ring = ring
        self._threshold_dbfs = threshold_dbfs
        self._detector = Detector(rows.count)
        self._past = CodedPast(rows)
        self._own_time: OwnTime = {}
        self._lists: list[Index] = [np.zeros(0, np.int64) for _ in range(rows.phases)]
        self._coded: list[Index] = [np.zeros(0, np.int64) for _ in range(rows.phases)]

    def open(self, row: int, settings: TurnSettings) -> None:
        self._detector.open(row, settings, self._threshold_dbfs)
        self._past.forget(row)

    def changed(self, phase: int) -> None:
        span = self._rows.span(phase)
        wanted = self._rows.detect[span] & self._rows.started[span]
        self._lists[phase] = np.flatnonzero(wanted) + span.start
        before = self._coded[phase]
        self._coded[phase] = np.flatnonzero(wanted & self._rows.coded[span]) + span.start
        for row in np.setdiff1d(before, self._coded[phase]).tolist():
            self._past.forget(row)  # what it said before it changed its codec and changed it back is long ago

    def step(self, phase: int, own_time: OwnTime) -> tuple[list[SpeechEvent], npt.NDArray[np.int32]]:
        """Events of this frame; rows inside an utterance, those that ended with this frame included, but for those whose
        frame was made up while playout waited.
        """
        rows = self._lists[phase]
        if not rows.size:
            return [], np.zeros(0, np.int32)
        if self._coded[phase].size:
            self._past.keep(self._coded[phase], own_time)
        self._own_time = own_time
        if own_time:
            rows = self._without_waiting(rows, own_time)
        detector = self._detector
        before = detector.state[rows]
        levels = levels_dbfs(self._rows.caller_pcm[rows])
        events = detector.step(rows, levels, self._ring.arrived(rows))
        inside = (before != IDLE) | (detector.state[rows] != IDLE)
        if own_time:
            waiting = [row for row, pcm in own_time.items() if not pcm.size]
            inside &= ~np.isin(rows, waiting)
        return events, rows[inside].astype(np.int32)

    def _without_waiting(self, rows: Index, own_time: OwnTime) -> Index:
        """A wait is no silence of a caller who sends his silence too: the detector waits as well, for as long as `sound` makes
        something up.
        """
        held = np.array([row for row, pcm in own_time.items() if not pcm.size], np.int64)
        waiting = held[~self._rows.silent_sender[held]]
        return rows[~np.isin(rows, waiting)] if waiting.size else rows

    def pre_roll(self, row: int) -> Samples:
        detector = self._detector
        frames = min(int(detector.pre_roll[row] + detector.onset[row] - 1), PAST_FRAMES - 1)
        if self._rows.coded[row]:
            return self._past.before(row, frames)
        # `play` has moved on: the pre-roll ends before what the utterance gets of this tick, one frame as a rule.
        own = self._own_time.get(row)
        current = 1 if own is None else len(own) // FRAME_SAMPLES
        last = np.array([int(self._rows.play[row]) - 1 - current])
        return self._ring.history(np.array([row]), frames, last)[0] if frames else np.zeros(0, np.int16)
