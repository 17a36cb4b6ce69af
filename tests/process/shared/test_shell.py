"""A process of the farm as others see it: lease, inboxes, drain, the task border."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from shared.bus import Append
from shared.config import Config, OpsConfig, RedisConfig
from shared.contracts import (
    CallEvent,
    MediaFormat,
    MediaUpdate,
    Message,
    RtpEndpoint,
    SpeakCancel,
    SrtpKeys,
    SttDetach,
    decode,
)
from shared.errors import BusError
from shared.metrics import Metrics
from shared.shell import Identity, Shell, describe
from tests.support.processes import answers, free_port, redis_command, running, wait_until
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


class Recorder:
    """Hooks that note what they are given."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.forgotten = 0
        self.live_calls = 0
        self.fail_beats = 0

    async def on_message(self, message: Message) -> None:
        if isinstance(message, SttDetach) and message.call_id == "broken":
            raise ValueError("a handler's bug")
        self.messages.put_nowait(message)

    async def on_beat(self, *, forgotten: bool) -> None:
        if forgotten and self.fail_beats:
            self.fail_beats -= 1
            raise BusError("redis went away in the middle")
        self.forgotten += forgotten

    def calls(self) -> int:
        return self.live_calls


def make_shell(url: str, drain_s: float = 5.0) -> Shell:
    config = Config(redis=RedisConfig(url=url), ops=OpsConfig(drain_s=drain_s))
    return Shell(config, Identity(role="tts", name="tts-0", capacity=5, takes_pcm=True), Metrics("tts"))


@asynccontextmanager
async def served(shell: Shell, hooks: Recorder) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(shell.run(hooks, signals=False))
    try:
        async with asyncio.timeout(20):
            while not hooks.forgotten:
                await asyncio.sleep(0.01)
            yield task
    finally:
        shell.stop()
        await task


