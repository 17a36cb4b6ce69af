"""What signalling changes in mid-call must not be heard: session refreshes, another law, and times that a bridge begins anew."""

import heapq
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from shared.contracts import RtpEndpoint
from tests.support.coded_caller import KINDS, CodedCaller, hand_over_long
from tests.support.engine_caller import HOST, MS, PORT, TICK_NS

pytestmark = pytest.mark.simulation

FRAMES = 500
CHANGE = FRAMES // 2


def run(
    kind: str,
    *,
    jitter_ms: float = 0.0,
    at_change: Callable[[CodedCaller], None] = lambda _: None,
    swap: bool = False,
) -> CodedCaller:
    """A tone; `at_change` is called where half of it is sent. `swap`: the last packet before comes after the one behind it."""
    rng = np.random.default_rng(3)
    caller = CodedCaller(Engine(2, seed=1, phases=1), KINDS[kind])
    flight: list[tuple[int, int, bytes]] = []
    order = itertools.count()
    for tick in range(FRAMES):
        if tick == CHANGE:
            at_change(caller)
        size = caller.rate_hz // 50
        time = np.arange(tick * size, (tick + 1) * size) / caller.rate_hz
        data = caller.packets((8_000 * np.sin(2 * np.pi * 300 * time)).astype(np.int16))[0]
        delay = 7.0 + rng.uniform(0, jitter_ms) + 25.0 * (swap and tick == CHANGE - 1)
        heapq.heappush(flight, (caller.now_ns + int(delay * MS), next(order), data))
        while flight and flight[0][0] <= caller.now_ns + TICK_NS:
            arrived_ns, _, packet = heapq.heappop(flight)
            hand_over_long(caller.engine, caller.row, packet, arrived_ns)
        caller.tick()
    return caller


def update(kind: str) -> Callable[[CodedCaller], None]:
    def change(caller: CodedCaller) -> None:
        caller.engine.update(caller.row, RtpEndpoint(host=HOST, rtp_port=PORT), KINDS[kind])
        if kind != caller.format.codec:
            caller.speak(KINDS[kind])

    return change


def around_change(caller: CodedCaller) -> list[int]:
    """Peaks of the frames heard around the change."""
    return [int(np.abs(frame.astype(int)).max()) for frame in caller.narrow[CHANGE - 10 : CHANGE + 20]]


@pytest.mark.parametrize("kind", ["PCMU", "OPUS"])
def test_a_session_refresh_is_not_heard_and_what_was_learnt_stays(kind: str):
    caller = run(kind, jitter_ms=60, at_change=update(kind))
    plain = run(kind, jitter_ms=60)
    assert np.array_equal(caller.said(), plain.said())
    rows, row = caller.engine.rows, caller.row
    assert (rows.late[row], rows.held[row]) == (plain.engine.rows.late[row], plain.engine.rows.held[row])


@pytest.mark.parametrize(("before", "after"), [("PCMU", "PCMA"), ("PCMA", "PCMU")])
def test_what_waits_to_be_heard_when_the_law_changes_is_still_understood(before: str, after: str):
    caller = run(before, jitter_ms=60, at_change=update(after))
    peaks = around_change(caller)
    # No frame is noise at full scale, and what was under way with the law before is made up.
    assert max(peaks) < 10_000
    assert min(peaks) > 5_000


@pytest.mark.parametrize("jump", [-80_000, 80_000, 8_000, 1 << 31])
@pytest.mark.parametrize("swap", [False, True])
def test_times_that_begin_anew_are_followed_without_silence_or_delay(jump: int, swap: bool):
    def change(caller: CodedCaller) -> None:
        caller.stamp += jump

    caller = run("PCMU", at_change=change, swap=swap)
    rows, row = caller.engine.rows, caller.row
    assert min(around_change(caller)) > 3_000
    assert rows.lost_frames[row] <= 1
    assert caller.now_ns - rows.last_good[row] * TICK_NS - rows.least_ns[row] <= 40 * MS
    assert rows.target_ns[row] < 40 * MS
