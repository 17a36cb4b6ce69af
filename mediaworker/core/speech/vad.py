"""The energy gate: who speaks, and where an utterance begins, pauses and ends.

A frame is loud when it is above the threshold and 9 dB above the leg's noise floor. The floor falls fast and rises
slowly (6 dB/s under -30 dBFS, 1 dB/s above: what is that loud is rather speech), so steady noise is learnt and a long
vowel is not. The order of events per leg is IDLE -ONSET-> SPEAKING -PAUSE-> PAUSED -RESUME-> SPEAKING -END-> IDLE, with
LASTED once per utterance. Must not keep audio; measured delays of such a gate: FACTS section 4.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples, Speech, SpeechEvent
from mediaworker.core.rows import UNSET, Index, Ints, Mask
from shared.contracts import TurnSettings
from shared.units import TICK_MS

IDLE: Final = 0
SPEAKING: Final = 1
PAUSED: Final = 2

MARGIN_DB: Final = 9.0
FLOOR_START_DB: Final = -60.0
FLOOR_TOP_DB: Final = -20.0
FLOOR_FALL: Final = 0.5
"""Share of the way down that the floor goes in one frame."""
RISE_QUIET_DB: Final = 6.0 * TICK_MS / 1_000
RISE_LOUD_DB: Final = 1.0 * TICK_MS / 1_000
RISE_BORDER_DB: Final = -30.0
RESUME_FRAMES: Final = 2
"""A click is no speech: so many loud frames in a row end a pause."""
SILENCE_DB: Final = -100.0
NEVER: Final = 1 << 40

_FULL_SCALE: Final = 32_768.0**2

Levels = npt.NDArray[np.float64]


def levels_dbfs(pcm: Samples) -> Levels:
    """[L, S] samples to [L] mean power in dB of full scale; at least SILENCE_DB."""
    wide = pcm.astype(np.float64)
    power = np.vecdot(wide, wide) / (pcm.shape[1] * _FULL_SCALE)
    levels: Levels = 10.0 * np.log10(np.maximum(power, 1e-10))
    return levels


def _frames(ms: int) -> int:
    return max(1, -(-ms // TICK_MS))


class Detector:
    """State of the gate, one row per leg."""

    def __init__(self, count: int) -> None:
        self.state: Ints = np.zeros(count, np.int64)
        self.floor_db: Levels = np.full(count, FLOOR_START_DB)
        self.threshold_db: Levels = np.zeros(count)
        self.loud_run: Ints = np.zeros(count, np.int64)
        self.quiet_run: Ints = np.zeros(count, np.int64)
        self.length: Ints = np.zeros(count, np.int64)
        self.told_lasted: Mask = np.zeros(count, np.bool_)
        self.first_loud_ns: Ints = np.full(count, UNSET, np.int64)
        self.last_loud_ns: Ints = np.full(count, UNSET, np.int64)
        self.onset: Ints = np.ones(count, np.int64)
        self.pause: Ints = np.ones(count, np.int64)
        self.endpoint: Ints = np.ones(count, np.int64)
        self.barge_in: Ints = np.ones(count, np.int64)
        self.longest: Ints = np.ones(count, np.int64)
        self.pre_roll: Ints = np.zeros(count, np.int64)

    def open(self, row: int, settings: TurnSettings, threshold_db: float) -> None:
        self.state[row] = IDLE
        self.floor_db[row] = FLOOR_START_DB
        self.threshold_db[row] = threshold_db
        for counter in (self.loud_run, self.quiet_run, self.length):
            counter[row] = 0
        self.told_lasted[row] = False
        self.first_loud_ns[row] = self.last_loud_ns[row] = UNSET
        self.configure(row, settings)

    def configure(self, row: int, settings: TurnSettings) -> None:
        """New thresholds for a row, valid from the next frame."""
        self.onset[row] = _frames(settings.onset_ms)
        self.pause[row] = _frames(settings.pause_ms)
        self.endpoint[row] = _frames(settings.endpoint_ms)
        self.barge_in[row] = _frames(settings.barge_in_ms) if settings.barge_in_ms > 0 else NEVER
        self.longest[row] = _frames(settings.max_utterance_ms)
        self.pre_roll[row] = max(0, settings.pre_roll_ms) // TICK_MS

    def step(self, rows: Index, levels: Levels, arrived_ns: Ints) -> list[SpeechEvent]:
        """One frame of each of the rows, with its level and its packet's arrival."""
        loud = self._loud(rows, levels)
        state = self.state[rows]
        idle = state == IDLE
        before = self.loud_run[rows]
        run = np.where(loud, before + 1, 0)
        self.loud_run[rows] = run
        quiet = np.where(loud & ((state != PAUSED) | (run >= RESUME_FRAMES)), 0, self.quiet_run[rows] + 1)
        self.quiet_run[rows] = quiet
        length = np.where(idle, run, self.length[rows] + 1)
        self.length[rows] = length
        first = rows[loud & idle & (before == 0)]
        if first.size:
            self.first_loud_ns[first] = arrived_ns[loud & idle & (before == 0)]
            self.told_lasted[first] = False
        spoke = rows[loud]
        self.last_loud_ns[spoke] = arrived_ns[loud]
        if not (loud.any() or not idle.all()):
            return []
        return self._events(rows, state, loud, run, quiet, length)

    def _loud(self, rows: Index, levels: Levels) -> Mask:
        floor = self.floor_db[rows]
        loud: Mask = (levels > self.threshold_db[rows]) & (levels > floor + MARGIN_DB)
        rise = np.where(levels < RISE_BORDER_DB, RISE_QUIET_DB, RISE_LOUD_DB)
        risen = np.minimum(np.minimum(floor + rise, levels), np.maximum(floor, FLOOR_TOP_DB))
        self.floor_db[rows] = np.where(levels < floor, floor + (levels - floor) * FLOOR_FALL, risen)
        return loud

    def _events(
        self, rows: Index, state: Ints, loud: Mask, run: Ints, quiet: Ints, length: Ints
    ) -> list[SpeechEvent]:
        onset = (state == IDLE) & (run >= self.onset[rows])
        resume = (state == PAUSED) & (quiet == 0)
        active = (state != IDLE) | onset
        lasted = active & loud & ~self.told_lasted[rows] & (length >= self.barge_in[rows])
        end = active & ((quiet >= self.endpoint[rows]) | (length >= self.longest[rows]))
        pause = (state == SPEAKING) & (quiet >= self.pause[rows])
        self.told_lasted[rows] |= lasted
        after = np.where(onset | resume, SPEAKING, np.where(pause, PAUSED, state))
        self.state[rows] = np.where(end, IDLE, after)
        if end.any():
            ended = rows[end]
            self.loud_run[ended] = 0
            self.length[ended] = 0
        events: list[SpeechEvent] = []
        for kind, mask in (
            (Speech.ONSET, onset), (Speech.RESUME, resume), (Speech.LASTED, lasted),
            (Speech.PAUSE, pause), (Speech.END, end),
        ):  # fmt: skip
            if mask.any():
                events += [
                    SpeechEvent(row, kind, int(self.first_loud_ns[row]), int(self.last_loud_ns[row]))
                    for row in rows[mask].tolist()
                ]
        return events
