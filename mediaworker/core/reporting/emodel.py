"""The E-model: how good a connection sounds, from what its network did to it, for arrays of legs.

Narrowband by ITU-T G.107 (06/2015) with all of its terms, wideband by G.107.1 (06/2019); impairments of codecs by G.113
appendices I and IV. `rating` gives R on the model's own scale (93.2 and 129 for a perfect line), `mos` brings either to
1 to 4.5 (G.107 annex B, G.107.1 annex A). They are planning figures, not the opinion of a person. Must not know legs.
Where nothing was published for a codec, `CODECS` says so: docs/quality.md.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BURST_MAX: Final = 8.0
"""The burst ratio is not validated beyond this (G.107 section 7.5, table 3)."""
WIDE_CLEAR: Final = 129.0
"""R of a clear wideband line: Ro,WB = 129 with Is,WB = 0 (G.107.1 section 7.1)."""
_WIDE_SCALE: Final = 1.29


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The parts of a connection that we cannot measure: defaults of G.107 table 2 (dB, dBm0p, dBmp, quanta)."""

    slr: float = 8.0
    rlr: float = 2.0
    stmr: float = 15.0
    lstr: float = 18.0
    ds: float = 3.0
    telr: float = 65.0
    """Echo that the other end returns to the talker: 65 is a good echo canceller."""
    wepl: float = 110.0
    qdu: float = 1.0
    nc: float = -70.0
    nfor: float = -64.0
    ps: float = 35.0
    pr: float = 35.0
    advantage: float = 0.0

    @property
    def noise(self) -> float:
        """No: the sum of all noise, referred to the 0 dBr point (7-3 to 7-7)."""
        olr = self.slr + self.rlr
        sent = self.ps - self.slr - self.ds - 100 + 0.004 * (self.ps - olr - self.ds - 14) ** 2
        heard = self.pr + 10 * np.log10(1 + 10 ** ((10 - self.lstr) / 10))
        room = self.rlr - 121 + heard + 0.008 * (heard - 35) ** 2
        powers = [10 ** (part / 10) for part in (self.nc, sent, room, self.nfor + self.rlr)]
        return float(10 * np.log10(sum(powers)))

    @property
    def basic(self) -> float:
        """Ro: the signal above all noise (7-2)."""
        return 15 - 1.5 * (self.slr + self.noise)


DEFAULT_LINE: Final = Line()


class Codec(NamedTuple):
    """Equipment impairment and robustness to loss; on the wideband scale where `wide`."""

    ie: float
    bpl: float
    wide: bool = False
    published: bool = True
    """False: no value of ITU-T was found; the figure is the nearest codec's."""


CODECS: Final = {
    "PCMU": Codec(0.0, 25.1),
    "PCMA": Codec(0.0, 25.1),
    "L16": Codec(0.0, 25.1, published=False),
    "G722": Codec(13.0, 4.3, wide=True, published=False),
    "OPUS": Codec(1.0, 4.6, wide=True, published=False),
    "L16 wide": Codec(0.0, 4.3, wide=True, published=False),
}
"""G.113 table I.4: G.711 with concealment. Table IV.1: G.722 at 64 kbit/s has Ie 13, no Bpl; its neighbour of the same
Ie, G.722.2 at 12.65 kbit/s, has 4.3 (IV.4). Opus has neither: G.722.2 at 23.05 kbit/s, 1 and 4.6. Linear PCM loses what
its concealment loses."""


def codec_of(name: str, *, wide: bool) -> Codec:
    """The figures of a negotiated codec; linear PCM is one of two by its rate."""
    return CODECS["L16 wide" if name == "L16" and wide else name]


# --- impairments


def simultaneous(line: Line, way_ms: Floats) -> Floats:
    """Is: too loud, too much or too little sidetone, quantising (7-8 to 7-17)."""
    xolr = line.slr + line.rlr + 0.2 * (64 + line.noise - line.rlr)
    loud = 20 * ((1 + (xolr / 8) ** 8) ** (1 / 8) - xolr / 8)
    quanta = 37 - 15 * np.log10(line.qdu)
    g = 1.07 + 0.258 * quanta + 0.0602 * quanta**2
    quantised = 15 * np.log10(
        1 + 10 ** ((line.basic - 100) / 15 + 46 / 8.4 - g / 9) + 10 ** (46 / 30 - g / 40)
    )
    whole: Floats = loud + _sidetone(line, way_ms) + quantised
    return whole


