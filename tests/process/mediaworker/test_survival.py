"""A media worker that is drained, killed, or loses its Redis; reservations that lost their front."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from shared.contracts import DialogueAttach, MediaEnded, SttAttach
from shared.keys import Keys
from tests.support.exchange_bench import opening
from tests.support.lateness import Lateness
from tests.support.media_bench import PORT_PAIRS, front, media_worker, member
from tests.support.processes import answers, free_port, redis_command, running, wait_until
from tests.support.rtp_peer import strongest_hz, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


async def exited(process: object) -> int:
    await eventually(lambda: process.poll() is not None, 15.0)  # type: ignore[attr-defined]
    return int(process.returncode)  # type: ignore[attr-defined]


async def test_a_drained_worker_lets_its_calls_end_and_goes(redis_url: str, tmp_path: Path) -> None:
    with media_worker(redis_url, tmp_path) as process:
        async with front(redis_url) as placed:
            worker_id = await placed.media()
            call = await placed.call("echo")
            process.terminate()

            async def is_draining() -> bool:
                return (await placed.registry.live("media"))[worker_id].state == "draining"

            await eventually(is_draining)
            refused = opening("late", "echo", port=call.placement.port + 2, reply_to=placed.member.id)
            answer = await placed.ask(worker_id, refused)
            assert (answer.ok, answer.reason) == (False, "draining")
            call.peer.say(tone(740, 400))
            await eventually(lambda: strongest_hz(call.peer.last(200)) == pytest.approx(740, abs=6))
            assert process.poll() is None
            await placed.hang_up(call)
            assert await exited(process) == 0
            assert await placed.registry.live("media") == {}
            keys = Keys("vf")
            left = [key async for key in placed.member.shell.client.scan_iter("vf:*")]
            mine = {
                keys.events(call.call_id),
                keys.ctl(placed.member.id),
                keys.live("front"),
                keys.worker(placed.member.id),
            }
            assert {key.decode() for key in left} <= mine


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_calls_left_at_the_end_of_the_grace_are_ended_with_a_word(
    redis_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    grace = "0.5" if number == signal.SIGTERM else "600"  # an interrupt does not wait for any grace
    with media_worker(redis_url, tmp_path, OPS__DRAIN_S=grace) as process:
        async with front(redis_url) as placed:
            await placed.media()
            call = await placed.call("echo", record=True)
            process.send_signal(number)
            ended = await placed.member.await_one(MediaEnded)
            assert (ended.call_id, ended.reason) == (call.call_id, "drain")
            assert await exited(process) == 0
            assert await placed.registry.call(call.call_id) is None
            assert await placed.member.shell.client.exists(f"rq:job:recording-{call.call_id}")


async def test_a_killed_worker_leaves_leases_that_run_out_and_no_exporter(
    redis_url: str, tmp_path: Path, late: Lateness
) -> None:
    with media_worker(redis_url, tmp_path) as process:
        async with front(redis_url) as placed:
            worker_id = await placed.media()
            call = await placed.call("echo", record=True)
            port = (await placed.registry.live("media"))[worker_id].http_port
            await eventually(lambda: len(call.peer.heard) > 70)
            os.kill(process.pid, signal.SIGKILL)
            killed = time.monotonic()

            async def is_dead() -> bool:
                return not await placed.registry.live("media")

            await eventually(is_dead)
            assert time.monotonic() - killed < 3.0 + late.worst_ms / 1_000
            await eventually(lambda: not answers(port))
            wav = (tmp_path / "recordings" / f"{call.call_id}.wav").read_bytes()
            assert int.from_bytes(wav[40:44], "little") >= 32_000, "what was written is playable"
            assert len(wav) - 44 >= int.from_bytes(wav[40:44], "little")


async def test_rtp_goes_on_while_redis_restarts_and_the_registry_is_written_again(
    tmp_path: Path, late: Lateness
) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with running(redis_command(port)) as server:
        wait_until(lambda: answers(port))
        with media_worker(url, tmp_path):
            async with (
                front(url) as placed,
                member(url, "stt") as stt,
                member(url, "llm") as llm,
                member(url, "tts") as tts,
            ):
                worker_id = await placed.media()
                await eventually(lambda: tts.shell.registry.live("tts"))
                echo = await placed.call("echo")
                agent = await placed.call("agent")
                await stt.await_one(SttAttach)
                await eventually(lambda: len(echo.peer.heard) > 20)
                since = echo.peer.heard[-1].at_ns
                os.kill(server.pid, signal.SIGKILL)
                server.wait()
                echo.peer.say(tone(740, 2_000))
                await asyncio.sleep(1.0)  # an outage is a while
                with running(redis_command(port)):
                    wait_until(lambda: answers(port))

                    async def is_restored() -> bool:
                        record = await placed.registry.call(echo.call_id)
                        return (
                            record is not None and record.worker == worker_id and record.state == "answered"
                        )

                    await eventually(is_restored)

                    async def are_offered() -> bool:
                        return bool(await placed.registry.free_ports(worker_id))

                    await eventually(are_offered)
                    offered = await placed.registry.free_ports(worker_id)
                    assert len(offered) == PORT_PAIRS - 2
                    assert not {echo.placement.port, agent.placement.port} & set(offered)
                    again = await stt.await_one(SttAttach, lambda m: m.epoch == 2)
                    assert again.call_id == agent.call_id
                    resumed = await llm.await_one(DialogueAttach, lambda m: m.resumed)
                    assert (resumed.call_id, resumed.epoch) == (agent.call_id, 2)
                    assert echo.peer.longest_gap_ms(since) <= 100 + late.worst_ms
                    assert strongest_hz(echo.peer.last(200)) == pytest.approx(740, abs=6)
                    assert (await placed.hang_up(echo)).ok
                    assert (await placed.hang_up(agent)).ok


async def test_a_reservation_that_nobody_opened_is_found_and_its_port_comes_back(
    redis_url: str, tmp_path: Path
) -> None:
    with media_worker(redis_url, tmp_path):
        async with front(redis_url) as placed:
            worker_id = await placed.media()
            call_id, placement = await placed.reserve("echo")
            load = placed.member.shell.keys.load(worker_id)
            raw = await placed.member.shell.client.hget(load, call_id)
            old = int(raw.split()[0]) - 20_000
            await placed.member.shell.client.hset(load, call_id, f"{old} {placement.port}")
            unseen, lost = await placed.reserve("echo")
            await placed.registry.release(unseen, linger_ms=1)  # the front gave up before it opened the leg

            async def all_back() -> bool:
                offered = await placed.registry.free_ports(worker_id)
                return len(offered) == PORT_PAIRS and {placement.port, lost.port} <= set(offered)

            await eventually(all_back, 20.0)
            assert await placed.registry.held(worker_id) == []
            assert await placed.registry.call(call_id) is None
