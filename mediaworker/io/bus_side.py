"""The bus thread's half of a media worker: messages in, effects out, leases, ports and the watch over AI workers.

It mirrors what the registry should know of the calls (`Holding`), so that it can write everything again when Redis lost
its memory (DESIGN section 8), and repeats releases until they are done (I1). It must not touch engine or calls: the
tick thread owns those, and the two rings are all that is between them.
"""

import asyncio
import contextlib
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

import redis

from mediaworker.core.calls.effects import (
    Assign,
    Assigned,
    Command,
    Count,
    Drain,
    Effect,
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
from mediaworker.io.rings import Ring
from shared.contracts import Message
from shared.errors import BusError
from shared.jobs import enqueue_recording
from shared.keys import BEAT_MS, LEASE_MS, REFRESH_MS
from shared.log import get_log
from shared.registry import CallRecord, Role
from shared.shell import Shell
from shared.units import NS_PER_S

log = get_log(__name__)

RING_FULL_S = 0.005
RESERVED_MAX_MS = 10_000
"""A reservation that nobody opened for this long has lost its front."""

RECORDED_LINGER_MS = 3_600_000
"""The event log of a recorded call waits for the job at most this long."""

BUSY_HOLD_S = 1.0
HURRY_S = 2.0
"""An interrupted worker leaves after this, whoever did not answer; leases end what it could not say."""

_ROLES: tuple[Role, ...] = ("stt", "llm", "tts")


class BusSide:
    """Hooks of the media worker's shell. `observe` takes metrics, see `figures.Figures`."""

    def __init__(
        self,
        shell: Shell,
        ports: Ports,
        commands: Ring[Command],
        observe: Callable[[Observe | Count], None],
        drain_s: float,
    ) -> None:
        self._shell = shell
        self._drain_s = drain_s
        self._ports = ports
        self._commands = commands
        self._observe = observe
        self.holdings: dict[str, Holding] = {}
        """Live calls by call_id."""
        self.by_row: dict[int, Holding] = {}
        self._started_ms: dict[str, int] = {}
        self._releasing: dict[str, int] = {}
        self._half_taped: set[str] = set()
        """Recorded calls of which either the end or the finished file is known, but not yet both."""
        self._recordings: dict[str, str] = {}
        self._busy_ports: set[int] = set()
        self._known = False
        self._last_beat = time.monotonic()
        self._judge_after = 0.0
        self._next_refresh = 0.0
        self._drain_at: float | None = None

    # --- hooks of the shell

    async def on_message(self, message: Message) -> None:
        await self.give(message)

    async def on_beat(self, *, forgotten: bool) -> None:
        """Everything the registry is told or asked, each beat or now and then."""
        now = time.monotonic()
        if forgotten:
            await self._write_again()
        if forgotten or now - self._last_beat > LEASE_MS / 2_000:
            # Others may not have beaten yet since Redis came back: who is missing now is not yet dead.
            self._judge_after = now + 2 * LEASE_MS / 1_000
        self._last_beat = now
        await self._give_back_ports()
        for call_id in list(self._releasing):
            await self._release(call_id)
        for call_id, path in list(self._recordings.items()):
            if call_id not in self.holdings:
                await self._enqueue(call_id, path)
        if now >= self._judge_after:
            await self._watch()
        if now >= self._next_refresh:
            self._next_refresh = now + REFRESH_MS / 1_000
            await self._refresh()

    def calls(self) -> int:
        return sum(self._waiting().values())

    # --- life

    async def give(self, command: Command) -> None:
        """To the tick thread; waits while the ring is full, and so lets the stream wait."""
        while not self._commands.put(command):
            await asyncio.sleep(RING_FULL_S)

    def drain(self) -> None:
        """No new calls; running ones may go on until the grace is over."""
        if self._drain_at is None:
            self._drain_at = time.monotonic() + self._drain_s
            self._shell.drain()
            self._shell.spawn(self._drain(), "drain")

    def hurry(self) -> None:
        """Ends every call now, then the worker, within `HURRY_S`; asked a second time, the worker goes at once."""
        if self._drain_at is not None and self._drain_at <= time.monotonic():
            self._shell.stop()
            return
        self._drain_at = time.monotonic()
        self._shell.drain()
        self._shell.spawn(self._hurry(), "end all")

    async def _hurry(self) -> None:
        try:
            async with asyncio.timeout(HURRY_S):
                await self.give(EndAll("drain"))
                while self.calls():
                    await asyncio.sleep(BEAT_MS / 10_000)
        except TimeoutError:
            log.warning("left before everything was said", waiting=self._waiting())
        self._shell.stop()

    def _waiting(self) -> dict[str, int]:
        """What `calls` is made of."""
        return {
            "calls": len(self.holdings), "releases": len(self._releasing),
            "recordings": len(self._half_taped), "jobs": len(self._recordings),
        }  # fmt: skip

    async def _drain(self) -> None:
        await self.give(Drain())
        while self._drain_at is not None and time.monotonic() < self._drain_at:
            await asyncio.sleep(min(0.5, max(0.0, self._drain_at - time.monotonic())))
        await self.give(EndAll("drain"))

    def recorded(self, call_id: str, path: str) -> None:
        """A recording is complete on disk; `path` is empty where there is none. Its job waits for the end of the call."""
        self._half_taped ^= {call_id}
        if path:
            self._recordings[call_id] = path
            if call_id not in self.holdings:
                self._shell.spawn(self._enqueue(call_id, path), "recording job")

    # --- effects

    def carry_out(self, effects: list[Effect]) -> None:
        """Does what the tick thread asked for, in order."""
        for effect in effects:
            try:
                self._DO[type(effect)](self, effect)
            except BusError:  # the outbox is full: Redis is away for long
                self._observe(Count("voicefarm_bus_dropped", ("refused",)))

    def _send(self, effect: Send) -> None:
        self._shell.send(effect.worker_id, effect.message)

    def _send_audio(self, effect: SendAudio) -> None:
        self._shell.send_pcm(effect.worker_id, effect.message)

    def _note(self, effect: Note) -> None:
        self._shell.log_event(effect.call_id, effect.kind, **effect.data)

    def _failed(self, effect: Failed) -> None:
        self._observe(Count("voicefarm_task_errors", ("call",)))
        problem = "".join(traceback.format_exception(effect.error))
        log.error("call failed", call_id=effect.call_id, problem=problem)

    def _figure(self, effect: Observe | Count) -> None:
        self._observe(effect)

    def _hold(self, effect: Holding) -> None:
        if effect.call_id not in self.holdings:
            self._started_ms[effect.call_id] = time.time_ns() // 1_000_000
            self._ports.use(effect.port, effect.call_id)
        elif effect.state == "answered" != self.holdings[effect.call_id].state:
            self._shell.spawn(self._answered(effect.call_id), "answered")
        self.holdings[effect.call_id] = effect
        self.by_row[effect.row] = effect

    def _released(self, effect: Released) -> None:
        self.holdings.pop(effect.call_id, None)
        self._started_ms.pop(effect.call_id, None)
        if effect.row in self.by_row and self.by_row[effect.row].call_id == effect.call_id:
            del self.by_row[effect.row]
        self._ports.free(effect.port, effect.call_id, time.monotonic_ns())
        if effect.recorded:
            self._half_taped ^= {effect.call_id}
        if effect.call_id in self._recordings:
            path = self._recordings[effect.call_id]
            self._shell.spawn(self._enqueue(effect.call_id, path), "recording job")
        linger_s = self._shell.config.ops.events_linger_s
        self._releasing[effect.call_id] = RECORDED_LINGER_MS if effect.recorded else int(linger_s * 1_000)
        self._shell.spawn(self._release(effect.call_id), "release")

    def _port_freed(self, effect: PortFreed) -> None:
        self._ports.free(effect.port, effect.call_id, time.monotonic_ns())
        if effect.busy:
            self._busy_ports.add(effect.port)

    def _assign(self, effect: Assign) -> None:
        self._shell.spawn(self._find_worker(effect), "assign")

    _DO: ClassVar[dict[type, Callable[["BusSide", Any], None]]] = {
        Send: _send,
        SendAudio: _send_audio,
        Note: _note,
        Observe: _figure,
        Count: _figure,
        Failed: _failed,
        Holding: _hold,
        Released: _released,
        PortFreed: _port_freed,
        Assign: _assign,
    }

    # --- registry

    async def _release(self, call_id: str) -> None:
        linger_ms = self._releasing.get(call_id)
        if linger_ms is None:
            return
        with contextlib.suppress(BusError):  # the next beat tries again
            await self._shell.registry.release(call_id, linger_ms=linger_ms)
            self._releasing.pop(call_id, None)

    async def _answered(self, call_id: str) -> None:
        with contextlib.suppress(BusError):  # a restore would write it
            await self._shell.registry.answered(call_id)

    async def _find_worker(self, effect: Assign) -> None:
        try:
            worker = await self._shell.registry.assign(
                effect.call_id, cast("Role", effect.role), effect.leaving
            )
        except BusError:
            return
        if worker:
            log.info(
                "call moved", call_id=effect.call_id, role=effect.role, leaving=effect.leaving, worker=worker
            )
        await self.give(Assigned(effect.call_id, effect.role, effect.leaving, worker))

    async def _watch(self) -> None:
        used: set[Role] = {role for held in self.holdings.values() for role in _ROLES if getattr(held, role)}
        if used:
            live = {str(role): frozenset(await self._shell.registry.live(role)) for role in used}
            await self.give(LiveWorkers(live))

    async def _write_again(self) -> None:
        """The registry does not know this worker: at start, or because Redis lost its memory."""
        for held in list(self.holdings.values()):
            await self._shell.registry.restore(self._record(held))
        await self._shell.registry.set_ports(self._shell.worker_id, self._ports.offer())
        if self._known:
            log.warning("registry restored", calls=len(self.holdings))
            await self.give(Forgotten())
        self._known = True

    async def _refresh(self) -> None:
        registry, worker_id = self._shell.registry, self._shell.worker_id
        for call_id in await registry.refresh(list(self.holdings)):
            if call_id in self.holdings:
                await registry.restore(self._record(self.holdings[call_id]))
        held = await registry.held(worker_id)
        for reservation in held:
            unknown = reservation.call_id not in self.holdings and reservation.call_id not in self._releasing
            if unknown and reservation.age_ms > RESERVED_MAX_MS:
                log.warning("reservation without a call released", call_id=reservation.call_id)
                await registry.release(reservation.call_id, linger_ms=1_000)
                await registry.forget(worker_id, reservation.call_id)
                self._ports.free(reservation.port, reservation.call_id, time.monotonic_ns())
        offered = await registry.free_ports(worker_id)
        lost = self._ports.audit(offered, (reservation.port for reservation in held))
        if lost:
            log.warning("ports found again", ports=len(lost))
            await registry.give_ports(worker_id, lost)

    async def _give_back_ports(self) -> None:
        now_ns = time.monotonic_ns()
        over = self._ports.released(now_ns)
        busy = [port for port in over if port in self._busy_ports and self._is_busy(port)]
        for port in busy:
            self._ports.free(port, "", now_ns + int(BUSY_HOLD_S * NS_PER_S))
        self._busy_ports.difference_update(set(over) - set(busy))
        try:
            await self._shell.registry.give_ports(self._shell.worker_id, [p for p in over if p not in busy])
        except BusError:
            for port in over:
                self._ports.free(port, "", now_ns)
            raise

    def _is_busy(self, port: int) -> bool:
        """Whether a stranger still has a port that we could not bind; only such ports are looked at again."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self._shell.config.media.host, port))
            except OSError:
                return True
        return False

    def _record(self, held: Holding) -> CallRecord:
        return CallRecord(
            call_id=held.call_id, sip_call_id=held.sip_call_id, tenant=held.tenant, room_id=held.room_id,
            session_id=held.session_id, app=held.app, agent=held.agent, front=held.front, caller=held.caller,
            callee=held.callee, started_ms=self._started_ms.get(held.call_id, 0),
            state=cast("Literal['reserved', 'answered']", held.state), worker=self._shell.worker_id,
            port=held.port, stt=held.stt, llm=held.llm, tts=held.tts,
        )  # fmt: skip

    # --- jobs

    async def _enqueue(self, call_id: str, path: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._enqueue_now, call_id, path)
        except (redis.RedisError, OSError) as error:  # the next beat tries again
            log.warning("recording job waits", call_id=call_id, problem=str(error))
        else:
            self._recordings.pop(call_id, None)

    def _enqueue_now(self, call_id: str, path: str) -> None:
        with redis.Redis.from_url(self._shell.config.redis.url, socket_timeout=2.0) as connection:
            enqueue_recording(connection, self._shell.config.redis.prefix, call_id, path)
