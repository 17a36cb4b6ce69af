"""Key presses in RTP (RFC 4733): a press is sent many times and reported once.

All packets of a press carry the timestamp of its beginning (section 2.5.1.3); the last one comes three times with the
end bit. A press is known by its timestamp and key, so it is reported once in whatever order its packets come, and even
when all but one of them are lost. A press whose end was lost is reported when nothing more came for LOST_NS, or when
the next one begins. Must not touch audio.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from mediaworker.core.dtmf.events import DIGITS, SEGMENT, decode
from mediaworker.core.legs import DtmfEvent
from shared.units import NARROWBAND_HZ, NS_PER_MS, samples_to_ms

LOST_NS: Final = 200 * NS_PER_MS
REMEMBERED_NS: Final = 5_000 * NS_PER_MS
"""After that a timestamp seen again is another press: of a stream that was numbered anew."""
REMEMBERED: Final = 8
"""Presses of a leg whose stragglers are recognised; reordering does not reach farther."""
_MASK: Final = 0xFFFF_FFFF
_NEWER: Final = 0x8000_0000


@dataclass(slots=True)
class _Press:
    start: int
    """Timestamp of its first segment."""
    event: int
    seen_ns: int
    span: int = 0
    """From there to its newest segment."""
    duration: int = 0
    """All segments together."""
    ended: bool = False
    reported: bool = False

    def offset(self, timestamp: int, event: int) -> int | None:
        """Where in this press a packet belongs; None when it is another's."""
        offset = (timestamp - self.start) & _MASK
        if event != self.event or offset % SEGMENT or offset > self.span + SEGMENT:
            return None
        return None if self.ended and offset > self.span else offset


class DtmfReceiver:
    """The latest presses of every leg that had some; bounded by the number of legs."""

    def __init__(self) -> None:
        self._recent: dict[int, deque[_Press]] = {}
        self._open: dict[int, list[_Press]] = {}
        """Those not reported yet."""
        self._clock_hz: dict[int, int] = {}
        self._ready: list[DtmfEvent] = []

    def set_clock(self, row: int, clock_hz: int) -> None:
        """Of the leg's telephone events: what their durations count."""
        if clock_hz == NARROWBAND_HZ:
            self._clock_hz.pop(row, None)
        else:
            self._clock_hz[row] = clock_hz

    def packet(self, row: int, timestamp: int, payload: bytes, now_ns: int) -> bool:
        """One packet; False when it is no key press."""
        reports = decode(payload)
        for report in reports:
            self._report(row, timestamp, report.event, report.duration, now_ns, ended=report.ended)
            timestamp = (timestamp + report.duration) & _MASK
        return bool(reports)

    def take(self, now_ns: int) -> list[DtmfEvent]:
        """Presses that ended since the last call."""
        if self._open:
            for row, presses in list(self._open.items()):
                for press in list(presses):
                    if now_ns - press.seen_ns > LOST_NS:
                        self._tell(row, press)
        ready, self._ready = self._ready, []
        return ready

    def restart(self, row: int) -> None:
        """Another stream begins, whose timestamps have nothing to do with those before."""
        for press in list(self._open.get(row, ())):
            self._tell(row, press)
        self._recent.pop(row, None)

    def forget(self, row: int) -> None:
        self._recent.pop(row, None)
        self._open.pop(row, None)
        self._clock_hz.pop(row, None)
        self._ready = [event for event in self._ready if event.row != row]

    # --- inside

    def _report(
        self, row: int, timestamp: int, event: int, duration: int, now_ns: int, *, ended: bool
    ) -> None:
        press, offset = self._find(row, timestamp, event, now_ns)
        press.seen_ns = now_ns
        press.span = max(press.span, offset)
        press.duration = max(press.duration, offset + duration)
        if ended:
            press.ended = True
            self._tell(row, press)

    def _find(self, row: int, timestamp: int, event: int, now_ns: int) -> tuple[_Press, int]:
        """The press that a packet belongs to, perhaps a new one, and where in it."""
        recent = self._recent.setdefault(row, deque(maxlen=REMEMBERED))
        for press in reversed(recent):
            offset = press.offset(timestamp, event)
            if offset is not None and now_ns - press.seen_ns < REMEMBERED_NS:
                return press, offset
        for press in list(self._open.get(row, ())):
            if (timestamp - press.start) & _MASK < _NEWER:
                self._tell(row, press)
        press = _Press(timestamp, event, now_ns)
        recent.append(press)
        self._open.setdefault(row, []).append(press)
        return press, 0

    def _tell(self, row: int, press: _Press) -> None:
        if press.reported:
            return
        press.reported = True
        presses = self._open[row]
        presses.remove(press)
        if not presses:
            del self._open[row]
        duration_ms = round(samples_to_ms(press.duration, self._clock_hz.get(row, NARROWBAND_HZ)))
        self._ready.append(DtmfEvent(row, DIGITS[press.event], duration_ms))
