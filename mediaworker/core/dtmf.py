"""Key presses in RTP (RFC 4733): a press is sent many times and reported once.

All packets of one press carry the timestamp of its beginning (section 2.5.1.3); the last one comes three times with
the end bit. A press whose end was lost is reported when nothing more came for LOST_NS. Must not touch audio.
"""

from dataclasses import dataclass
from typing import Final

from mediaworker.core.legs import DtmfEvent
from shared.units import samples_to_ms

DIGITS: Final = "0123456789*#ABCD"
LOST_NS: Final = 200_000_000
STRAGGLER_NS: Final = 2_000_000_000
"""An older timestamp means a straggler for this long; after that, a stream that was numbered anew."""
PAYLOAD_BYTES: Final = 4


@dataclass(slots=True)
class _Press:
    timestamp: int
    event: int
    duration_samples: int
    seen_ns: int
    reported: bool = False


class DtmfReceiver:
    """The press in progress of every leg that has one; bounded by the number of legs."""

    def __init__(self) -> None:
        self._presses: dict[int, _Press] = {}
        self._ready: list[DtmfEvent] = []

    def packet(self, row: int, timestamp: int, payload: bytes, now_ns: int) -> bool:
        """One packet; False when it is no key press."""
        if len(payload) < PAYLOAD_BYTES or payload[0] >= len(DIGITS):
            return False
        event, ended = payload[0], bool(payload[1] & 0x80)
        duration = int.from_bytes(payload[2:4], "big")
        press = self._presses.get(row)
        if press is None or press.timestamp != timestamp:
            if press is not None:
                older = ((timestamp - press.timestamp) & 0xFFFF_FFFF) > 0x7FFF_FFFF
                if older and now_ns - press.seen_ns < STRAGGLER_NS:
                    return True  # a straggler of an older press
                self._report(row, press)
            press = self._presses[row] = _Press(timestamp, event, duration, now_ns)
        press.seen_ns = now_ns
        press.duration_samples = max(press.duration_samples, duration)
        if ended:
            self._report(row, press)
        return True

    def take(self, now_ns: int) -> list[DtmfEvent]:
        """Presses that ended since the last call."""
        if self._presses:
            for row, press in self._presses.items():
                if not press.reported and now_ns - press.seen_ns > LOST_NS:
                    self._report(row, press)
        ready, self._ready = self._ready, []
        return ready

    def restart(self, row: int) -> None:
        """Another stream begins, whose timestamps have nothing to do with those before."""
        press = self._presses.pop(row, None)
        if press is not None:
            self._report(row, press)

    def forget(self, row: int) -> None:
        self._presses.pop(row, None)

    def _report(self, row: int, press: _Press) -> None:
        if not press.reported:
            press.reported = True
            duration_ms = round(samples_to_ms(press.duration_samples))
            self._ready.append(DtmfEvent(row, DIGITS[press.event], duration_ms))
