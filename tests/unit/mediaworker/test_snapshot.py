"""Figures of one leg and of all of them, from an engine that hears something."""

import threading

import pytest

from mediaworker.core.engine import Engine
from tests.support.engine_caller import Caller, leg_setup, tone

pytestmark = pytest.mark.unit


KEPT = ("lost_in", "packets_in", "concealed", "reordered")


def heard(frames: int = 300, *, lost: int = 0) -> Caller:
    caller = Caller(Engine(2, seed=1, phases=1), leg_setup())
    for number in range(frames):
        data = caller.packet(tone(300, 160, start=160 * number))
        if not 100 <= number < 100 + lost:
            caller.arrive(data)
        caller.tick()
    return caller


def test_a_leg_ends_with_what_it_sounded_like():
    stats = heard(lost=8).engine.stats(0)
    assert (stats.lost_in, stats.lost_frames, stats.bursts, stats.burst_losses) == (8, 8, 1, 8)
    assert 3.5 < stats.mos_worst <= stats.mos_in < 4.4
    assert (stats.mos_out, stats.one_way, stats.reordered_in) == (-1, False, 0)


def test_the_snapshot_has_every_live_row_and_every_histogram():
    caller = heard()
    snapshot = caller.engine.snapshot()
    assert snapshot.rows.tolist() == [caller.row]
    assert snapshot.mos_in[0] > 4.3
    assert snapshot.buffer_ms[0] > 0
    assert (snapshot.burst_ratio[0], snapshot.discard_in[0], snapshot.one_way[0], snapshot.mos_out[0]) == (
        1,
        0,
        0,
        -1,
    )
    filled = {name for name, (_, counts, _) in snapshot.histograms.items() if sum(counts)}
    assert filled == {"jitter_in", "loss_in", "discard_in", "mos_in"}
    assert set(snapshot.histograms) - filled == {"jitter_out", "loss_out", "mos_out", "rtt", "tick"}


def test_the_share_of_an_ended_leg_stays_in_the_totals():
    caller = heard(lost=8)
    before = caller.engine.snapshot().totals
    caller.engine.close(caller.row)
    after = caller.engine.snapshot()
    assert after.rows.size == 0
    assert {name: after.totals[name] for name in KEPT} == {name: before[name] for name in KEPT}


def test_a_snapshot_is_a_copy_that_another_thread_may_keep():
    caller = heard()
    snapshot = caller.engine.snapshot()
    before = snapshot.packets_in.copy()
    thread = threading.Thread(target=caller.tick)
    thread.start()
    thread.join()
    caller.arrive(caller.packet(tone(300, 160)))
    caller.engine.rows.mos_in[caller.row] = 1.0
    assert snapshot.packets_in.tolist() == before.tolist()
    assert snapshot.mos_in[0] > 4.3
