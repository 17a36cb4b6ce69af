"""What the caller says: the frame due in each row, decoded, holes concealed.

Must not judge it; that is `speech`. Rows not started or not received from are silent here.
"""

import numpy as np

from mediaworker.core import plc
from mediaworker.core.g711 import A_LAW, MU_LAW, Octets
from mediaworker.core.jitter import HISTORY_FRAMES, JitterRing
from mediaworker.core.rows import Mask, Rows
from mediaworker.core.rtp import FRAME_BYTES

ALIVE_FRAMES = 50
"""A hole longer than a second is a silent sender, no longer a loss that is concealed."""


class CallerSound:
    """Fills `rows.caller_pcm` of one phase per call."""

    def __init__(self, rows: Rows, ring: JitterRing) -> None:
        self._rows = rows
        self._ring = ring
        self._payload: Octets = np.zeros((rows.block, FRAME_BYTES), np.uint8)

    def play(self, phase: int, span: slice) -> None:
        rows = self._rows
        pcm = rows.caller_pcm[span]
        payload = self._payload[: len(pcm)]
        have = self._ring.due(span, phase, payload)
        MU_LAW.decode(payload, pcm)
        alaw = rows.alaw[span]
        if np.count_nonzero(alaw):
            pcm[alaw] = A_LAW.decoder[payload[alaw]]
        if np.count_nonzero(have) < len(have):
            self._fill(span, have)
        self._ring.advance(span, have)
        audible = rows.started[span] & rows.receives[span]
        if np.count_nonzero(audible) < len(audible):
            pcm[~audible] = 0

    def _fill(self, span: slice, have: Mask) -> None:
        rows = self._rows
        hole = ~have
        rows.caller_pcm[span][hole] = 0
        run = rows.hole_run[span]
        alive = hole & rows.flowing[span]
        rows.concealed[span] += alive & (run < ALIVE_FRAMES)
        fading = np.flatnonzero(alive & (run < plc.FADE_FRAMES)) + span.start
        if fading.size:
            history = self._ring.history(fading, HISTORY_FRAMES, rows.last_good[fading])
            rows.caller_pcm[fading] = plc.conceal(history, rows.hole_run[fading])
