"""Playout behind bad networks, against an oracle that knew the whole trace beforehand; real speech, virtual time.

`pytest -s` prints the table of docs/jitter-buffer.md; `python -m bench.playout` makes it with a simulated hour of drift.
"""

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from tests.support import impaired
from tests.support.impaired import Heard, Network

pytestmark = pytest.mark.simulation

Pairs = list[tuple[Network, Heard]]


@pytest.fixture(scope="module")
def played() -> Pairs:
    networks = impaired.must_show()
    heard = impaired.carry(networks)
    print("\n" + impaired.table(networks, heard))
    return list(zip(networks, heard, strict=True))


def test_delay_is_within_a_tick_of_the_least_that_meets_one_percent_late(played: Pairs):
    above = {(n.name, n.offset_ms): h.p95_ms() - n.least_delay_ms() for n, h in played}
    assert max(above.values()) <= 20.5, (
        above
    )  # half a millisecond: a packet must be there before the tick begins


def test_hardly_more_than_one_percent_come_too_late(played: Pairs):
    assert max(h.late_share() for _, h in played) <= 0.015
    assert np.mean([h.late_share() for _, h in played]) <= 0.005


def test_hardly_more_is_made_up_than_was_lost_where_nothing_stalls(played: Pairs):
    for network, heard in played:
        if "stall" not in network.name:
            gone = int(np.isnan(network.delays).sum()) + heard.late
            assert heard.made_up <= 1.1 * gone + 25, network.name


def test_a_burst_after_a_stall_is_played_whole_and_its_delay_given_back(played: Pairs):
    for network, heard in played:
        if "every 20 s" in network.name:
            assert heard.late == 0
            # 9 frames wait for a stall of 200 ms; nothing of what came after them is gone but what was melted.
            usual = np.median(heard.delay_ms)
            slow = heard.delay_ms > usual + 25
            assert slow.any()
            longest = max(len(run) for run in np.split(slow, np.flatnonzero(np.diff(slow)) + 1) if run[0])
            assert longest <= 100
            assert heard.delay_ms[-1] <= usual + 1


def test_a_clock_that_drifts_costs_no_growing_delay():
    networks = impaired.drifting(5, 150)
    for network, heard in zip(networks, impaired.carry(networks), strict=True):
        # Playout follows in steps of a frame, one in 40 s: what is compared is longer than that.
        early, late = np.array_split(heard.delay_ms[500:], 2)
        assert heard.p95_ms() - network.least_delay_ms() <= 20.6, network.name
        assert np.percentile(late, 95) <= np.percentile(early, 95) + 3, network.name
        assert heard.late_share() <= 0.005


def test_the_delay_is_bounded_whatever_the_network_does():
    rng = np.random.default_rng(11)
    networks = [
        Network("mad", impaired.uniform(rng, 1_500, 500)),
        Network("mad", impaired.tailed(rng, 1_500, 150)),
    ]
    depths: list[int] = []
    targets: list[int] = []

    def watch(_tick: int, engine: Engine) -> None:
        depths.append(int((engine.rows.top[:2] - engine.rows.play[:2]).max()))
        targets.append(int(engine.rows.target_ns[:2].max()))

    impaired.carry(networks, jitter_max_ms=100, watch=watch)
    assert max(targets) == 100_000_000
    assert max(depths) <= 25
    assert np.percentile(depths, 90) <= 12
