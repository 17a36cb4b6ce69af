"""Figures of the media bench as tables and a picture."""

import xml.etree.ElementTree as ET

import pytest

from bench.media import scenarios, tables
from bench.media.under_load import Sample

pytestmark = pytest.mark.unit


def sample(cpu_ms: float, returned: float = 1.0) -> Sample:
    load = {
        "sent": 100,
        "gaps": 0,
        "late": 2,
        "jitter_p50_ms": 0.1,
        "jitter_p99_ms": 0.2,
        "jitter_max_ms": 0.3,
    }
    said = {"packets_in": 99, "slots": 50, "overruns": 1, "leg_kb": 40.0, "sockets": "compiled"}
    return Sample(cpu_ms, returned, load, said)


TAKEN = {
    200: {"C echo": [sample(0.2), sample(0.4)], "engine": [sample(0.3), sample(0.4)], "aiortp call": [sample(2.0)] * 2},
    1_000: {"C echo": [sample(0.2)] * 2, "engine": [sample(0.27)] * 2, "aiortp call": [sample(3.0, 0.5)] * 2},
}  # fmt: skip


def test_ratios_are_of_neighbours_in_time() -> None:
    """The machine was twice as slow in the second round: the ratio of medians would say 1.17."""
    group = TAKEN[200]
    assert tables.times(group["engine"], group["C echo"]) == pytest.approx((1.5 + 1.0) / 2)
    assert tables.median(group["engine"]) == pytest.approx(0.35)


def test_a_server_that_does_not_cope_is_called_so_and_one_that_was_not_asked_is_a_dash() -> None:
    names = ["C echo", "engine", "aiortp echo", "aiortp call"]
    row = scenarios._echo_row(1_000, TAKEN[1_000], names)
    assert row == ["1000", "0.200", "0.270", "**1.35**", "-", "-", "3.000 (does not cope)", "**15.00**"]


def test_growth_is_from_the_fewest_calls_to_the_most_and_others_are_compared_where_they_cope() -> None:
    first, _, second, _ = scenarios._growth(TAKEN)
    assert first == "The engine's cost per call-second at 1000 calls is -23% of that at 200."
    assert second == "At 200 calls, the most here that it copes with, aiortp call costs 5.7 x the engine."


def test_losses_and_overruns_of_all_rounds_are_summed_up() -> None:
    row = scenarios._quality_row(200, TAKEN[200]["engine"])
    assert row == ["200", "2 / 0", "0.10 / 0.20 / 0.30", "2 of 100", "40", "4"]


def test_the_picture_has_a_bar_for_every_server_and_number_of_calls() -> None:
    picture = ET.fromstring(tables.bars(TAKEN))
    space = "{http://www.w3.org/2000/svg}"
    bars = [r for r in picture.iter(f"{space}rect") if r.get("width") == "26"]
    assert len(bars) == 6
    assert sum(r.get("fill-opacity") is not None for r in bars) == 1, "the one that does not cope is pale"
    tallest = max(bars, key=lambda r: float(r.get("height", "0")))
    assert tallest.get("fill") == tables._COLOURS["aiortp call"]


def test_a_page_says_what_was_run() -> None:
    text = tables.page("Head.", tables.table(["a", "b"], [["1", "2"]]), ["--only", "echo"], 12.4, 2.0)
    assert "python -m bench.media --only echo`, 12 s" in text
    assert "| a | b |\n|---|---|\n| 1 | 2 |" in text


def test_the_codecs_payloads_are_frames_of_20_ms() -> None:
    cases = {case[0]: case for case in scenarios._codec_cases()}
    assert {len(p) for p in cases["PCMA"][5]} == {160}
    assert {len(p) for p in cases["G722"][5]} == {160}
    assert {len(p) for p in cases["L16"][5]} == {640}
    assert cases["OPUS"][3] == 960
    assert all(0 < len(p) < 400 for p in cases["OPUS"][5])
