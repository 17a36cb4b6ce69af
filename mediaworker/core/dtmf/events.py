"""The payload of a telephone event (RFC 4733 section 2.3) and the keys it names. Must not know streams or legs."""

import struct
from typing import Final, NamedTuple

DIGITS: Final = "0123456789*#ABCD!"
"""Event n is key DIGITS[n] (RFC 4733 section 3.2); event 16, flash, is `!` as in ITU-T H.245."""
FLASH: Final = "!"
SEGMENT: Final = 0xFFFF
"""The longest duration that fits; what lasts longer goes on under a timestamp later by as much (section 2.5.1.3)."""
EVENT_BYTES: Final = 4

_EVENT: Final = struct.Struct("!BBH")
_END: Final = 0x80
_VOLUME: Final = 0x3F


class TelephoneEvent(NamedTuple):
    """One report of an event: `duration` so far, in units of the RTP clock."""

    event: int
    duration: int
    ended: bool
    volume: int = 10
    """Level in dBm0 without its sign, 0 to 63."""

    def encode(self) -> bytes:
        second = self.volume & _VOLUME | (_END if self.ended else 0)
        return _EVENT.pack(self.event, second, self.duration)


def decode(payload: bytes) -> list[TelephoneEvent]:
    """The reports in a payload; one that follows another begins where that one ends (section 2.5.1.5). Empty: none,
    or something that is no key.
    """
    if not payload or len(payload) % EVENT_BYTES:
        return []
    found = [
        TelephoneEvent(event, duration, bool(second & _END), second & _VOLUME)
        for event, second, duration in _EVENT.iter_unpack(payload)
    ]
    return found if all(report.event < len(DIGITS) for report in found) else []
