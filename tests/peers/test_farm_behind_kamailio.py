"""The farm behind the edge of deploy/kamailio: rooms keep together, callers of a conference hear each other."""

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support import kamailio as edge_support
from tests.support.farm import farm
from tests.support.kamailio import kamailio
from tests.support.phone import Phone, level_at, phones, tone
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(edge_support.missing()), reason=edge_support.missing()),
]


async def enter(phone: Phone, room: str, hz: float) -> None:
    phone.headers["X-Room-ID"] = room
    answer = await phone.call(room)
    assert answer.status == 200, answer
    phone.play(tone(hz, 60))


@pytest.mark.timeout(180)
async def test_rooms_keep_to_a_worker_and_conference_callers_hear_each_other(tmp_path: Path) -> None:
    config = {"routes": [{"user": "conf.*", "app": "conference"}, {"app": "echo"}]}
    tones = (500, 900, 1_500)
    with (
        farm(tmp_path, fronts=2, media=3, config=config) as running_farm,
        kamailio(tmp_path, running_farm.sip_ports) as edge,
    ):
        async with phones(f"127.0.0.1:{edge.sip_port}", 9) as callers:
            for n, phone in enumerate(callers[:3]):
                await enter(phone, "conf-main", tones[n])
            for n, phone in enumerate(callers[3:]):
                await enter(phone, f"room-{n}", 700)
            calls = await eventually(lambda: len(c := running_farm.calls()) == 9 and c)
            assert isinstance(calls, list)
            owners = defaultdict(set)
            for call in calls:
                owners[call["room_id"]].add(call["worker"])
                assert call["tenant"] == "acme"
                assert call["session_id"]
            assert len(owners) == 7
            assert all(len(workers) == 1 for workers in owners.values())
            assert len(set().union(*owners.values())) == 3
            await asyncio.sleep(2.0)  # audio to judge by
            for n, phone in enumerate(callers[:3]):
                sound = phone.heard()[-12_000:]
                for m, hz in enumerate(tones):
                    share = level_at(sound, hz)
                    assert (share < 0.01) if n == m else (share > 0.2), (n, hz, share)
            assert [(await phone.bye()).status for phone in callers] == [200] * 9
        await eventually(lambda: running_farm.calls() == [], 20)
