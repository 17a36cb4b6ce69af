"""What the processes of the farm share as processes: lease, inbox, outboxes, operators' pages, drain.

A role builds a `Shell`, hands it a `Hooks`, and calls `run`; its own tasks are started with `spawn`. The one broad
`except` of a process is here, at the task border: a message that breaks its handler is counted and logged, and the
worker lives on (I9).
"""

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from shared.bus import Append, Outbox, RedisBus, connect
from shared.clock import SystemClock
from shared.config import Config
from shared.contracts import CallEvent, Message, decode, encode
from shared.errors import BusError, ContractError
from shared.ids import new_worker_id
from shared.keys import (
    BEAT_MS,
    CTL_MAXLEN,
    EVENTS_MAXLEN,
    EVENTS_TTL_MS,
    INBOX_TTL_MS,
    PCM_MAXLEN,
    REFRESH_MS,
    Keys,
)
from shared.log import get_log
from shared.metrics import Metrics
from shared.ops import OpsPages, OpsServer
from shared.registry import Registry, Role, State, WorkerRecord

log = get_log(__name__)

_RETRY_S = 0.2
_AUDITED = frozenset({"stt", "llm", "tts"})


class Hooks(Protocol):
    """What a role does; all are called in the shell's event loop."""

    async def on_message(self, message: Message) -> None:
        """A message of the control inbox or, for roles that take audio, of the PCM inbox."""
        ...

    async def on_beat(self, *, forgotten: bool) -> None:
        """After every beat; `forgotten` when Redis did not know this worker (at start, or Redis lost its memory)."""
        ...

    def calls(self) -> int:
        """Calls on this worker now; a draining worker ends when there are none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who this process is."""

    role: Role
    name: str
    capacity: int
    host: str = field(default_factory=socket.gethostname)
    engine: str = ""
    sip_port: int = 0
    takes_pcm: bool = False
    pcm_max_age_ms: int | None = None


