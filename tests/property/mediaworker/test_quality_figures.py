"""Quality figures over arrays of legs against their plain versions, one leg at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.inbound import losses
from mediaworker.core.inbound.quality import Histogram
from mediaworker.core.reporting import emodel
from mediaworker.core.reporting.scores import Scores, set_codec
from mediaworker.core.rows import Rows
from tests.support import reference_quality as plain

pytestmark = pytest.mark.property

LEGS = st.lists(
    st.tuples(
        st.floats(0, 1_000), st.floats(0, 1), st.floats(0, 60), st.floats(1, 40), st.floats(1, emodel.BURST_MAX)
    ),
    min_size=1, max_size=20,
)  # fmt: skip


@given(LEGS)
def test_rating_and_opinion_are_those_of_the_recommendation(legs: list[tuple[float, ...]]):
    way, loss, ie, bpl, ratio = (np.array(column) for column in zip(*legs, strict=True))
    narrow = np.zeros(len(legs), np.bool_)
    found = emodel.rating(emodel.lossy(ie, bpl, loss, ratio), narrow, way)
    wanted = [plain.r_of_g107(w, 100 * p, i, b, r) for w, p, i, b, r in legs]
    assert found == pytest.approx(wanted, abs=1e-6)
    assert emodel.mos(found, narrow) == pytest.approx([plain.mos_of_r(r) for r in wanted], abs=1e-9)


@given(st.floats(0, 500), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(1, 8))
def test_more_loss_delay_or_bursts_never_sound_better(way: float, loss: float, more: float, ratio: float):
    def mos(way: float, loss: float, ratio: float, *, wide: bool) -> float:
        impairment = emodel.lossy(np.zeros(1), np.full(1, 25.1), np.array([loss]), np.array([ratio]))
        flag = np.array([wide])
        return float(emodel.mos(emodel.rating(impairment, flag, np.array([way])), flag)[0])

    for wide in (False, True):
        here = mos(way, loss, ratio, wide=wide)
        assert 1 <= here <= 4.5
        assert mos(way, loss + more, ratio, wide=wide) <= here + 1e-9
        assert mos(way, loss, min(8.0, ratio + 1), wide=wide) <= here + 1e-9
        # Sidetone masks a little echo at the very beginning of the curve: half a hundredth of a MOS.
        assert mos(way + 100, loss, ratio, wide=wide) <= here + 0.005


def note_all(lost: list[list[bool]]) -> Rows:
    """Rows whose frames were lost as given, frame by frame, all rows at once."""
    rows = Rows(len(lost), 1)
    for _ in lost:
        rows.take(0)
    table = np.array(lost)
    for frame in range(table.shape[1]):
        at = np.flatnonzero(table[:, frame])
        if at.size:
            losses.note(rows, at, np.full(at.size, frame + 100))
    return rows


@st.composite
def calls(draw: st.DrawFn) -> list[list[bool]]:
    """Three calls of equal length: chance, bursts, and what hypothesis thinks of."""
    length = draw(st.integers(1, 400))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    chance = random.random(length) < draw(st.sampled_from([0.01, 0.05, 0.3, 1.0]))
    state, bursty = False, []
    for stay in random.random(length):
        state = stay < (0.6 if state else 0.03)
        bursty.append(bool(state))
    own = draw(st.lists(st.booleans(), min_size=length, max_size=length))
    return [chance.tolist(), bursty, own]


@settings(max_examples=60)
@given(calls())
def test_bursts_and_gaps_are_those_of_rfc_3611(lost: list[list[bool]]):
    rows = note_all(lost)
    at = np.arange(len(lost))
    heard = np.array([len(call) - sum(call) for call in lost])
    found = losses.bursts(rows, at, heard)
    wanted = [plain.spells(call) for call in lost]
    assert found.burst_density == pytest.approx([call.burst_density for call in wanted])
    assert found.gap_density == pytest.approx([call.gap_density for call in wanted])
    assert found.burst_ms == pytest.approx([call.burst_ms for call in wanted])
    assert found.gap_ms == pytest.approx([call.gap_ms for call in wanted])


@settings(max_examples=60)
@given(calls())
def test_the_burst_ratio_is_the_mean_run_over_that_of_chance(lost: list[list[bool]]):
    rows = note_all(lost)
    heard = np.array([len(call) - sum(call) for call in lost])
    found = losses.burst_ratio(rows.lost_frames, rows.lost_runs, heard, np.ones(len(lost)))
    wanted = [plain.burst_ratio(call) for call in lost]
    assert found == pytest.approx(wanted)


@given(st.lists(st.floats(0, 1), max_size=50))
def test_a_histogram_takes_many_values_as_it_takes_one(values: list[float]):
    many, single = Histogram((0.1, 0.2, 0.5)), Histogram((0.1, 0.2, 0.5))
    many.add_all(np.array(values))
    for value in values:
        single.add(value)
    assert many.counts == single.counts
    assert many.total == pytest.approx(single.total)


INTERVAL = st.fixed_dictionaries({
    "packets": st.integers(0, 500), "lost": st.integers(0, 100), "late": st.integers(0, 60), "runs": st.integers(0, 40),
    "frames": st.integers(0, 100), "rtt": st.floats(0, 900), "target": st.integers(0, 200), "wide": st.booleans(),
})  # fmt: skip


def plain_mos(interval: dict[str, float]) -> float:
    """The score of one leg's interval, step by step."""
    packets = int(interval["packets"])
    if not packets:
        return -1.0
    lost, late = min(interval["lost"], packets), min(interval["late"], packets)
    share = min(1.0, lost / packets + late / packets)
    frames = interval["frames"]
    runs = min(interval["runs"], frames)
    heard = max(250 - frames, 0)
    ratio = 1.0
    if runs and heard:
        ratio = min(8.0, max(1.0, 1 / (runs / heard + min(1.0, runs / frames))))
    way = interval["rtt"] / 2 + 20 + interval["target"]
    if not interval["wide"]:
        return plain.mos_of_r(plain.r_of_g107(way, 100 * share, 0, 25.1, ratio))
    x = math.log2(way / 100) if way > 100 else 0.0
    idd = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2) if x else 0.0
    effective = 13 + (95 - 13) * 100 * share / (100 * share / ratio + 4.3)
    return plain.mos_of_r((129 - idd - effective) / 1.29)


@settings(max_examples=60)
@given(st.lists(INTERVAL, min_size=1, max_size=12))
def test_all_legs_are_scored_as_one_by_one(intervals: list[dict[str, float]]):
    rows = Rows(len(intervals), 1)
    for row, interval in enumerate(intervals):
        rows.take(0)
        rows.started[row] = rows.flowing[row] = True
        rows.wide[row] = interval["wide"]
        set_codec(rows, row, "G722" if interval["wide"] else "PCMU")
        packets = int(interval["packets"])
        # Numbers 1 to 10 came before the interval.
        rows.base_ext[row], rows.ext_max[row] = 1, 10 + packets
        rows.expected_mark[row] = rows.unique_mark[row] = 10
        rows.received[row] = 10 + packets - min(int(interval["lost"]), packets)
        rows.late[row] = min(int(interval["late"]), packets)
        rows.lost_frames[row] = interval["frames"]
        rows.lost_runs[row] = min(interval["runs"], interval["frames"])
        rows.play[row], rows.packet_frames[row] = 250, 1.0
        rows.rtt_ms[row], rows.target_ns[row] = interval["rtt"], int(interval["target"]) * 1_000_000
    Scores(rows).step(slice(0, len(intervals)))
    assert rows.mos_in.tolist() == pytest.approx([plain_mos(interval) for interval in intervals], abs=1e-6)