async def test_worker_is_live_while_it_runs_and_gone_after(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    other = make_shell(redis_url)
    async with served(shell, hooks):
        record = (await other.registry.live("tts"))[shell.worker_id]
        assert (record.role, record.capacity, record.state) == ("tts", 5, "ready")
    assert await other.registry.live("tts") == {}
    assert await other.client.keys("*") == []
    await other.bus.close()
    await other.pcm_bus.close()


async def test_messages_arrive_by_both_inboxes_and_a_broken_handler_does_not_stop_them(
    redis_url: str,
) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    async with served(shell, hooks):
        shell.send(shell.worker_id, SttDetach(call_id="broken"))
        shell.outbox.put(Append(shell.keys.ctl(shell.worker_id), b"junk", 10))
        shell.send(shell.worker_id, SpeakCancel(call_id="c1", turn=1))
        assert await hooks.messages.get() == SpeakCancel(call_id="c1", turn=1)
        shell.send_pcm(shell.worker_id, SpeakCancel(call_id="c2", turn=2))
        assert await hooks.messages.get() == SpeakCancel(call_id="c2", turn=2)
        async with ClientSession() as http, http.get(f"http://127.0.0.1:{shell.http_port}/metrics") as answer:
            text = await answer.text()
    assert 'voicefarm_task_errors_total{task="SttDetach"} 1.0' in text
    assert 'voicefarm_bus_dropped_total{kind="unknown"} 1.0' in text
    assert 'role="tts"' in text


async def test_entries_given_up_are_shown_once_when_metrics_are_asked_twice(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    async with served(shell, hooks):
        for _ in range(3):  # put at once, before the writer runs: the queue keeps 500
            for n in range(600):
                shell.send_pcm("nobody.x", SpeakCancel(call_id="c", turn=n))
            await shell.pcm_outbox.drained()
            shell.pages.before_metrics()
            shell.pages.before_metrics()
        assert (
            shell.metrics.registry.get_sample_value("voicefarm_bus_dropped_total", {"kind": "live"}) == 300.0
        )
        assert (
            shell.metrics.registry.get_sample_value("voicefarm_bus_dropped_total", {"kind": "refused"}) == 0.0
        )


async def test_event_log_is_written(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    async with served(shell, hooks):
        shell.log_event("c1", "dtmf", digit="5")
        batch = await shell.bus.reader(shell.keys.events("c1")).read(block_ms=5_000)
        event = decode(batch.entries[0].payload)
        assert isinstance(event, CallEvent)
        assert (event.kind, event.by, event.data) == ("dtmf", shell.worker_id, {"digit": "5"})
        assert 0 < await shell.client.pttl(shell.keys.events("c1")) <= 30_000


async def test_drain_waits_for_calls_and_tells_the_farm(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    hooks.live_calls = 1
    async with served(shell, hooks) as task:
        async with ClientSession() as http, http.get(f"http://127.0.0.1:{shell.http_port}/drain") as answer:
            assert answer.status == 200

        async def known() -> bool:
            return (await shell.registry.live("tts"))[shell.worker_id].state == "draining"

        await eventually(known)
        assert not task.done()
        hooks.live_calls = 0
        await task


async def test_drain_ends_at_its_deadline_when_a_call_stays(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url, drain_s=0.1), Recorder()
    hooks.live_calls = 1
    async with served(shell, hooks) as task:
        shell.drain()
        shell.drain()
        await task


async def test_worker_registers_again_when_redis_lost_its_memory() -> None:
    port = free_port()
    shell, hooks = make_shell(f"redis://127.0.0.1:{port}/0"), Recorder()
    with running(redis_command(port)):
        wait_until(lambda: answers(port))
        task = asyncio.create_task(shell.run(hooks, signals=False))
        await eventually(lambda: hooks.forgotten == 1)
    with running(redis_command(port)):
        wait_until(lambda: answers(port))
        await eventually(lambda: hooks.forgotten == 2)
        shell.send(shell.worker_id, SpeakCancel(call_id="c1", turn=1))
        async with asyncio.timeout(10):
            assert await hooks.messages.get() == SpeakCancel(call_id="c1", turn=1)
        shell.stop()
        await task


async def test_role_is_told_again_that_it_was_forgotten_when_the_bus_failed_under_it(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    hooks.fail_beats = 2
    async with served(shell, hooks):
        assert hooks.fail_beats == 0
        assert hooks.forgotten == 1


async def test_process_ends_when_a_task_it_cannot_do_without_dies(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    async with served(shell, hooks) as task:

        async def fail() -> None:
            raise RuntimeError("gone")

        shell.spawn(fail(), "a side task")
        shell.spawn(fail(), "beat")
        await task
    assert (
        shell.metrics.registry.get_sample_value("voicefarm_task_errors_total", {"task": "a side task"}) == 1.0
    )


def test_describe_leaves_audio_and_keys_out() -> None:
    keys = SrtpKeys(suite="AES_CM_128_HMAC_SHA1_80", local=b"l" * 30, remote=b"r" * 30)
    where, what = RtpEndpoint(host="192.0.2.1", rtp_port=4_000), MediaFormat(codec="PCMU", payload_type=0)
    update = MediaUpdate(msg_id="m", reply_to="f", call_id="c", remote=where, format=what, srtp=keys)
    assert "srtp" not in describe(update)
    assert describe(SpeakCancel(call_id="c", turn=1)) == {"t": "tts.cancel", "call_id": "c", "turn": 1}


async def test_ai_worker_drops_load_of_calls_that_nobody_holds_any_more(redis_url: str) -> None:
    shell, hooks = make_shell(redis_url), Recorder()
    load = shell.keys.load(shell.worker_id)
    other = make_shell(redis_url)
    await other.client.hset(load, "dead", f"{10**12} 0")  # reserved in 2001, and without a record
    async with served(shell, hooks):
        await eventually(lambda: _has_no(other, load))
    await other.bus.close()
    await other.pcm_bus.close()


async def _has_no(shell: Shell, key: str) -> bool:
    return not await shell.client.exists(key)
