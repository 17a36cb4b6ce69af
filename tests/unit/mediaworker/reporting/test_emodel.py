"""The E-model against figures that ITU-T published."""

import numpy as np
import pytest

from mediaworker.core.reporting import emodel

pytestmark = pytest.mark.unit

NARROW = np.zeros(1, np.bool_)
WIDE = np.ones(1, np.bool_)


def one(value: float) -> emodel.Floats:
    return np.array([float(value)])


def rating(codec: str = "PCMU", loss: float = 0.0, way_ms: float | None = 0.0, ratio: float = 1.0) -> float:
    """R of one leg."""
    figures = emodel.CODECS[codec]
    impairment = emodel.lossy(one(figures.ie), one(figures.bpl), one(loss), one(ratio))
    way = None if way_ms is None else one(way_ms)
    return float(emodel.rating(impairment, np.array([figures.wide]), way)[0])


def test_default_values_give_93_2():
    """G.107 section 7.7: R = 93.2 with all parameters at their defaults; Ro 94.77 and Is 1.41 make it up."""
    line = emodel.Line()
    assert line.noise == pytest.approx(-61.18, abs=0.005)
    assert line.basic == pytest.approx(94.77, abs=0.005)
    assert emodel.simultaneous(line, one(0))[0] == pytest.approx(1.41, abs=0.005)
    assert rating() == pytest.approx(93.2, abs=0.05)


@pytest.mark.parametrize(
    ("r", "mos"),
    [(100, 4.5), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0), (-5, 1.0)],
)
def test_mos_agrees_with_g107_annex_b(r: float, mos: float):
    assert emodel.mos(one(r), NARROW)[0] == pytest.approx(mos, abs=0.0065)


@pytest.mark.parametrize(
    ("loss", "published"), [(0, 11), (1, 15), (2, 19), (3, 23), (4, 26), (8, 36), (16, 49)]
)
def test_effective_impairment_agrees_with_g113_for_g729a(loss: int, published: int):
    """G.113 appendix I lists Ie of G.729A under random loss; its Ie 11 and Bpl 19 give it back."""
    found = emodel.lossy(one(11), one(19.0), one(loss / 100), one(1))
    assert found[0] == pytest.approx(published, abs=0.75)


@pytest.mark.parametrize(("loss", "published"), [(0, 0), (2, 7), (3, 10), (5, 15), (7, 20), (15, 35)])
def test_effective_impairment_agrees_with_g113_for_g711_with_concealment(loss: int, published: int):
    assert emodel.lossy(one(0), one(25.1), one(loss / 100), one(1))[0] == pytest.approx(published, abs=1)


@pytest.mark.parametrize("way_ms", [0, 50, 100, 150, 177, 200, 250, 300])
def test_delay_costs_what_the_well_known_line_through_g107_says(way_ms: float):
    """Cole and Rosenbluth (2001) laid Id = 0.024 d + 0.11 (d - 177.3) H(d - 177.3) through the Recommendation's curve."""
    line = 0.024 * way_ms + max(0.0, 0.11 * (way_ms - 177.3))
    assert emodel.delayed(emodel.Line(), one(way_ms))[0] == pytest.approx(line, abs=1.2)


def test_delay_alone_costs_nothing_up_to_100_ms():
    cost = emodel.absolute_delay(np.array([0.0, 99.0, 100.0, 200.0, 400.0]))
    assert cost[:3].tolist() == [0, 0, 0]
    # X = 1 and 2: 25 * (2^(1/6) - 3 * (1 + 3^-6)^(1/6) + 2) and 25 * (65^(1/6) - 3 * (1 + (2/3)^6)^(1/6) + 2).
    assert cost[3:] == pytest.approx([3.04, 24.07], abs=0.01)


def test_echo_is_heard_the_more_the_later_it_comes():
    late = [emodel.delayed(emodel.Line(telr=40), one(way))[0] for way in (0.5, 10, 30, 80)]
    assert late == sorted(late)
    assert late[-1] > 25
    assert emodel.delayed(emodel.Line(), one(80))[0] < 5


@pytest.mark.parametrize("stmr", [5.0, 15.0, 25.0])
def test_sidetone_far_from_its_default_costs_more(stmr: float):
    default, found = (
        float(emodel.simultaneous(line, one(50))[0] + emodel.delayed(line, one(50))[0])
        for line in (emodel.Line(), emodel.Line(stmr=stmr))
    )
    assert found >= default


def test_listening_does_not_mind_delay():
    assert rating(way_ms=None) == pytest.approx(93.2, abs=0.05)
    assert rating(way_ms=400.0) < 65


def test_losses_in_bursts_cost_more_and_the_ratio_is_bounded():
    single, bursty = rating(loss=0.1), rating(loss=0.1, ratio=3.0)
    assert single - bursty > 5
    assert rating(loss=0.1, ratio=50.0) == rating(loss=0.1, ratio=emodel.BURST_MAX)
    assert rating(loss=0.1, ratio=0.1) == single


@pytest.mark.parametrize(("r", "mos"), [(129, 4.5), (116.1, 4.34), (103.2, 4.03), (77.4, 3.10), (0, 1.0)])
def test_wideband_uses_its_own_scale(r: float, mos: float):
    """G.107.1 annex A: the same curve over R / 1.29."""
    assert emodel.mos(one(r), WIDE)[0] == pytest.approx(mos, abs=0.0065)


def test_wideband_codecs_are_rated_from_129():
    assert rating("G722", way_ms=None) == 129 - 13
    assert rating("OPUS", way_ms=50.0) == 129 - 1
    assert rating("OPUS", way_ms=300.0) < 129 - 15
    assert rating("G722", loss=0.02) < 129 - 13 - 20


def test_every_codec_has_figures_and_says_whether_they_were_published():
    assert {name for name, codec in emodel.CODECS.items() if codec.published} == {"PCMU", "PCMA"}
    assert emodel.codec_of("L16", wide=True).wide
    assert not emodel.codec_of("L16", wide=False).wide
    assert emodel.codec_of("G722", wide=True).ie == 13


def test_r_of_reports_is_0_to_100():
    found = [
        emodel.rating_of_100(r, wide=wide)
        for r, wide in ((93.2, False), (129, True), (-3, False), (110, False))
    ]
    assert found == [93, 100, 0, 100]
