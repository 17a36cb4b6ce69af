"""The exporter as a child: pages of the newest snapshot, drain by page, death of either side."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest

from mediaworker.io.exporter_link import ExporterLink
from mediaworker.io.pages import CallRow, FamilyRow, SampleRow, Snapshot
from tests.support.processes import answers
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

CALL = CallRow("c1", "acme", "r", "PCMU", "echo", 10, 9, 0.004, -1, 0, -1, -1, 4.3, -1, -1)
FAMILY = FamilyRow(
    "voicefarm_rtp_packets",
    "counter",
    "RTP packets",
    [SampleRow("voicefarm_rtp_packets_total", {"direction": "in"}, 10.0)],
)


class Desk:
    def __init__(self) -> None:
        self.drains = 0
        self.link = ExporterLink("127.0.0.1", 0, self._drain)

    def _drain(self) -> None:
        self.drains += 1

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.link.port}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url) as got:
            return got.status, await got.text()

    async def shows(self, path: str, text: str) -> bool:
        return text in (await self.get(path))[1]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.link.start()
    yield made
    await made.link.close()


async def test_the_pages_show_the_newest_snapshot(desk: Desk) -> None:
    assert await desk.get("/healthz") == (503, "no snapshot yet\n")
    desk.link.send(Snapshot(0.0, "draining", [FAMILY], [CALL]))
    await eventually(lambda: desk.shows("/metrics", 'voicefarm_rtp_packets_total{direction="in"} 10.0'))
    assert await desk.shows(
        "/metrics/calls", 'voicefarm_call_jitter_seconds{call_id="c1",direction="in"} 0.004'
    )
    assert (await desk.get("/healthz"))[0] == 200
    assert await desk.get("/readyz") == (503, "draining\n")
    desk.link.send(Snapshot(0.0, "", [FAMILY], []))
    await eventually(lambda: desk.shows("/readyz", "ok"))
    assert not await desk.shows("/metrics/calls", "c1")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_drain_is_passed_on(desk: Desk, method: str) -> None:
    assert (await desk.get("/drain", method))[0] == 200
    await eventually(lambda: desk.drains == 1)


async def test_signals_to_the_group_do_not_end_it_but_death_is_made_good_at_the_same_port(desk: Desk) -> None:
    port, pid = desk.link.port, desk.link.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    desk.link.send(Snapshot(0.0, "", [], []))
    await eventually(lambda: desk.shows("/healthz", "ok"))
    os.kill(pid, signal.SIGKILL)

    async def back() -> bool:
        desk.link.send(Snapshot(0.0, "", [], []))
        return (
            desk.link.pid != pid
            and await asyncio.to_thread(answers, port)
            and await desk.shows("/healthz", "ok")
        )

    await eventually(back)
    assert (desk.link.port, desk.link.restarts) == (port, 1)


async def test_it_ends_with_its_input() -> None:
    made = Desk()
    await made.link.start()
    pid = made.link.pid
    await made.link.close()
    await eventually(lambda: not answers(made.link.port))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    made.link.send(Snapshot(0.0, "", [], []))
