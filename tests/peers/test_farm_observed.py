"""A running farm as Prometheus and tshark see it: jitter agrees, series end with their calls, every panel has data."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.support import capture as tshark
from tests.support import prometheus as prometheus_support
from tests.support.capture import capture, rtp_streams
from tests.support.events import call_events
from tests.support.farm import Farm, farm
from tests.support.phone import SILENCE, Phone, phones, tone
from tests.support.prometheus import load_dashboard, prometheus
from tests.support.recordings import recordings
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(prometheus_support.missing()), reason=prometheus_support.missing()),
    pytest.mark.skipif(bool(tshark.missing()), reason=tshark.missing()),
]

SECONDS = 24


class JitteryPhone(Phone):
    """Sends each packet up to 12 ms late."""

    async def _pump(self) -> None:
        rng = random.Random(3)
        start = time.monotonic()
        n = 0
        while True:
            await asyncio.sleep(start + n * 0.02 + rng.uniform(0, 0.012) - time.monotonic())
            self.send_rtp(self._queue.pop(0) if self._queue else SILENCE)
            n += 1


def pages(running_farm: Farm) -> list[str]:
    roles = {name: running_farm.workers(name.partition("-")[0])[name] for name in running_farm.commands}
    return [f"http://127.0.0.1:{record['http_port']}" for record in roles.values()]


@pytest.mark.timeout(180)
async def test_jitter_agrees_with_tshark_and_series_end_with_the_call(tmp_path: Path) -> None:
    config = {"ops": {"events_linger_s": 60}}
    with (
        farm(tmp_path, config=config) as running_farm,
        prometheus(tmp_path, farm=pages(running_farm)) as prom,
    ):
        first, last = running_farm.rtp_range
        phone = JitteryPhone(("127.0.0.1", running_farm.sip_ports[0]))
        await phone.open()
        with capture(tmp_path / "call.pcapng", f"portrange {first}-{last}") as trace:
            answer = await phone.call("echo")
            call_id = answer.one("x-call-id")
            phone.play(tone(600, SECONDS + 5))
            series = f'voicefarm_call_jitter_seconds{{call_id="{call_id}",direction="in"}}'
            await eventually(lambda: prom.query(series), 20)
            until = time.monotonic() + SECONDS
            await eventually(lambda: time.monotonic() > until, SECONDS + 5)
            ours = prom.value(f"avg_over_time({series}[{SECONDS - 4}s])")
            assert (await phone.bye()).status == 200
        ended = time.monotonic()
        await eventually(lambda: prom.query(series) == [], 15)
        print(f"series gone {time.monotonic() - ended:.1f} s after hangup")
        phone.close()
        with running_farm.redis() as client:
            (end,) = call_events(client, call_id, "call.ended")
    # The longest: another test run on this machine may have sent a packet to a port of ours.
    streams = (s for s in rtp_streams(trace) if first <= s.target_port <= last)
    theirs = max(streams, key=lambda stream: stream.packets)
    assert ours is not None
    mean = end.data["rtp"]["jitter_mean_ms"]
    print(f"jitter: ours {mean:.2f} ms, scraped {ours * 1_000:.2f} ms, tshark {theirs.mean_jitter:.2f} ms")
    assert mean == pytest.approx(theirs.mean_jitter, rel=0.05)
    # A figure scraped once a second over another stretch of the call: of the same size, on a busy machine no more.
    assert ours * 1_000 == pytest.approx(theirs.mean_jitter, rel=0.5)


async def keep_calling(sip: str, number: int) -> None:
    """Conversations with the agent: a question, a word into the answer, a goodbye."""
    voice = recordings()
    while True:
        async with phones(sip) as (phone,):
            await phone.call("agent")
            await eventually(lambda p=phone: len(p.loud_packets()) > 30 + number, 20)
            for line in ("weasels have eaten our phone system", "one moment please", "goodbye"):
                count = len(phone.loud_packets())
                phone.play(voice[line])
                await eventually(lambda p=phone: not p.playing, 20)
                await eventually(lambda p=phone, n=count: len(p.loud_packets()) > n + 40, 20)
            await asyncio.wait_for(phone.hung_up.wait(), 20)


async def keep_echoing(sip: str) -> None:
    """Short calls one after the other, for rates, beside a long one for live series."""
    async with phones(sip) as (steady,):
        await steady.call("echo")
        steady.play(tone(500, 120))
        while True:
            async with phones(sip) as (phone,):
                await phone.call("echo")
                phone.play(tone(700, 1))
                await eventually(lambda p=phone: not p.playing)
                await phone.bye()


@pytest.mark.timeout(240)
async def test_every_panel_of_the_overview_has_data_when_the_farm_has_calls(tmp_path: Path) -> None:
    config = {"stt": {"engine": "pocketsphinx"}}
    ai = ("stt-0", "llm-0", "tts-0")
    with (
        farm(tmp_path, ai=ai, jobs=True, config=config) as running_farm,
        prometheus(tmp_path, farm=pages(running_farm)) as prom,
    ):
        overview = load_dashboard("overview.json")
        left = ["not asked yet"]
        busy = [asyncio.create_task(keep_calling(running_farm.sip, n)) for n in range(3)]
        echo = asyncio.create_task(keep_echoing(running_farm.sip))

        async def proved() -> bool:
            left[:] = await asyncio.to_thread(prom.unproved, overview)
            return not left

        try:
            await eventually(proved, 120)
        except TimeoutError:
            pytest.fail(f"panels without data: {left}")
        finally:
            for task in (*busy, echo):
                task.cancel()
            await asyncio.gather(*busy, echo, return_exceptions=True)