class Shell:
    """One process of the farm."""

    def __init__(self, config: Config, identity: Identity, metrics: Metrics) -> None:
        self.config = config
        self.identity = identity
        self.metrics = metrics
        self.clock = SystemClock()
        self.worker_id = new_worker_id(identity.name)
        self.keys = Keys(config.redis.prefix)
        self.client = connect(config.redis.url)
        self.bus = RedisBus(self.client)
        self._pcm_client = connect(config.redis.pcm_url or config.redis.url)
        self.pcm_bus = RedisBus(self._pcm_client)
        self.outbox = Outbox(self.bus)
        self.pcm_outbox = Outbox(self.pcm_bus)
        self.registry = Registry(self.client, self.keys)
        self.state: State = "starting"
        self.pages = OpsPages(
            metrics.registry, ready=self._why_not_ready, drain=self.drain, before_metrics=self._gauges
        )
        self.http_port = 0
        """Set before the first beat when another process serves the pages; else bound by `run`."""
        self._hooks: Hooks | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self._draining = asyncio.Event()
        self._bus_ok = True
        self._counted: dict[str, int] = {}

    # --- sending

    def send(self, worker_id: str, message: Message) -> None:
        """To a worker's control inbox; kept while Redis is away. Raises BusError when too much waits already."""
        self.outbox.put(Append(self.keys.ctl(worker_id), encode(message), CTL_MAXLEN, INBOX_TTL_MS))

    def send_pcm(self, worker_id: str, message: Message) -> None:
        """To a worker's audio inbox; dropped when Redis is away or the worker too slow."""
        self.pcm_outbox.put_live(Append(self.keys.pcm(worker_id), encode(message), PCM_MAXLEN, INBOX_TTL_MS))

    def log_event(self, call_id: str, kind: str, /, **data: Any) -> None:
        """Appends to the call's event log."""
        event = CallEvent(
            call_id=call_id, kind=kind, at_ns=self.clock.wall_ns(), by=self.worker_id, data=data
        )
        self.outbox.put(Append(self.keys.events(call_id), encode(event), EVENTS_MAXLEN, EVENTS_TTL_MS))

    # --- life

    def record(self) -> WorkerRecord:
        who = self.identity
        return WorkerRecord(
            worker_id=self.worker_id, role=who.role, host=who.host, http_port=self.http_port, capacity=who.capacity,
            state=self.state, pid=os.getpid(), engine=who.engine, sip_port=who.sip_port,
        )  # fmt: skip

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Starts a task that belongs to the process; its failure is counted and logged, never lost."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def drain(self) -> None:
        """No new work; `run` returns when the running calls have ended or `ops.drain_s` has passed."""
        if self.state != "draining":
            log.info("draining", calls=self._hooks.calls() if self._hooks else 0)
            self.state = "draining"
            self._draining.set()

    def stop(self) -> None:
        """`run` returns now."""
        self._stop.set()

    async def run(self, hooks: Hooks, *, signals: bool = True, serve_pages: bool = True) -> None:
        """Serves until drained or stopped."""
        self._hooks = hooks
        if signals:
            self._install_signals()
        server = OpsServer(self.pages, self.config.ops.http_host, self.config.ops.http_port)
        if serve_pages:
            await server.start()
            self.http_port = server.port
        self.spawn(self.outbox.run(), "outbox")
        self.spawn(self.pcm_outbox.run(), "pcm outbox")
        if self.state == "starting":
            self.state = "ready"
        self.spawn(self._beat_loop(), "beat")
        self.spawn(self._inbox_loop(self.bus, self.keys.ctl(self.worker_id), None), "inbox")
        if self.identity.takes_pcm:
            self.spawn(
                self._inbox_loop(self.pcm_bus, self.keys.pcm(self.worker_id), self.identity.pcm_max_age_ms),
                "pcm inbox",
            )
        log.info("ready", worker_id=self.worker_id, http_port=self.http_port)
        try:
            await self._until_done()
        finally:
            await self._close(server)

    async def _until_done(self) -> None:
        stop = asyncio.create_task(self._stop.wait())
        drained = asyncio.create_task(self._drained())
        await asyncio.wait({stop, drained}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stop, drained):
            task.cancel()
        await asyncio.gather(stop, drained, return_exceptions=True)

    async def _drained(self) -> None:
        await self._draining.wait()
        hooks = self._hooks
        try:
            async with asyncio.timeout(self.config.ops.drain_s):
                while hooks and hooks.calls():
                    await asyncio.sleep(BEAT_MS / 2_000)
        except TimeoutError:
            log.warning("drain deadline passed", calls=hooks.calls() if hooks else 0)

    async def _close(self, server: OpsServer) -> None:
        try:
            async with asyncio.timeout(1.0):
                await self.outbox.drained()
                await self.registry.leave(self.record())
        except (BusError, TimeoutError) as error:
            log.warning("left without saying so", problem=str(error))
        pending = set(self._tasks)
        while pending:  # a client that is reconnecting may swallow a cancellation and read on
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.2)
        await server.close()
        await self.bus.close()
        await self.pcm_bus.close()

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        loop.add_signal_handler(signal.SIGINT, self.stop)

    # --- loops

    async def _beat_loop(self) -> None:
        next_keep = 0.0
        forgotten = False  # stays set until the role has acted on it
        loop = asyncio.get_running_loop()
        while True:
            try:
                fresh, _ = await self.registry.beat(self.record())
                forgotten = forgotten or fresh
                if loop.time() >= next_keep:
                    await self.pcm_bus.keep([self.keys.pcm(self.worker_id)], INBOX_TTL_MS)
                    await self._audit()
                    next_keep = loop.time() + REFRESH_MS / 1_000
                if self._hooks and await self._guarded(self._hooks.on_beat(forgotten=forgotten), "on_beat"):
                    forgotten = False
                self._bus_came_back()
            except BusError as error:
                self._bus_failed(error)
            await asyncio.sleep(BEAT_MS / 1_000)

    async def _audit(self) -> None:
        """An AI worker clears its own load; a media worker knows its calls better than the registry and does it itself."""
        if self.identity.role not in _AUDITED:
            return
        dropped = await self.registry.audit(self.worker_id)
        if dropped:
            log.warning("load of dead calls dropped", calls=dropped)

    async def _inbox_loop(self, bus: RedisBus, stream: str, max_age_ms: int | None) -> None:
        reader = bus.reader(stream, max_age_ms=max_age_ms)
        kind = stream.removeprefix(f"{self.keys.prefix}:").partition(":")[0]
        gaps = self.metrics.counter("voicefarm_stream_gaps", kind)
        late = self.metrics.counter("voicefarm_bus_dropped", "late")
        lag = self.metrics.gauge("voicefarm_stream_lag", kind, self.identity.role)
        while True:
            try:
                batch = await reader.read(count=64, block_ms=1_000)
            except BusError as error:
                self._bus_failed(error)
                await asyncio.sleep(_RETRY_S)
                continue
            lag.set(len(batch.entries))
            late.inc(batch.late)
            if batch.gap:
                gaps.inc()
                log.warning("entries were trimmed before they were read", stream=stream)
            for entry in batch.entries:
                await self._dispatch(entry.payload)

    async def _dispatch(self, payload: bytes) -> None:
        try:
            message = decode(payload)
        except ContractError as error:
            self.metrics.counter("voicefarm_bus_dropped", "unknown").inc()
            log.warning("message refused", problem=str(error))
            return
        if self._hooks:
            await self._guarded(self._hooks.on_message(message), type(message).__name__)

    async def _guarded(self, work: Coroutine[Any, Any, None], task: str) -> bool:
        """Runs a hook; False when the bus failed under it."""
        try:
            await work
        except BusError as error:
            self._bus_failed(error)
            return False
        except Exception:  # the task border of the process (I9)
            self.metrics.counter("voicefarm_task_errors", task).inc()
            log.exception("handler failed", task=task)
        return True

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self.metrics.counter("voicefarm_task_errors", task.get_name()).inc()
        log.error("task ended", task=task.get_name(), problem=repr(task.exception()))
        if task.get_name() in {"beat", "inbox", "pcm inbox", "outbox", "pcm outbox"}:
            self.stop()  # crash-only (I10): a process without its lease or inbox is no use; the supervisor restarts it

    def _bus_failed(self, error: BusError) -> None:
        self.metrics.counter("voicefarm_bus_failures").inc()
        if self._bus_ok:
            log.warning("redis is away", problem=str(error))
        self._bus_ok = False

    def _bus_came_back(self) -> None:
        if not self._bus_ok:
            log.info("redis is back")
        self._bus_ok = True

    # --- pages

    def _why_not_ready(self) -> str:
        if self.state != "ready":
            return self.state
        return "" if self._bus_ok else "redis is away"

    def _gauges(self) -> None:
        who = self.identity
        self.metrics.gauge("voicefarm_worker_info", self.worker_id, who.role, who.engine).set(1)
        self.metrics.gauge("voicefarm_worker_draining").set(self.state == "draining")
        self._count_outboxes()
        if who.role != "jobs":
            self.metrics.gauge("voicefarm_calls_active").set(self._hooks.calls() if self._hooks else 0)
            self.metrics.gauge("voicefarm_calls_capacity").set(who.capacity)

    def _count_outboxes(self) -> None:
        """What the outboxes gave up since the last look: nothing bounded is full in silence (I6)."""
        now = [box.counts() for box in (self.outbox, self.pcm_outbox)]
        totals = {
            "live": sum(counts.dropped for counts in now),
            "refused": sum(counts.refused for counts in now),
            "failures": sum(counts.failures for counts in now),
        }
        for kind, total in totals.items():
            more = total - self._counted.get(kind, 0)
            self._counted[kind] = total
            if kind == "failures":
                self.metrics.counter("voicefarm_bus_failures").inc(more)
            else:
                self.metrics.counter("voicefarm_bus_dropped", kind).inc(more)


def describe(message: Message) -> dict[str, Any]:
    """A message as plain data, for logs; audio and keys left out."""
    fields: dict[str, Any] = msgspec.to_builtins(message, builtin_types=(bytes,))
    return {
        key: value
        for key, value in fields.items()
        if not isinstance(value, bytes) and key not in {"frames", "srtp"}
    }
