"""Slow, obvious versions of the quality figures: one leg, one frame, one number at a time, from the standards' text."""

import math
from dataclasses import dataclass


def r_of_g107(way_ms: float, loss_percent: float, ie: float, bpl: float, burst_ratio: float) -> float:
    """R of ITU-T G.107 with its default values but for delay (T = Ta = way, Tr = 2 way) and equipment."""
    slr, rlr, stmr, ds, telr, wepl, ps, pr, lstr = 8, 2, 15, 3, 65, 110, 35, 35, 18
    olr = slr + rlr
    nos = ps - slr - ds - 100 + 0.004 * (ps - olr - ds - 14) ** 2
    pre = pr + 10 * math.log10(1 + 10 ** ((10 - lstr) / 10))
    nor = rlr - 121 + pre + 0.008 * (pre - 35) ** 2
    no = 10 * math.log10(10 ** (-70 / 10) + 10 ** (nos / 10) + 10 ** (nor / 10) + 10 ** ((-64 + rlr) / 10))
    ro = 15 - 1.5 * (slr + no)

    xolr = olr + 0.2 * (64 + no - rlr)
    iolr = 20 * ((1 + (xolr / 8) ** 8) ** (1 / 8) - xolr / 8)
    stmro = -10 * math.log10(10 ** (-stmr / 10) + math.exp(-way_ms / 4) * 10 ** (-telr / 10))
    ist = 12 * (1 + ((stmro - 13) / 6) ** 8) ** (1 / 8) - 28 * (1 + ((stmro + 1) / 19.4) ** 35) ** (1 / 35)
    ist += -13 * (1 + ((stmro - 3) / 33) ** 13) ** (1 / 13) + 29
    g = 1.07 + 0.258 * 37 + 0.0602 * 37**2
    iq = 15 * math.log10(1 + 10 ** ((ro - 100) / 15 + 46 / 8.4 - g / 9) + 10 ** (46 / 30 - g / 40))

    idte = 0.0
    if way_ms >= 1:
        terv = telr - 40 * math.log10((1 + way_ms / 10) / (1 + way_ms / 150)) + 6 * math.exp(-0.3 * way_ms**2)
        half = (-1.5 * (no - rlr) - (80 + 2.5 * (terv - 14))) / 2
        idte = (half + math.sqrt(half**2 + 100) - 1) * (1 - math.exp(-way_ms))
    half = (ro - 10.5 * (wepl + 7) * (2 * way_ms + 1) ** -0.25) / 2
    idle = half + math.sqrt(half**2 + 169)
    idd = 0.0
    if way_ms > 100:
        x = math.log10(way_ms / 100) / math.log10(2)
        idd = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    ie_eff = ie + (95 - ie) * loss_percent / (loss_percent / burst_ratio + bpl)
    return ro - (iolr + ist + iq) - (idte + idle + idd) - ie_eff


def mos_of_r(r: float) -> float:
    """G.107 annex B, kept from falling below 1 between R 0 and 6.5."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


@dataclass
class Spells:
    """Frames of a call, each heard or lost, cut into bursts and gaps by RFC 3611 section 4.7.2."""

    bursts: list[list[bool]]
    gaps: list[list[bool]]

    @property
    def burst_density(self) -> float:
        inside = [lost for burst in self.bursts for lost in burst]
        return sum(inside) / len(inside) if inside else 0.0

    @property
    def gap_density(self) -> float:
        between = [lost for gap in self.gaps for lost in gap]
        return sum(between) / len(between) if between else 0.0

    @property
    def burst_ms(self) -> float:
        return 20 * sum(map(len, self.bursts)) / len(self.bursts) if self.bursts else 0.0

    @property
    def gap_ms(self) -> float:
        return 20 * sum(map(len, self.gaps)) / len(self.gaps)


def spells(lost: list[bool], gmin: int = 16) -> Spells:
    """A burst begins and ends with a loss and has fewer than `gmin` frames heard between any two; a loss that has `gmin`
    or more on both sides belongs to a gap."""
    at = [index for index, gone in enumerate(lost) if gone]
    groups: list[list[int]] = []
    for index in at:
        if groups and index - groups[-1][-1] - 1 < gmin:
            groups[-1].append(index)
        else:
            groups.append([index])
    bursts, gaps, end = [], [], 0
    for group in groups:
        if len(group) > 1:
            gaps.append(lost[end : group[0]])
            bursts.append(lost[group[0] : group[-1] + 1])
            end = group[-1] + 1
    gaps.append(lost[end:])
    return Spells(bursts, gaps)


def burst_ratio(lost: list[bool]) -> float:
    """Mean length of the runs of losses, over what chance alone would make it at this loss rate: 1 / (1 - rate)."""
    runs, previous = 0, False
    for gone in lost:
        runs += gone and not previous
        previous = gone
    count = sum(lost)
    if not count or count == len(lost):
        return 1.0
    return max(1.0, (count / runs) * (1 - count / len(lost)))
