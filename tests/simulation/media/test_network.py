"""The engine behind networks that lose, delay, reorder and drift, in virtual time."""

import heapq
import random
from collections.abc import Callable

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from tests.support.engine_caller import MS, TICK_NS, Caller, leg_setup, loudest_hz, tone

pytestmark = pytest.mark.simulation

SECOND = 50


def run(
    frames: int,
    delay_ms: Callable[[int], float | None],
    *,
    spacing_ms: float = 20.0,
) -> Caller:
    """A caller who sends a tone, packet n every `spacing_ms`, delivered after `delay_ms(n)` (None: lost)."""
    caller = Caller(Engine(2, seed=1, phases=1), leg_setup(echo=True))
    words = tone(250, frames * 160)
    flight: list[tuple[int, int, bytes]] = []
    for index in range(frames):
        data = caller.packet(words[index * 160 : index * 160 + 160])
        delay = delay_ms(index)
        if delay is not None:
            # Half a frame away from the ticks, as far from the edge as it can be.
            heapq.heappush(flight, (int((index * spacing_ms + 10 + delay) * MS), index, data))
    for tick in range(int(frames * spacing_ms / 20) + 30):
        while flight and flight[0][0] <= (tick + 1) * TICK_NS:
            arrived, _, data = heapq.heappop(flight)
            caller.arrive(data, arrived)
        caller.tick()
    return caller


def test_a_steady_network_costs_two_frames_and_loses_nothing():
    caller = run(10 * SECOND, lambda _: 0.0)
    stats = caller.engine.stats(caller.row)
    assert (stats.lost_in, stats.late_in) == (0, 0)
    assert stats.concealed <= 30
    first = next(index for index, frame in enumerate(caller.caller) if np.abs(frame).max() > 4_000)
    assert first <= 2


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_loss_is_counted_exactly_and_sound_goes_on(loss: float):
    chance = random.Random(7)
    lost = {index for index in range(1, 1_499) if chance.random() < loss}
    caller = run(1_500, lambda index: None if index in lost else 0.0)
    stats = caller.engine.stats(caller.row)
    assert stats.lost_in == len(lost)
    assert stats.loss_in_ratio == pytest.approx(len(lost) / 1_500)
    assert stats.late_in == 0
    assert loudest_hz(np.concatenate(caller.caller[10:1_490])) == pytest.approx(250, abs=2)


@pytest.mark.parametrize("spread_ms", [5, 15, 40, 80])
def test_jitter_is_measured_and_bridged_after_a_second(spread_ms: int):
    chance = random.Random(3)
    frames = 20 * SECOND
    caller = run(frames, lambda _: chance.uniform(0, spread_ms))
    stats = caller.engine.stats(caller.row)
    assert stats.lost_in == 0
    assert stats.late_in <= frames * 0.02
    # The mean distance of two uniform delays is a third of their spread (tshark sees the same).
    assert stats.jitter_mean_ms == pytest.approx(spread_ms / 3, rel=0.2)
    quiet = [index for index, frame in enumerate(caller.caller[SECOND:frames]) if np.abs(frame).max() < 2_000]
    assert len(quiet) <= frames * 0.02


def test_reordered_packets_are_late_only_until_the_buffer_has_grown():
    chance = random.Random(5)
    caller = run(20 * SECOND, lambda _: 45.0 if chance.random() < 0.05 else 0.0)
    stats = caller.engine.stats(caller.row)
    assert stats.lost_in == 0
    assert stats.late_in <= 20


def test_a_pause_of_the_network_does_not_stay_as_delay():
    def delay(index: int) -> float:
        return max(0.0, 300.0 - 20.0 * (index - 200)) if 200 <= index < 215 else 0.0

    caller = run(40 * SECOND, delay)
    stats = caller.engine.stats(caller.row)
    assert stats.lost_in == 0
    # It came back from the depth of the pause to what a steady network needs.
    middle = [index for index, frame in enumerate(caller.caller[250:1_900]) if np.abs(frame).max() < 2_000]
    assert middle == []
    assert caller.engine.snapshot().totals["skipped"] >= 8


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_clock_that_drifts_is_followed_without_end(ppm: int):
    frames = 120 * SECOND
    caller = run(frames, lambda _: 0.0, spacing_ms=20 * (1 + ppm / 1e6))
    stats = caller.engine.stats(caller.row)
    assert stats.lost_in == 0
    assert stats.late_in <= 6
    assert stats.concealed <= 45
    assert stats.jitter_in_ms < 0.1


def test_legs_do_not_hear_each_other_whatever_their_networks_do():
    chance = random.Random(2)
    media = Engine(64, seed=1, phases=2)
    callers = [Caller(media, leg_setup(40_000 + 2 * number, echo=True), ssrc=number) for number in range(40)]
    for tick in range(3 * SECOND):
        for number, caller in enumerate(callers):
            data = caller.packet(tone(200 + 20 * number, 160, start=tick * 160))
            if number % 2 == 0 or chance.random() > 0.1:
                caller.arrive(data, tick * TICK_NS)
        for _ in range(2):
            result = media.tick(tick * TICK_NS)
        for caller in callers:
            caller.heard.append(result.sent_pcm[caller.row].copy())
    for number, caller in enumerate(callers):
        assert loudest_hz(np.concatenate(caller.heard[20:])) == pytest.approx(200 + 20 * number, abs=4)
