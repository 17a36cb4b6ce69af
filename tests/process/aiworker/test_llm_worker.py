"""The dialogue worker's hooks in this process, over a real Redis: calls that ended without saying so."""

from collections.abc import AsyncIterator

import pytest

from aiworker.io.llm_worker import LlmWorker
from aiworker.llm.agents import Agents
from shared.config import Config, RedisConfig
from shared.contracts import AiWorkers, DialogueAttach, DialogueDetach, SpeechStarted, Transcript
from shared.metrics import Metrics
from shared.registry import CallRecord
from shared.shell import Identity, Shell
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


@pytest.fixture
async def shell(redis_url: str) -> AsyncIterator[Shell]:
    found = Shell(
        Config(redis=RedisConfig(url=redis_url)),
        Identity(role="llm", name="llm-0", capacity=9),
        Metrics("llm"),
    )
    yield found
    await found.bus.close()
    await found.pcm_bus.close()


def attach(call_id: str) -> DialogueAttach:
    return DialogueAttach(
        call_id=call_id, tenant="t", room_id="r", session_id="s", epoch=1, agent="demo", media="media-0", ai=AiWorkers(),
    )  # fmt: skip


def record(call_id: str) -> CallRecord:
    return CallRecord(
        call_id=call_id, sip_call_id="x", tenant="t", room_id="r", session_id="s", app="agent", agent="demo", front="f",
        caller="a", callee="b", started_ms=0,
    )  # fmt: skip


async def test_call_that_the_registry_forgot_is_dropped_at_the_second_look(shell: Shell) -> None:
    worker = LlmWorker(shell, Agents(shell.config.llm), check_every_s=0.0)
    await shell.registry.restore(record("kept"))
    for call_id in ("kept", "gone"):
        await worker.on_message(attach(call_id))
    await worker.on_beat(forgotten=False)
    assert worker.calls() == 2
    await worker.on_beat(forgotten=False)
    assert worker.calls() == 1
    await worker.on_message(DialogueDetach(call_id="kept", reason="bye"))
    assert worker.calls() == 0


async def test_call_is_not_looked_for_before_its_time(shell: Shell) -> None:
    worker = LlmWorker(shell, Agents(shell.config.llm), check_every_s=1_000.0)
    await worker.on_message(attach("c1"))
    for _ in range(3):
        await worker.on_beat(forgotten=False)
    assert worker.calls() == 1
    await worker.on_message(DialogueDetach(call_id="c1", reason="bye"))


async def test_message_for_an_unknown_call_is_passed_over(shell: Shell) -> None:
    worker = LlmWorker(shell, Agents(shell.config.llm))
    await worker.on_message(SpeechStarted(call_id="nobody", epoch=1, turn=1))
    await worker.on_message(DialogueDetach(call_id="nobody", reason="bye"))
    assert worker.calls() == 0


async def test_a_stream_that_is_stopped_before_its_first_step_is_not_kept(shell: Shell) -> None:
    worker = LlmWorker(shell, Agents(shell.config.llm))
    await worker.on_message(attach("c1"))
    said = {"call_id": "c1", "epoch": 1, "turn": 1}
    await worker.on_message(SpeechStarted(**said))
    for number in range(5):  # each speculation stops the one before, which has not had a turn of the loop
        await worker.on_message(Transcript(**said, kind="speculative", text=f"question number {number}"))
    streams = worker._calls["c1"].streams
    assert len(streams) == 5
    await eventually(lambda: not streams)
    await worker.on_message(DialogueDetach(call_id="c1", reason="bye"))
