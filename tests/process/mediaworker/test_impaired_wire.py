"""Calls over a userspace wire that loses, delays, reorders and stalls, through a real media worker.

How close playout comes to the least delay is shown in virtual time (tests/simulation/media/test_playout.py); here the same
networks meet real sockets, kernel time stamps and a real schedule.
"""

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.support.media_bench import Front
from tests.support.rtp_peer import level_at, strongest_hz, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

PACKETS = 250
Delay = Callable[[int], float | None]


def _losing(share: float, spread_ms: float) -> Delay:
    chance = random.Random(4)
    return lambda n: None if n and chance.random() < share else chance.uniform(0, spread_ms)


def _overtaken(share: float) -> Delay:
    chance = random.Random(5)
    return lambda _: chance.uniform(25, 60) if chance.random() < share else 0.0


def _stalling(n: int) -> float:
    return max(0.0, 200.0 - 20.0 * (n % 100 - 50)) if n % 100 >= 50 else 0.0


NETWORKS: dict[str, Delay] = {
    "2.5 % loss, 60 ms jitter": _losing(0.025, 60),
    "10 % loss, 60 ms jitter": _losing(0.1, 60),
    "5 % reordered": _overtaken(0.05),
    "200 ms stalls": _stalling,
}


async def _through(placed: Front, delay: Delay, hz: float) -> tuple[int, dict[str, float]]:
    """How many packets the wire lost, and what the worker says of them; the echo must still be the tone."""
    call = await placed.call("echo")
    await eventually(lambda: call.peer.heard)
    call.peer.delay_ms = delay
    call.peer.say(tone(hz, 20 * PACKETS))
    await eventually(lambda: not call.peer.saying, 30)
    call.peer.delay_ms = None
    heard = call.peer.last(3_000)
    assert strongest_hz(heard) == pytest.approx(hz, abs=3)
    assert level_at(heard[4_000:], hz) > 2_000
    before = len(call.peer.heard)
    await eventually(lambda: len(call.peer.heard) > before + 10)
    dropped = call.peer.dropped
    await placed.hang_up(call)
    (ended,) = await placed.events(call.call_id, "call.ended")
    return dropped, ended["rtp"]


async def test_bad_networks_are_bridged_and_counted(placed: Front) -> None:
    found = await asyncio.gather(
        *(_through(placed, delay, 400 + 110 * n) for n, delay in enumerate(NETWORKS.values()))
    )
    for name, (dropped, rtp) in zip(NETWORKS, found, strict=True):
        assert rtp["lost_in"] == dropped, name
        assert rtp["duplicate_in"] == 0
        assert rtp["late_in"] <= 0.1 * PACKETS, name
    assert found[1][0] > 10
    assert found[2][1]["reordered_in"] > 3
    assert found[0][1]["jitter_in_ms"] > 3
