"""One event for one press, in however many ways it was told: telephone events, tones, SIP INFO.

What tells a press first is believed and reported at once. The same key from another source is the same press when it
began no later than WINDOW_NS after that one ended; each report takes up one of each other source, so "55" told
twice over is two presses. Tones of a leg that ever sent a telephone event no longer count: what
leaks into its sound are pieces of presses that the events tell whole. Tones that we sent ourselves come back as echo and
are nobody's press for ECHO_NS after their end. Must not know where reports come from.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from mediaworker.core.legs import DtmfEvent
from shared.contracts import DigitSource
from shared.units import NS_PER_MS

WINDOW_NS: Final = 1_000 * NS_PER_MS
"""An INFO takes its way through proxies and the front; tones go through the jitter buffer."""
ECHO_NS: Final = 1_000 * NS_PER_MS
KEPT_NS: Final = 10_000 * NS_PER_MS
KEPT: Final = 32
"""Presses of a leg that another source may still repeat: a long press is told by INFO at its beginning, by its event at its
end. A leg that tells more within WINDOW_NS is not pressing keys, it floods: the rest is refused."""


@dataclass(slots=True)
class _Told:
    digit: str
    ended_ns: int
    sources: set[DigitSource] = field(default_factory=set)


class Presses:
    """What was told of every leg lately."""

    def __init__(self, rejected: Counter[str]) -> None:
        self._rejected = rejected
        self._told: dict[int, list[_Told]] = {}
        self._events: set[int] = set()
        self._ours: dict[int, dict[str, int]] = {}
        """Our own digits, and until when they may come back."""

    def forget(self, row: int) -> None:
        self._told.pop(row, None)
        self._events.discard(row)
        self._ours.pop(row, None)

    def send(self, row: int, digit: str, ends_ns: int) -> None:
        """We press a key ourselves."""
        self._ours.setdefault(row, {})[digit] = ends_ns + ECHO_NS

    def is_new(self, event: DtmfEvent, now_ns: int) -> bool:
        """Whether this is a press that was not told before; it ended now."""
        row, source = event.row, event.source
        if source == "rfc4733":
            self._events.add(row)
        elif source == "inband" and (row in self._events or self._is_ours(event, now_ns)):
            return False
        began_ns = now_ns - event.duration_ms * NS_PER_MS
        kept = [told for told in self._told.get(row, ())[-KEPT:] if now_ns - told.ended_ns <= KEPT_NS]
        self._told[row] = kept
        for told in kept:
            same = told.digit == event.digit and source not in told.sources
            if same and began_ns - told.ended_ns <= WINDOW_NS:
                told.sources.add(source)
                return False
        if len(kept) >= KEPT and now_ns - kept[0].ended_ns < WINDOW_NS:
            self._rejected["dtmf_rate"] += 1
            return False
        kept.append(_Told(event.digit, now_ns, {source}))
        return True

    def _is_ours(self, event: DtmfEvent, now_ns: int) -> bool:
        began_ns = now_ns - event.duration_ms * NS_PER_MS
        return began_ns <= self._ours.get(event.row, {}).get(event.digit, began_ns - 1)
