"""Legs whose packets stopped or never came, and legs that are heard one way only.

A leg is looked at every half second, all of a phase at once. Must not end anything: it says what it found.
"""

from typing import Final

import numpy as np

from mediaworker.core.legs import LegLost, OneWay, QualityEvent
from mediaworker.core.rows import Index, Ints, Mask, Rows
from shared.units import NS_PER_S

HOLD_TIMEOUT_NS: Final = 1_800 * NS_PER_S
"""A caller who put us on hold (`a=sendonly`) may send music or nothing at all."""
MUTE_TIMEOUT_NS: Final = 15_000 * NS_PER_S
"""A leg that owes us no packets is ended by its front. Should the front have died, it ends here (I1): after the longest
call a front allows by default (`sip.max_call_s`, 14,400 s)."""
WATCH_TICKS: Final = 25
"""Legs are looked at for lost packets every half second."""
SILENT_PAUSE_NS: Final = 60 * NS_PER_S
"""A sender of comfort noise may be silent this long before its packets are missed (RFC 3389 sets no interval)."""
MUTE_START_NS: Final = 30 * NS_PER_S
"""A caller of whom nothing was heard since the start for so long is no quiet listener: even a quiet room has noise."""
AUDIBLE: Final = 64
"""A sample louder than -54 dBFS; digital silence, comfort noise of a mute key and mu-law's idle pattern stay below."""
DEAF_REPORTS: Final = 2

_DIRECTIONS: Final = (
    ("in", OneWay.NO_PACKETS | OneWay.SILENCE),
    ("out", OneWay.NOT_RECEIVED),
)
_CAUSES: Final = {
    OneWay.NO_PACKETS: "no_packets", OneWay.SILENCE: "silence", OneWay.NOT_RECEIVED: "not_received",
}  # fmt: skip


class Watch:
    """Timeouts and one-way audio of all legs. `rtcp_proves_life`: whether a leg whose packets stopped lives on while
    its reports come (a sender in silence sends none, a peer that died sends neither).
    """

    def __init__(
        self,
        rows: Rows,
        *,
        timeout_s: float,
        never_s: float,
        one_way_s: float = 5.0,
        rtcp_proves_life: bool = True,
    ) -> None:
        self._rows = rows
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._never_ns = int(never_s * NS_PER_S)
        self._one_way_ns = int(one_way_s * NS_PER_S)
        self._rtcp_proves_life = rtcp_proves_life
        self.begun: dict[tuple[str, str], int] = {}
        """Times a leg became one-way, by direction and cause."""

    def lost(self, span: slice, now_ns: int) -> list[LegLost]:
        """Legs whose packets stopped or never came. Those that hold us may be silent for long; those that owe us none
        (`sendonly`, `inactive`) only end when nobody else can have ended them.
        """
        rows = self._rows
        watched = rows.started[span] & ~rows.lost[span]
        received = rows.received[span] > 0
        silent = np.where(received, self._timeout_ns, self._never_ns)
        silent = np.where(rows.silent_sender[span], np.maximum(silent, SILENT_PAUSE_NS), silent)
        silent = np.where(rows.sends[span], silent, np.maximum(silent, HOLD_TIMEOUT_NS))
        silent = np.where(rows.receives[span], silent, np.maximum(silent, MUTE_TIMEOUT_NS))
        packets = np.maximum(rows.arrived_ns[span], rows.watched_ns[span])
        gone = now_ns - packets > silent
        if self._rtcp_proves_life:
            reported = received & (now_ns - rows.rtcp_arrived_ns[span] <= silent)
            gone &= ~reported | (now_ns - packets > np.maximum(silent, HOLD_TIMEOUT_NS))
        found = np.flatnonzero(watched & gone) + span.start
        rows.lost[found] = True
        return [LegLost(row, "rtp_timeout" if rows.received[row] else "rtp_never") for row in found.tolist()]

    # --- one way

    def one_way(self, span: slice, now_ns: int) -> list[QualityEvent]:
        """Legs that began or ceased to be heard one way only. A leg on hold is none of them: it is silent by agreement."""
        rows = self._rows
        self._listen(span)
        both = rows.started[span] & rows.sends[span] & rows.receives[span]
        found = self._unheard(span, now_ns) * both + self._unhearing(span) * (
            rows.started[span] & rows.sends[span]
        )
        changed = np.flatnonzero(found != rows.one_way[span])
        if not changed.size:
            return []
        at = changed + span.start
        before = rows.one_way[at]
        rows.one_way[at] = found[changed]
        return self._told(at, before)

    def _listen(self, span: slice) -> None:
        """Which of the rows not heard yet are audible in the frame just played: of a talker, one of a few is."""
        rows = self._rows
        at = np.flatnonzero(rows.started[span] & ~rows.audible[span]) + span.start
        if at.size:
            pcm = rows.caller_pcm[at]
            rows.audible[at] = (np.max(pcm, axis=1) > AUDIBLE) | (np.min(pcm, axis=1) < -AUDIBLE)

    def _unheard(self, span: slice, now_ns: int) -> Ints:
        rows = self._rows
        since = np.maximum(rows.arrived_ns[span], rows.watched_ns[span])
        patience = np.where(
            rows.silent_sender[span], np.maximum(self._one_way_ns, SILENT_PAUSE_NS), self._one_way_ns
        )
        missing: Mask = now_ns - since > patience
        mute = ~missing & ~rows.audible[span] & (now_ns - rows.watched_ns[span] > MUTE_START_NS)
        return missing * int(OneWay.NO_PACKETS) + mute * int(OneWay.SILENCE)

    def _unhearing(self, span: slice) -> Ints:
        deaf: Mask = self._rows.deaf_reports[span] >= DEAF_REPORTS
        return deaf * int(OneWay.NOT_RECEIVED)

    def _told(self, at: Index, before: Ints) -> list[QualityEvent]:
        events = []
        for row, was in zip(at.tolist(), before.tolist(), strict=True):
            now = int(self._rows.one_way[row])
            for direction, flags in _DIRECTIONS:
                if bool(now & flags) != bool(was & flags):
                    cause = _CAUSES[OneWay((now | was) & flags)]
                    events.append(self._event(row, direction, cause, begun=bool(now & flags)))
        return events

    def _event(self, row: int, direction: str, cause: str, *, begun: bool) -> QualityEvent:
        if begun:
            self.begun[direction, cause] = self.begun.get((direction, cause), 0) + 1
        return QualityEvent(row, "one_way", direction, "begun" if begun else "ended", {"cause": cause})
