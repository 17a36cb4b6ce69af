"""Digits that we send: as telephone events (RFC 4733 section 2.5.1), or as tones where the peer agreed to none.

A key is reported every 20 ms from its first 20 ms on, with the timestamp of its beginning and the marker on the first packet;
its last report comes three times, with the end bit. Its packets stand in the place of the leg's audio, in the same
stream, whose clock runs on. While digits are sent the leg hears nothing else: its playout waits. A held leg's digits wait
too. Must not mix or encode; `output` asks for the tones, `transmit` writes the packets.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from mediaworker.core.dtmf.events import DIGITS, FLASH, SEGMENT, TelephoneEvent
from mediaworker.core.dtmf.tones import tone
from mediaworker.core.legs import Samples
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Mask, Rows
from shared.contracts import DigitsVia
from shared.units import (
    FRAME_SAMPLES,
    NARROWBAND_HZ,
    TICK_MS,
    WIDE_FRAME_SAMPLES,
    WIDEBAND_HZ,
)

PAUSE: Final = ","
PAUSE_TICKS: Final = 50
KEYS_MAX: Final = 64
"""Keys of one leg that wait; more are refused."""
LENGTHS_MS: Final = range(40, 6_001)
"""Of keys and gaps: ITU-T Q.24 wants 40 ms to be recognised."""
LEVELS_DBM0: Final = range(-36, 1)
"""RFC 4733 section 2.3.3: a receiver may ignore keys below -36 dBm0."""
END_PACKETS: Final = 3


class Style(NamedTuple):
    """How keys are pressed."""

    via: DigitsVia = "auto"
    duration_ms: int = 100
    gap_ms: int = 100
    level_dbm0: int = -10


class Pressing(NamedTuple):
    """A key of ours begins, and sounds for so long."""

    row: int
    digit: str
    duration_ms: int


@dataclass(slots=True)
class _Key:
    """A key under way."""

    digit: str
    ticks: int
    """That it is pressed."""
    rest: int
    """Ticks of silence after it."""
    events: bool
    volume: int
    start: int = 0
    """RTP timestamp of its beginning..."""
    ssrc: int = 0
    """...in this stream."""
    tick: int = 0
    sound: Samples = field(default_factory=lambda: np.zeros(0, np.int16))


class KeySender:
    """Keys of all legs that have some to send; bounded by KEYS_MAX for each."""

    def __init__(self, rows: Rows, transmitter: Transmitter) -> None:
        self._rows = rows
        self._transmitter = transmitter
        self._waiting: dict[int, deque[tuple[str, Style]]] = {}
        self._current: dict[int, _Key] = {}
        self._clock_hz: dict[int, int] = {}
        self._holding: Mask = np.zeros(rows.count, np.bool_)

    def __bool__(self) -> bool:
        """Whether digits are being sent to any leg."""
        return bool(self._waiting)

    def set_clock(self, row: int, clock_hz: int) -> None:
        """Of the leg's telephone events."""
        if clock_hz == NARROWBAND_HZ:
            self._clock_hz.pop(row, None)
        else:
            self._clock_hz[row] = clock_hz

    def send(self, row: int, digits: str, style: Style) -> bool:
        """Keys after those that wait; False, and nothing done, when they cannot be sent."""
        if not self._can_be(row, digits, style):
            return False
        waiting = self._waiting.setdefault(row, deque())
        waiting.extend((digit, style) for digit in digits)
        self._holding[row] = True
        return True

    def _can_be(self, row: int, digits: str, style: Style) -> bool:
        events = bool(self._rows.dtmf_type[row] >= 0)
        if style.via == "rfc4733" and not events:
            return False
        by_event = events and style.via != "inband"
        allowed = DIGITS + PAUSE if by_event else DIGITS.replace(FLASH, PAUSE)
        fits = 0 < len(digits) <= KEYS_MAX - len(self._waiting.get(row, ()))
        lengths = style.duration_ms in LENGTHS_MS and style.gap_ms in LENGTHS_MS
        return (
            fits and lengths and style.level_dbm0 in LEVELS_DBM0 and all(digit in allowed for digit in digits)
        )

    def forget(self, row: int) -> None:
        self._clock_hz.pop(row, None)
        self._waiting.pop(row, None)
        self._current.pop(row, None)
        self._holding[row] = False

    # --- per tick

    def step(self, phase: int) -> list[Pressing]:
        """The reports of this tick, before its audio is written; keys that begin with it."""
        rows = self._rows
        begun: list[Pressing] = []
        for row in [row for row in self._waiting if rows.phase_of(row) == phase]:
            if not (rows.started[row] and rows.sends[row]):
                continue
            key = self._current.get(row)
            if key is None or key.tick >= key.ticks + key.rest:
                key = self._next(row, begun)
            if key is not None:
                if key.events:
                    self._event(row, key)
                key.tick += 1
        return begun

    def quiet(self, span: slice, ready: Mask) -> Mask:
        """`ready` without the rows whose playout waits."""
        return ready & ~self._holding[span]

    def overlay(self, span: slice, sound: Mask) -> Mask:
        """Puts this tick's tones where everything else would be; says which rows of the span have sound then."""
        rows = self._rows
        held = np.flatnonzero(self._holding[span]) + span.start
        if not held.size:
            return sound
        rows.sent_pcm[held] = 0
        wide = held[rows.wide[held]]
        if wide.size:
            rows.sent_wide[wide] = 0
        sound = sound & ~self._holding[span]
        for row in held.tolist():
            if self._sound(row):
                sound[row - span.start] = True
        return sound

    def _sound(self, row: int) -> bool:
        key = self._current.get(row)
        rows = self._rows
        if key is None or not key.sound.size or not rows.sends[row]:
            return False
        wide = bool(rows.wide[row])
        size = WIDE_FRAME_SAMPLES if wide else FRAME_SAMPLES
        if len(key.sound) != key.ticks * size:  # the leg's rate has changed
            key.sound = self._tone(row, key)
        frame = key.sound[(key.tick - 1) * size : key.tick * size]
        if len(frame) < size:
            return False
        (rows.sent_wide if wide else rows.sent_pcm)[row] = frame
        return True

    # --- inside

    def _next(self, row: int, begun: list[Pressing]) -> _Key | None:
        """The key that begins now; None when there is none any more."""
        waiting = self._waiting[row]
        if self._transmitter.taken_over(row):
            self._transmitter.hand_back(row)
        if not waiting:
            del self._waiting[row]
            self._current.pop(row, None)
            self._holding[row] = False
            return None
        key = self._current[row] = self._begin(row, *waiting.popleft())
        if key.digit != PAUSE:
            begun.append(Pressing(row, key.digit, key.ticks * TICK_MS))
        return key

    def _begin(self, row: int, digit: str, style: Style) -> _Key:
        if digit == PAUSE:
            return _Key(digit, 0, PAUSE_TICKS, events=False, volume=0)
        rows = self._rows
        ticks, rest = -(-style.duration_ms // TICK_MS), -(-style.gap_ms // TICK_MS)
        events = style.via != "inband" and bool(rows.dtmf_type[row] >= 0)
        key = _Key(digit, ticks, rest, events=events, volume=-style.level_dbm0)
        if events:
            key.start, key.ssrc = int(rows.out_time[row]), int(rows.out_ssrc[row])
            self._transmitter.take_over(row)
        elif digit != FLASH:
            key.sound = self._tone(row, key)
        return key

    def _tone(self, row: int, key: _Key) -> Samples:
        rate_hz = WIDEBAND_HZ if self._rows.wide[row] else NARROWBAND_HZ
        return tone(key.digit, key.ticks * TICK_MS, -key.volume, rate_hz)

    def _event(self, row: int, key: _Key) -> None:
        rows, after_end = self._rows, key.tick - key.ticks
        # While the key was pressed the peer took its telephone events back, or another stream began, of another clock.
        if rows.dtmf_type[row] < 0 or rows.out_ssrc[row] != key.ssrc:
            if self._transmitter.taken_over(row):
                self._transmitter.hand_back(row)
        elif after_end < END_PACKETS - 1:
            self._report(row, key)
        elif after_end == END_PACKETS - 1:
            self._transmitter.hand_back(row)

    def _report(self, row: int, key: _Key) -> None:
        """One packet; where the duration grows out of its 16 bits, one more that ends the segment before."""
        step = self._clock_hz.get(row, NARROWBAND_HZ) * TICK_MS // 1_000
        told = min(key.tick + 1, key.ticks) * step
        segment = (told - 1) // SEGMENT
        if key.tick < key.ticks and segment > (told - step - 1) // SEGMENT >= 0:
            self._write(row, key, segment - 1, SEGMENT, ended=False)
        self._write(row, key, segment, told - segment * SEGMENT, ended=key.tick + 1 >= key.ticks)

    def _write(self, row: int, key: _Key, segment: int, duration: int, *, ended: bool) -> None:
        event = TelephoneEvent(DIGITS.index(key.digit), duration, ended, key.volume)
        self._transmitter.write(
            row, event.encode(), payload_type=int(self._rows.dtmf_type[row]),
            timestamp=key.start + segment * SEGMENT, marker=key.tick == 0,
        )  # fmt: skip
