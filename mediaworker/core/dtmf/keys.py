"""Key presses of all legs, in and out: what the engine knows of them.

Wires the parts of this package: telephone events and tones in, digits out, one event for each press. A leg that needs none
of it costs nothing. Must not know calls.
"""

from collections import Counter
from typing import Final

import numpy as np

from mediaworker.core.dtmf.detector import ToneDetector
from mediaworker.core.dtmf.events import DIGITS
from mediaworker.core.dtmf.presses import Presses
from mediaworker.core.dtmf.receiver import DtmfReceiver
from mediaworker.core.dtmf.sender import KeySender, Style
from mediaworker.core.inbound.timeline import OwnTime
from mediaworker.core.legs import DtmfEvent
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Index, Rows
from shared.contracts import InbandDtmf, MediaFormat
from shared.units import NS_PER_MS

MODES: Final[tuple[InbandDtmf, ...]] = ("never", "auto", "always")
"""As numbers in `rows.inband`: one is taken off where telephone events were agreed, what is left is listened to."""


class Keys:
    """`receiver` takes the packets, `sender` makes them; `take` gives each press once."""

    def __init__(self, rows: Rows, transmitter: Transmitter, rejected: Counter[str]) -> None:
        self._rows = rows
        self.receiver = DtmfReceiver()
        self.sender = KeySender(rows, transmitter)
        self._detector = ToneDetector(rows.count)
        self._presses = Presses(rejected)
        self.listened: list[Index] = [np.zeros(0, np.int64) for _ in range(rows.phases)]
        """Rows of each phase whose sound is listened to."""
        self._heard: list[DtmfEvent] = []

    # --- a leg's life

    def open(self, row: int, inband: InbandDtmf) -> None:
        self._rows.inband[row] = MODES.index(inband)
        self._detector.open(row)

    def set_format(self, row: int, wanted: MediaFormat) -> None:
        self.receiver.set_clock(row, wanted.dtmf_clock_rate_hz)
        self.sender.set_clock(row, wanted.dtmf_clock_rate_hz)

    def changed(self, phase: int) -> None:
        """A leg of the phase began, ended or changed."""
        rows = self._rows
        span = rows.span(phase)
        wanted = rows.inband[span] - (rows.dtmf_type[span] >= 0) > 0
        self.listened[phase] = np.flatnonzero(wanted & rows.started[span] & rows.receives[span]) + span.start

    def close(self, row: int) -> None:
        self._detector.open(row)
        self.receiver.forget(row)
        self.sender.forget(row)
        self._presses.forget(row)
        self._heard = [event for event in self._heard if event.row != row]

    # --- per tick

    def listen(self, phase: int, own_time: OwnTime) -> None:
        """Looks for tones in what the callers of the phase say; a tone is taken out of it, so that it is no speech."""
        rows = self._rows
        listened = self.listened[phase]
        for row, digit, duration_ms in self._detector.step(listened, rows.caller_pcm[listened]):
            self._heard.append(DtmfEvent(row, digit, duration_ms, "inband"))
        for row in self._detector.held():
            if rows.phase_of(row) == phase:
                self._mute(row, own_time)

    def send(self, phase: int, now_ns: int) -> None:
        """This tick's reports of the digits that we send; before its audio is written."""
        for row, digit, duration_ms in self.sender.step(phase):
            self._presses.send(row, digit, now_ns + duration_ms * NS_PER_MS)

    def take(self, now_ns: int) -> list[DtmfEvent]:
        """Presses that ended since the last call, each once."""
        heard, self._heard = self._heard, []
        found = self.receiver.take(now_ns) + heard
        return [event for event in found if self._presses.is_new(event, now_ns)] if found else found

    def _mute(self, row: int, own_time: OwnTime) -> None:
        self._rows.caller_pcm[row] = 0
        if self._rows.wide[row]:
            self._rows.caller_wide[row] = 0
        if row in own_time:
            own_time[row] = np.zeros_like(own_time[row])

    # --- commands

    def press(self, row: int, digits: str, style: Style) -> bool:
        """Sends digits to a leg; False when they cannot be sent."""
        return self.sender.send(row, digits, style)

    def told(self, row: int, digit: str, duration_ms: int) -> bool:
        """A press that signalling told of; False when it is no key."""
        if digit not in DIGITS or len(digit) != 1:
            return False
        self._heard.append(DtmfEvent(row, digit, duration_ms, "info"))
        return True
