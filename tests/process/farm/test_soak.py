"""After calls of every kind nothing is left (I1): the short form of `python -m bench.soak`."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from tests.support.farm import farm
from tests.support.processes import wait_until
from tests.support.soak import KINDS, holdings, soak

pytestmark = pytest.mark.process

CALLS = 200
QUICK = tuple(kind for kind in KINDS if kind != "no_ack")
"""Kinds of calls that are over in seconds (nobody waits 64 T1 for an ACK)."""


@pytest.mark.timeout(180)
def test_nothing_is_left_after_calls_of_every_kind(tmp_path: Path) -> None:
    config = {
        "media": {"rtp_timeout_s": 3, "rtp_never_s": 6, "quarantine_s": 1},
        "ops": {"events_linger_s": 1},
    }
    with farm(tmp_path, config=config) as running:
        asyncio.run(soak(running.sip, 20, 20.0, 0.2, kinds=QUICK))

        def at_rest() -> bool:
            held = holdings(running)
            return held.calls == held.used_ports == held.quarantined == 0

        wait_until(at_rest, 30, "calls of the beginning are over")
        before = holdings(running)
        result = asyncio.run(soak(running.sip, CALLS, 20.0, 1.0))
        assert result.failures == []
        assert result.silent == 0
        assert result.responses["plain 200"] == CALLS // 2
        assert result.responses["no_bye 200"] == result.responses["no_ack 200"] == CALLS // 10
        assert result.responses["bad_codec 488"] == CALLS // 10
        assert result.responses["cancel 487"] + result.responses["cancel 200"] == CALLS // 10
        refused = [
            kind for kind in result.responses if kind.startswith("bad_sdp") and kind[-3:] in {"400", "488"}
        ]
        assert sum(result.responses[kind] for kind in refused) == CALLS // 10

        def clean() -> bool:
            held = dataclasses.asdict(holdings(running))
            return not any(value for name, value in held.items() if name not in {"udp_sockets", "rss_kb"})

        wait_until(clean, 75, f"left: {holdings(running)}")
        after = holdings(running)
        assert after.udp_sockets <= before.udp_sockets
        assert after.rss_kb < before.rss_kb + 30_000
