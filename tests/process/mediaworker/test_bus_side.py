"""The bus thread's half on a real Redis: leases written, repeated and restored; no engine, no RTP."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaworker.core.calls.effects import (
    Assign,
    Assigned,
    Command,
    Count,
    Drain,
    EndAll,
    Failed,
    Forgotten,
    Holding,
    LiveWorkers,
    Note,
    Observe,
    PortFreed,
    Released,
    Send,
    SendAudio,
)
from mediaworker.core.calls.ports import Ports
from mediaworker.io.bus_side import HURRY_S, BusSide
from mediaworker.io.rings import Ring
from shared.config import Config, MediaConfig, OpsConfig, RedisConfig
from shared.contracts import MediaAnswer, PcmToStt, SttDetach, decode
from shared.errors import BusError
from shared.metrics import Metrics
from shared.registry import CallRecord
from shared.shell import Identity, Shell
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


class Desk:
    """A BusSide whose tick thread and beat are the test."""

    def __init__(self, redis_url: str, *, drain_s: float = 60.0, ring: int = 64) -> None:
        config = Config(
            redis=RedisConfig(url=redis_url),
            media=MediaConfig(host="127.0.0.1"),
            ops=OpsConfig(events_linger_s=5.0),
        )
        identity = Identity(role="media", name="media-t", capacity=4)
        self.shell = Shell(config, identity, Metrics("media"))
        self.shell.state = "ready"
        self.ports = Ports([21_000, 21_002, 21_004, 21_006], quarantine_ns=0)
        self.commands: Ring[Command] = Ring(ring)
        self.seen: list[Observe | Count] = []
        self.side = BusSide(self.shell, self.ports, self.commands, self.seen.append, drain_s)

    async def beat(self, *, forgotten: bool = False) -> None:
        await self.shell.registry.beat(self.shell.record())
        await self.side.on_beat(forgotten=forgotten)

    def given(self) -> list[Any]:
        return [command for _ in range(len(self.commands)) if (command := self.commands.pop()) is not None]

    async def reserve(self, call_id: str = "c1", needs: tuple[Any, ...] = ()) -> Holding:
        record = CallRecord(
            call_id=call_id, sip_call_id="s", tenant="t", room_id="r", session_id="s", app="echo", agent="", front="f",
            caller="", callee="", started_ms=0,
        )  # fmt: skip
        placed = await self.shell.registry.reserve(record, needs)
        return holding(call_id, placed.port, stt=placed.stt)


def holding(call_id: str, port: int, state: str = "reserved", stt: str = "") -> Holding:
    return Holding(
        3, call_id, "s", "t", "r", "s", "echo", "", "PCMU", "f", "a", "b", state, port, stt, "", ""
    )


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    made = Desk(redis_url)
    await made.beat(forgotten=True)
    yield made
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await made.shell.bus.close()
    await made.shell.pcm_bus.close()


async def test_the_first_beat_offers_all_ports_and_restores_nothing(desk: Desk) -> None:
    assert await desk.shell.registry.free_ports(desk.shell.worker_id) == [21_000, 21_002, 21_004, 21_006]
    assert desk.given() == []


async def test_a_call_is_held_and_given_back_with_its_port(desk: Desk) -> None:
    held = await desk.reserve()
    desk.side.carry_out([held])
    assert desk.side.calls() == 1
    desk.side.carry_out([held._replace(state="answered")])

    async def answered() -> bool:
        record = await desk.shell.registry.call("c1")
        return record is not None and record.state == "answered"

    await eventually(answered)
    desk.side.carry_out([Released(3, "c1", held.port, recorded=False)])
    await eventually(lambda: desk.side.calls() == 0)
    await desk.beat()
    assert held.port in await desk.shell.registry.free_ports(desk.shell.worker_id)
    assert desk.side.by_row == {}


async def test_a_release_that_failed_is_repeated(desk: Desk) -> None:
    held = await desk.reserve()
    desk.side.carry_out([held])
    client = desk.shell.client
    await client.client_pause(400, all=True)
    client.connection_pool.connection_kwargs["socket_timeout"] = 0.05
    await client.connection_pool.disconnect()
    desk.side.carry_out([Released(3, "c1", held.port, recorded=False)])
    await asyncio.sleep(0.2)  # the release meets a server that does not answer
    assert desk.side.calls() == 1
    client.connection_pool.connection_kwargs["socket_timeout"] = 5.0
    await client.connection_pool.disconnect()
    await desk.beat()
    assert desk.side.calls() == 0
    assert await desk.shell.registry.call("c1") is None


async def test_a_registry_that_forgot_is_told_everything(desk: Desk) -> None:
    held = await desk.reserve()
    desk.side.carry_out([held._replace(state="answered")])
    await desk.shell.client.flushall()
    await desk.beat(forgotten=True)
    record = await desk.shell.registry.call("c1")
    assert record is not None
    assert (record.state, record.port, record.worker) == ("answered", held.port, desk.shell.worker_id)
    assert abs(record.started_ms - time.time() * 1_000) < 60_000
    assert held.port not in await desk.shell.registry.free_ports(desk.shell.worker_id)
    assert [type(command) for command in desk.given()] == [Forgotten]


async def test_a_call_that_only_the_registry_lost_is_written_again(desk: Desk) -> None:
    held = await desk.reserve()
    desk.side.carry_out([held])
    await desk.shell.client.delete(desk.shell.keys.call("c1"))
    desk.side._next_refresh = 0.0
    await desk.beat()
    assert await desk.shell.registry.call("c1") is not None


async def test_workers_are_watched_but_not_judged_right_after_redis_was_away(desk: Desk) -> None:
    desk.side.carry_out([holding("c1", 21_000, stt="stt.1")])
    await desk.beat()
    assert desk.given() == [], "the grace after the first beat"
    desk.side._judge_after = 0.0
    await desk.beat()
    assert desk.given() == [LiveWorkers({"stt": frozenset()})]
    desk.side._last_beat -= 5.0
    await desk.beat()
    assert desk.given() == []


async def test_another_worker_is_looked_for_and_the_answer_comes_back(desk: Desk) -> None:
    desk.side.carry_out([Assign("c1", "stt", "stt.1")])
    await eventually(lambda: len(desk.commands))
    assert desk.given() == [Assigned("c1", "stt", "stt.1", "")]


async def test_messages_are_written_and_figures_passed_on(desk: Desk) -> None:
    audio = PcmToStt(rate_hz=8_000, frames=[])
    figure = Observe("m", (), 1.0, "c1")
    desk.side.carry_out(
        [
            Send("w.1", SttDetach(call_id="c1")),
            SendAudio("w.1", audio),
            Note("c1", "dtmf", {"digit": "1"}),
            figure,
        ]
    )
    desk.shell.spawn(desk.shell.outbox.run(), "out")
    desk.shell.spawn(desk.shell.pcm_outbox.run(), "pcm out")
    await desk.shell.outbox.drained()
    await desk.shell.pcm_outbox.drained()
    client, keys = desk.shell.client, desk.shell.keys
    ((_, sent),) = await client.xrange(keys.ctl("w.1"))
    assert decode(sent[b"m"]) == SttDetach(call_id="c1")
    assert await client.xlen(keys.pcm("w.1")) == await client.xlen(keys.events("c1")) == 1
    assert desk.seen == [figure]


async def test_what_does_not_fit_into_the_outbox_is_counted(desk: Desk) -> None:
    message = SttDetach(call_id="c1")
    desk.side.carry_out([Send("w.1", message)] * 10_001)
    assert desk.seen == [Count("voicefarm_bus_dropped", ("refused",))]


async def test_a_full_ring_lets_the_stream_wait(redis_url: str) -> None:
    desk = Desk(redis_url, ring=1)
    await desk.side.give(Drain())
    waiting = asyncio.create_task(desk.side.on_message(MediaAnswer(msg_id="m", call_id="c", ok=True)))
    await asyncio.sleep(0.02)  # it has had its turn
    assert not waiting.done()
    desk.commands.pop()
    await waiting
    assert len(desk.commands) == 1


async def test_a_busy_port_comes_back_only_when_the_stranger_has_gone(desk: Desk) -> None:
    async def offered() -> bool:
        await desk.beat()
        return 21_002 in await desk.shell.registry.free_ports(desk.shell.worker_id)

    await desk.shell.client.lrem(desk.shell.keys.ports(desk.shell.worker_id), 0, 21_002)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 21_002))
        desk.side.carry_out([PortFreed("c1", 21_002, busy=True)])
        assert not await offered()
        assert desk.ports.counts()["quarantined"] == 1
    await eventually(offered)


async def test_draining_gives_the_grace_and_then_ends_all(redis_url: str) -> None:
    desk = Desk(redis_url, drain_s=0.2)
    desk.side.drain()
    desk.side.drain()
    await eventually(lambda: len(desk.commands) == 2)
    assert desk.given() == [Drain(), EndAll("drain")]
    assert desk.shell.state == "draining"


async def test_an_interrupt_ends_all_now_and_a_second_one_the_worker(redis_url: str) -> None:
    desk = Desk(redis_url)
    desk.side.carry_out([holding("c1", 21_000)])
    desk.side.drain()
    desk.side.hurry()
    await eventually(lambda: EndAll("drain") in desk.given())
    assert not desk.shell._stop.is_set()
    desk.side.hurry()
    assert desk.shell._stop.is_set()


async def test_a_recording_waits_for_its_job_to_be_queued(desk: Desk) -> None:
    held = await desk.reserve()
    desk.side.carry_out([held, Released(3, "c1", held.port, recorded=True)])
    await eventually(lambda: desk.side.calls() == 1)
    desk.side.recorded("c1", "/nowhere/c1.wav")
    await eventually(lambda: desk.side.calls() == 0)
    assert await desk.shell.client.exists("rq:job:recording-c1")


async def test_a_recording_that_was_done_first_or_never_opened_is_not_waited_for(desk: Desk) -> None:
    desk.side.recorded("c1", "")
    desk.side.carry_out([Released(3, "c1", 21_000, recorded=True)])
    await eventually(lambda: desk.side.calls() == 0)


async def test_without_redis_a_beat_is_an_error_and_nothing_is_lost(redis_url: str) -> None:
    desk = Desk("redis://127.0.0.1:1/0")
    with pytest.raises(BusError):
        await desk.side.on_beat(forgotten=True)
    desk.ports.free(21_000, "", 0)
    with pytest.raises(BusError):
        await desk.side.on_beat(forgotten=False)
    assert desk.ports.counts()["quarantined"] == 1


async def test_an_interrupted_worker_leaves_though_a_release_cannot_be_said(redis_url: str) -> None:
    desk = Desk("redis://127.0.0.1:1/0")
    desk.side.carry_out([holding("c1", 21_000), Released(3, "c1", 21_000, recorded=False)])
    desk.side.hurry()
    await asyncio.wait_for(desk.shell._stop.wait(), HURRY_S + 3.0)
    assert desk.side.calls() == 1


async def test_an_interrupted_worker_leaves_as_soon_as_its_calls_have_ended(desk: Desk) -> None:
    held = await desk.reserve()
    desk.side.carry_out([held])
    begun = time.monotonic()
    desk.side.hurry()
    await eventually(lambda: EndAll("drain") in desk.given())
    desk.side.carry_out([Released(3, "c1", held.port, recorded=False)])
    await asyncio.wait_for(desk.shell._stop.wait(), HURRY_S)
    assert time.monotonic() - begun < HURRY_S


async def test_a_call_that_broke_is_counted_and_written_down(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.side.carry_out([Failed("c1", TypeError("unforeseen"))])
    assert desk.seen == [Count("voicefarm_task_errors", ("call",))]
    assert "call failed" in caplog.text