def _sidetone(line: Line, way_ms: Floats) -> Floats:
    """Ist (7-10)."""
    stmr = -10 * np.log10(10 ** (-line.stmr / 10) + np.exp(-way_ms / 4) * 10 ** (-line.telr / 10))
    ist: Floats = (
        12 * (1 + ((stmr - 13) / 6) ** 8) ** (1 / 8)
        - 28 * (1 + ((stmr + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((stmr - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )
    return ist


def delayed(line: Line, way_ms: Floats) -> Floats:
    """Id of a connection whose echo path is its own way there and back: T = Ta = way, Tr = 2 way (7-18 to 7-28)."""
    return _talker_echo(line, way_ms) + _listener_echo(line, way_ms) + absolute_delay(way_ms)


def _talker_echo(line: Line, way_ms: Floats) -> Floats:
    """Idte (7-20 to 7-25)."""
    terv = line.telr - 40 * np.log10((1 + way_ms / 10) / (1 + way_ms / 150)) + 6 * np.exp(-0.3 * way_ms**2)
    if line.stmr < 9:
        terv = terv + _sidetone(line, way_ms) / 2
    distance = (-1.5 * (line.noise - line.rlr) - (80 + 2.5 * (terv - 14))) / 2
    echo = (distance + np.sqrt(distance**2 + 100) - 1) * (1 - np.exp(-way_ms))
    if line.stmr > 20:
        echo = np.sqrt(echo**2 + _sidetone(line, way_ms) ** 2)
    heard: Floats = np.where(way_ms < 1, 0.0, echo)
    return heard


def _listener_echo(line: Line, way_ms: Floats) -> Floats:
    """Idle (7-26, 7-27)."""
    distance = (line.basic - 10.5 * (line.wepl + 7) * (2 * way_ms + 1) ** -0.25) / 2
    return distance + np.sqrt(distance**2 + 169)


def absolute_delay(way_ms: Floats) -> Floats:
    """Idd: what delay alone costs a conversation, above 100 ms (7-28, default sensitivity)."""
    x = np.log2(np.maximum(way_ms, 100.0) / 100)
    cost: Floats = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return cost


def lossy(ie: Floats, bpl: Floats, loss: Floats, burst_ratio: Floats) -> Floats:
    """Ie-eff of `loss` (0 to 1) whose bursts are `burst_ratio` times as long as chance makes them (7-29)."""
    percent = 100 * np.clip(loss, 0.0, 1.0)
    bursts = np.clip(burst_ratio, 1.0, BURST_MAX)
    return ie + (95 - ie) * percent / (percent / bursts + bpl)


# --- the whole


def rating(
    impairment: Floats, wide: npt.NDArray[np.bool_], way_ms: Floats | None, line: Line = DEFAULT_LINE
) -> Floats:
    """R of legs with an effective equipment `impairment`; without `way_ms`, of listening alone."""
    way = np.zeros(len(impairment)) if way_ms is None else way_ms
    narrow = line.basic - simultaneous(line, way) - delayed(line, way)
    # G.107.1 section 7.4 keeps the structure of the delay terms; of a clear wideband line, pure delay is what is left.
    broad = WIDE_CLEAR - absolute_delay(way)
    return np.where(wide, broad, narrow) - impairment + line.advantage


def mos(r: Floats, wide: npt.NDArray[np.bool_]) -> Floats:
    """1 to 4.5 (G.107 annex B; G.107.1 annex A for wide ones)."""
    x = np.clip(np.where(wide, r / _WIDE_SCALE, r), 0.0, 100.0)
    opinion: Floats = np.maximum(1.0, 1 + 0.035 * x + x * (x - 60) * (100 - x) * 7e-6)
    return opinion


def rating_of_100(r: float, *, wide: bool) -> int:
    """R as RTCP XR carries it, 0 to 100 (RFC 3611 section 4.7.5)."""
    return round(max(0.0, min(100.0, r / _WIDE_SCALE if wide else r)))
