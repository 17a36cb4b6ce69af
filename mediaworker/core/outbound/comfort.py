"""When a leg's own silence is not sent, and what is sent instead: comfort noise (RFC 3389).

Only for legs that agreed on it. After 200 ms of silence one packet says how loud the silence is, others follow when that changes
and now and then, for NATs and for receivers that take a second without packets for a fault. Must not make noise: that is
for who receives it.
"""

from typing import Final

import numpy as np

from mediaworker.core.legs import Samples

SILENT_DBOV: Final = 55
"""So many dB below overload and less is silence: below what a telephone line adds by itself."""
SILENT_TICKS: Final = 10
REFRESH_TICKS: Final = 50
CHANGE_DB: Final = 6
FLOOR_DBOV: Final = 127
"""The lowest level there is, digital silence."""


def level(pcm: Samples) -> int:
    """How many dB a frame is below overload, 0 to 127 (RFC 3389 section 3)."""
    wave = pcm.astype(np.float32)
    power = float(np.dot(wave, wave)) / max(1, len(wave)) / 32_768.0**2
    return FLOOR_DBOV if power <= 0 else int(min(FLOOR_DBOV, max(0, round(-10 * np.log10(power)))))


def payload(level_dbov: int) -> bytes:
    """A packet of one octet: the level, no spectrum."""
    return bytes([level_dbov & 0x7F])


class Silence:
    """Follows one leg that may leave its silence out; one `step` per 20 ms."""

    __slots__ = ("_level", "_since", "_ticks", "resting")

    def __init__(self) -> None:
        self._ticks = 0
        self._since = 0
        self._level = FLOOR_DBOV
        self.resting = False
        """No audio is sent."""

    def step(self, pcm: Samples, *, begun: bool = False) -> bytes | None:
        """The comfort noise packet that is due, empty for none; None: these 20 ms are to be sent as audio, as they are in
        any case where a packet of audio is `begun`.
        """
        now = level(pcm)
        if now < SILENT_DBOV:
            self._ticks, self.resting = 0, False
            return None
        self._ticks += 1
        if self._ticks <= SILENT_TICKS or begun:
            return None
        due = not self.resting or self._since >= REFRESH_TICKS or abs(now - self._level) >= CHANGE_DB
        self.resting = True
        self._since += 1
        if not due:
            return b""
        self._since, self._level = 1, now
        return payload(now)
