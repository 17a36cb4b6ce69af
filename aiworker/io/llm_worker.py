"""The dialogue worker: leads many calls' dialogues at once, each a `core.dialogue.Dialogue`.

This shell brings messages, tokens and time to the dialogues and performs what they answer. It owns the engines' streams
(one task each), one timer per call, and takes calls over from a dead worker by reading their event log.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from aiworker.core.dialogue import Dialogue
from aiworker.core.effects import (
    Acted,
    Count,
    Effect,
    Event,
    Generate,
    Log,
    Send,
    Stop,
    StreamEnded,
    StreamFailed,
    TimePassed,
    Token,
)
from aiworker.core.failover import reason_of
from aiworker.core.takeover import rebuild
from aiworker.io.call_events import EventTail
from aiworker.llm.agents import Agents, Loaded
from aiworker.llm.port import StreamOptions
from shared.config import Config
from shared.contracts import DialogueAttach, DialogueDetach, Message, ReplyEnd
from shared.errors import BusError, ConfigError, EngineError
from shared.keys import CALL_LEASE_MS
from shared.log import get_log
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from shared.units import NS_PER_S

log = get_log(__name__)

_RESUMES_AT_ONCE = 16
_KEPT_WHILE_RESUMING = 256
_TAIL_S = 3.0
_TAIL_STEP_S = 0.25
_CHECKS_PER_BEAT = 8


@dataclass(slots=True, eq=False)
class _Call:
    dialogue: Dialogue
    loaded: Loaded
    checked_at: float
    streams: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    missing: int = 0
    """Checks in a row in which the registry did not know the call."""


class LlmWorker:
    """The role's hooks."""

    def __init__(self, shell: Shell, agents: Agents, *, check_every_s: float = CALL_LEASE_MS / 2_000) -> None:
        self._shell = shell
        self._check_every_s = check_every_s
        self._agents = agents
        self._calls: dict[str, _Call] = {}
        self._resuming: dict[str, list[Message]] = {}
        self._resume_slots = asyncio.Semaphore(_RESUMES_AT_ONCE)

    # --- hooks

    async def on_message(self, message: Message) -> None:
        call_id = getattr(message, "call_id", "")
        if call_id in self._resuming:
            waiting = self._resuming[call_id]
            if len(waiting) < _KEPT_WHILE_RESUMING:
                waiting.append(message)
        elif isinstance(message, DialogueAttach):
            self._attach(message)
        else:
            self._deliver(call_id, message)

    async def on_beat(self, *, forgotten: bool) -> None:  # noqa: ARG002  media workers attach their calls again
        """Looks whether calls still exist, a few per beat: their end may have been lost with Redis."""
        now = asyncio.get_running_loop().time()
        due = [item for item in self._calls.items() if now - item[1].checked_at >= self._check_every_s]
        for call_id, call in islice(due, _CHECKS_PER_BEAT):
            call.checked_at = now
            known = await self._shell.registry.call(call_id) is not None
            call.missing = 0 if known else call.missing + 1
            if call.missing >= 2:
                log.warning("call is gone", call_id=call_id)
                self._deliver(call_id, DialogueDetach(call_id=call_id, reason="error"))

    def calls(self) -> int:
        return len(self._calls) + len(self._resuming)

    # --- a call's life

    def _attach(self, attach: DialogueAttach) -> None:
        call = self._calls.get(attach.call_id)
        if call is not None:
            self._perform(attach.call_id, call, call.dialogue.reattach(attach, self._now_ns()))
        elif attach.resumed:
            self._resuming[attach.call_id] = []
            self._shell.spawn(self._resume(attach), "resume")
        else:
            self._begin(attach, None)

    def _begin(self, attach: DialogueAttach, tail: EventTail | None) -> None:
        try:
            loaded = self._agents.get(attach.agent)
        except ConfigError as error:
            self._shell.metrics.counter("voicefarm_task_errors", "agent").inc()
            log.warning("no such agent", call_id=attach.call_id, agent=attach.agent, problem=str(error))
            end = ReplyEnd(call_id=attach.call_id, turn=attach.turn, segments=0, hangup=True)
            self._shell.send(attach.media, end)
            return
        found = rebuild(tail.seen) if tail else None
        dialogue = Dialogue(attach, loaded.agent, loaded.chain, found)
        call = self._calls[attach.call_id] = _Call(dialogue, loaded, asyncio.get_running_loop().time())
        self._perform(attach.call_id, call, dialogue.begin(self._now_ns()))

    async def _resume(self, attach: DialogueAttach) -> None:
        """Rebuilds a dialogue, then looks for words that its dead worker was sent in the meantime."""
        tail = EventTail(self._shell.bus, self._shell.keys.events(attach.call_id))
        try:
            async with self._resume_slots:
                await tail.read_all()
        except BusError as error:
            log.warning("resumed without its history", call_id=attach.call_id, problem=str(error))
        finally:
            waiting = self._resuming.pop(attach.call_id)
        self._begin(attach, tail)
        for message in waiting:
            await self.on_message(message)
        await self._follow(attach.call_id, tail)

    async def _follow(self, call_id: str, tail: EventTail) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _TAIL_S
        while call_id in self._calls and loop.time() < until:
            await asyncio.sleep(_TAIL_STEP_S)
            try:
                found = await tail.new_transcripts()
            except BusError:
                continue
            for transcript in found:
                self._deliver(call_id, transcript)

    def _deliver(self, call_id: str, event: Event) -> None:
        call = self._calls.get(call_id)
        if call is not None:
            self._perform(call_id, call, call.dialogue.handle(event, self._now_ns()))
            if isinstance(event, DialogueDetach):
                self._forget(call_id, call)

    def _forget(self, call_id: str, call: _Call) -> None:
        for task in call.streams.values():
            task.cancel()
        if call.timer is not None:
            call.timer.cancel()
        del self._calls[call_id]

    # --- effects

    def _perform(self, call_id: str, call: _Call, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(worker, message):
                    if worker:
                        self._shell.send(worker, message)
                case Log(kind, data):
                    self._shell.log_event(call_id, kind, **data)
                case Generate(generation):
                    task = self._shell.spawn(self._stream(call_id, call, effect), "stream")
                    call.streams[generation] = task
                    # One that is stopped before its first step never gets to its own end.
                    task.add_done_callback(partial(_finished, call, generation))
                case Stop(generation):
                    if generation in call.streams:
                        call.streams[generation].cancel()
                case Count(result):
                    self._shell.metrics.counter("voicefarm_llm_turns", result).inc()
        self._arm(call_id, call)

    def _arm(self, call_id: str, call: _Call) -> None:
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        deadline_ns = call.dialogue.deadline_ns()
        if deadline_ns is not None:
            delay_s = max(0.0, (deadline_ns - self._now_ns()) / NS_PER_S)
            call.timer = asyncio.get_running_loop().call_later(delay_s, self._wake, call_id)

    def _wake(self, call_id: str) -> None:
        self._shell.spawn(self._time_passed(call_id), "timer")

    async def _time_passed(self, call_id: str) -> None:
        self._deliver(call_id, TimePassed())

    async def _stream(self, call_id: str, call: _Call, wanted: Generate) -> None:
        """One engine's stream; whatever happens, the dialogue hears of its end unless it stopped the stream."""
        end: Event = StreamFailed(wanted.generation, "error")
        try:
            await self._read_stream(call_id, call, wanted)
            end = StreamEnded(wanted.generation)
        except EngineError as error:
            engine = call.loaded.engines[wanted.engine].name
            reason = reason_of(error)
            self._shell.metrics.counter("voicefarm_engine_failures", engine, reason).inc()
            log.warning("engine failed", call_id=call_id, engine=engine, problem=str(error))
            end = StreamFailed(wanted.generation, reason)
        except asyncio.CancelledError:
            end = TimePassed()  # nobody waits for this stream
            raise
        finally:
            if not isinstance(end, TimePassed):
                self._deliver(call_id, end)

    async def _read_stream(self, call_id: str, call: _Call, wanted: Generate) -> None:
        engine = call.loaded.engines[wanted.engine]
        started_ns = self._now_ns()
        first = True
        async with aclosing(engine.stream(wanted.messages, self._options(call))) as items:
            async for item in items:
                if first and isinstance(item, str) and item.strip():
                    first = False
                    seconds = (self._now_ns() - started_ns) / NS_PER_S
                    self._shell.metrics.histogram("voicefarm_llm_first_token_seconds", engine.name).observe(
                        seconds
                    )
                token = (
                    Token(wanted.generation, item)
                    if isinstance(item, str)
                    else Acted(wanted.generation, item)
                )
                self._deliver(call_id, token)

    def _options(self, call: _Call) -> StreamOptions:
        return StreamOptions(
            first_token_ms=self._shell.config.llm.first_token_ms,
            values=call.dialogue.values,
            may_hang_up=call.loaded.agent.may_hang_up,
        )

    def _now_ns(self) -> int:
        return self._shell.clock.now_ns()


def _finished(call: _Call, generation: int, _task: asyncio.Task[None]) -> None:
    call.streams.pop(generation, None)


async def serve(config: Config, name: str) -> None:
    """Runs the worker until it is drained or stopped. Raises ConfigError when an agent file is wrong."""
    agents = Agents(config.llm)
    engines = sorted({spec.engine for agent in agents.names() for spec in agents.get(agent).agent.engines()})
    identity = Identity(role="llm", name=name, capacity=config.llm.capacity, engine="+".join(engines))
    shell = Shell(config, identity, Metrics("llm"))
    try:
        await shell.run(LlmWorker(shell, agents))
    finally:
        await agents.close()
