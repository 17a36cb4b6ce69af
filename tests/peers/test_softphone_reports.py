"""RTCP with a softphone of others: what it reports about us, and that nothing is taken for one-way audio."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.contracts import CallEvent, decode
from tests.support.farm import Farm, farm
from tests.support.lateness import Lateness
from tests.support.phone import tone
from tests.support.softphone import PCMU, dial, write_softphone

pytestmark = [pytest.mark.peers, pytest.mark.skipif(bool(PCMU.missing()), reason=PCMU.missing())]

SECONDS = 14
"""Two reports of baresip's and one of ours in between."""


ACCOUNTS = {"two-ports": "", "one-port": ";rtcp_mux=yes"}


def logs(running: Farm) -> list[list[CallEvent]]:
    """The event log of every call."""
    with running.redis() as client:
        return [
            [
                event
                for _, fields in client.xrange(key)
                if isinstance(event := decode(fields[b"m"]), CallEvent)
            ]
            for key in client.keys("*:events")
        ]


def test_a_softphones_reports_are_understood(tmp_path: Path, late: Lateness) -> None:
    folders = [
        write_softphone(tmp_path / name, tone(700, 20, 0.3), dataclasses.replace(PCMU, account=account))
        for name, account in ACCOUNTS.items()
    ]
    with farm(tmp_path, config={"ops": {"events_linger_s": 60}}) as running, ThreadPoolExecutor(2) as threads:
        for said in threads.map(lambda folder: dial(folder, running.sip, "echo", SECONDS), folders):
            assert "Call established" in said, said
        calls = logs(running)
        refused = running.metric("media-0", 'voicefarm_rtp_rejected_total{reason="rtcp_format"}')
        reports = running.metric("media-0", 'voicefarm_rtcp_packets_total{direction="in",kind="sr"}')
    # To open its NAT it begins with an APP packet alone, which is no compound packet (RFC 3550 section 6.1).
    assert refused <= len(ACCOUNTS)
    assert reports >= 2 * len(ACCOUNTS)
    assert len(calls) == len(ACCOUNTS)
    for events in calls:
        rtp: dict[str, Any] = next(event.data["rtp"] for event in events if event.kind == "call.ended")
        print(f"baresip reported: {rtp}")
        assert 0 <= rtp["rtt_ms"] < 100 + late.worst_ms
        assert rtp["jitter_out_ms"] >= 0
        assert rtp["mos_out"] > 1
        assert rtp["mos_in"] > 1
        assert [event.data for event in events if event.kind == "one_way"] == []
