"""What a media worker shows its operators, and the recordings it leaves."""

import os
import signal
import wave
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import redis

from mediaworker.io.wav import HEADER_BYTES
from shared.jobs import queue_name, recording_job_id
from tests.process.mediaworker.conftest import Worker
from tests.support.lateness import Lateness
from tests.support.media_bench import Front
from tests.support.rtp_peer import strongest_hz, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


async def page(placed: Front, path: str) -> tuple[int, str]:
    """A page of the media worker, found through the registry as a scraper would."""
    (record,) = (await placed.registry.live("media")).values()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{record.http_port}{path}") as got,
    ):
        return got.status, await got.text()


def value(text: str, name: str) -> float:
    """The value of the one sample whose line begins with `name`."""
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid)
        for child in (task / "children").read_text().split()
    ]  # fmt: skip


async def test_a_live_call_has_series_and_an_ended_one_has_none(placed: Front) -> None:
    call = await placed.call("echo")
    call.peer.say(tone(740, 500))

    async def shown() -> str:
        _, text = await page(placed, "/metrics/calls")
        scored = f'voicefarm_call_mos{{call_id="{call.call_id}",direction="in"}}'
        return text if scored in text else ""

    text = str(await eventually(shown, 20.0))
    assert (
        f'voicefarm_call_info{{app="echo",call_id="{call.call_id}",codec="PCMU",room="room-{call.call_id}",tenant="acme"}} 1.0'
        in text
    )
    assert value(text, f'voicefarm_call_mos{{call_id="{call.call_id}",direction="in"}}') > 1
    assert value(text, f'voicefarm_call_rtp_packets_total{{call_id="{call.call_id}",direction="in"}}') > 0
    assert value(text, f'voicefarm_call_one_way{{call_id="{call.call_id}",direction="in"}}') == 0
    await placed.hang_up(call)

    async def gone() -> bool:
        return call.call_id not in (await page(placed, "/metrics/calls"))[1]

    await eventually(gone, 4.0)


async def test_the_aggregates_are_counted(placed: Front) -> None:
    await placed.call("echo")

    async def counted() -> str:
        _, text = await page(placed, "/metrics")
        enough = value(text, 'voicefarm_rtp_packets_total{direction="in"}') > 20
        return text if enough and value(text, "voicefarm_calls_active") == 1 else ""

    text = str(await eventually(counted))
    assert value(text, 'voicefarm_rtp_ports{state="used"}') == 1
    assert value(text, "voicefarm_tick_seconds_count") > 50
    assert value(text, 'voicefarm_tick_seconds_bucket{le="+Inf"}') == value(
        text, "voicefarm_tick_seconds_count"
    )
    assert value(text, "voicefarm_calls_capacity") == 20


async def test_it_is_healthy_and_ready(placed: Front) -> None:
    async def well() -> bool:
        return [(await page(placed, path))[0] for path in ("/healthz", "/readyz")] == [200, 200]

    await eventually(well)


async def test_a_process_that_stands_still_is_not_healthy_and_its_pages_say_so(
    placed: Front, worker: Worker
) -> None:
    await eventually(lambda: page(placed, "/metrics"))
    (record,) = (await placed.registry.live("media")).values()
    url = f"http://127.0.0.1:{record.http_port}/healthz"
    os.kill(worker.process.pid, signal.SIGSTOP)
    try:
        async with aiohttp.ClientSession() as session:

            async def unhealthy() -> bool:
                async with session.get(url) as got:
                    return got.status == 503 and "stands still" in await got.text()

            await eventually(unhealthy, 6.0)
    finally:
        os.kill(worker.process.pid, signal.SIGCONT)
    await eventually(placed.media)


async def test_an_exporter_that_dies_is_back_at_the_same_port_and_no_call_notices(
    placed: Front, worker: Worker, late: Lateness
) -> None:
    call = await placed.call("echo")
    (record,) = (await placed.registry.live("media")).values()
    (exporter,) = children(worker.process.pid)
    os.kill(exporter, signal.SIGKILL)

    async def back() -> bool:
        try:
            status, _ = await page(placed, "/healthz")
        except aiohttp.ClientConnectionError:
            return False
        return status == 200 and children(worker.process.pid) != [exporter]

    await eventually(back)
    assert (await placed.registry.live("media"))[record.worker_id].http_port == record.http_port
    assert call.peer.longest_gap_ms(call.peer.heard[0].at_ns) < 200 + late.worst_ms


async def test_a_recording_has_both_sides_is_playable_meanwhile_and_is_queued_for_the_job(
    placed: Front, worker: Worker
) -> None:
    call = await placed.call("echo", record=True)
    path = worker.recordings / f"{call.call_id}.wav"
    call.peer.say(tone(740, 3_000))
    await eventually(lambda: path.exists() and path.stat().st_size > HEADER_BYTES + 32_000)
    with wave.open(str(path)) as meanwhile:
        assert meanwhile.getnframes() >= 8_000, "the header is true while the call runs"
    await eventually(lambda: not call.peer.saying)
    await placed.hang_up(call)
    connection = redis.Redis.from_url(worker.redis_url)
    job = f"rq:job:{recording_job_id(call.call_id)}"
    await eventually(lambda: connection.exists(job))
    assert connection.llen(f"rq:queue:{queue_name('vf')}") >= 1
    linger_ms = connection.pttl(placed.member.shell.keys.events(call.call_id))
    connection.close()
    assert linger_ms > 60_000, "the log waits for the job"
    with wave.open(str(path)) as whole:
        assert (whole.getnchannels(), whole.getframerate(), whole.getsampwidth()) == (2, 8_000, 2)
        pcm = np.frombuffer(whole.readframes(whole.getnframes()), np.int16).reshape(-1, 2)
    assert path.stat().st_size == HEADER_BYTES + pcm.size * 2
    assert len(pcm) / 8_000 == pytest.approx(3.0, abs=0.6)
    left, right = pcm[8_000:16_000, 0], pcm[8_000:16_000, 1]
    assert strongest_hz(left) == pytest.approx(740, abs=2)
    assert strongest_hz(right) == pytest.approx(740, abs=2)
