"""Performs the core's effects: datagrams, registry, control messages, metrics, log; and keeps the one timer armed.

The one timer is re-armed after every call of the core. Registry calls run as tasks and report back to the core; releases
that Redis could not take are kept and tried again at every beat, for a reservation must never be forgotten (I1).
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from shared.errors import BusError, Refused
from shared.log import get_log
from shared.registry import CallRecord, Placement, Role, WorkerRecord
from shared.shell import Shell
from shared.units import NS_PER_MS, NS_PER_S
from sipfront.core.effects import (
    Control,
    Count,
    Effect,
    LogEvent,
    MarkAnswered,
    Note,
    Observe,
    Place,
    Release,
    Reserve,
    Send,
)
from sipfront.core.front import Front
from sipfront.core.networks import is_address
from sipfront.io.udp import UdpSocket

log = get_log("sipfront")

_OWED_MAX = 20_000
"""Releases kept while Redis is away; more than calls can be."""


_AT_ONCE = 32
"""Registry calls at the same time: as many as the registry runs, so that a call given up while it waits is found out."""


class Performer:
    """Stands between one core and the world."""

    def __init__(self, front: Front, shell: Shell, udp: UdpSocket) -> None:
        self._front = front
        self._shell = shell
        self._udp = udp
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns: int | None = None
        self._owed: dict[str, Release] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._acts: dict[type, Callable[[Any], None]] = {
            Send: self._send, Control: self._control, Count: self._count, Observe: self._observe,
            Note: lambda note: log.info(note.event, **note.fields),
            LogEvent: self._log_event,
            Reserve: lambda effect: self._task(self._reserve(effect), "reserve"),
            Release: self._release_soon,
            MarkAnswered: lambda effect: self._task(self._mark(effect), "mark answered"),
        }  # fmt: skip
        self.media: dict[str, WorkerRecord] = {}
        """Media workers by id, as of the last look."""

    def now_ns(self) -> int:
        return self._shell.clock.now_ns()

    def received(self, data: bytes, source: tuple[str, int], local_host: str) -> None:
        """A datagram came. The timer is armed whatever a fault of ours does here: it is every other call's clock (I9)."""
        try:
            self.perform(self._front.receive(data, source, local_host, self.now_ns()))
        finally:
            self._arm()

    def perform(self, effects: Sequence[Effect]) -> None:
        """Performs effects in order and arms the timer."""
        try:
            for effect in effects:
                self._acts[type(effect)](effect)
        finally:
            self._arm()

    def owed(self) -> int:
        """Releases that Redis has not taken yet."""
        return len(self._owed)

    async def pay(self) -> None:
        """Tries the releases again that Redis could not take."""
        for release in list(self._owed.values()):
            await self._release(release)

    # --- the timer

    def _arm(self) -> None:
        at_ns = self._front.next_timer_ns()
        if at_ns == self._timer_at_ns:
            return
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_at_ns = None, at_ns
        if at_ns is not None:
            delay = max(0.0, (at_ns - self.now_ns()) / NS_PER_S)
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer_at_ns = None
        try:
            # The loop's clock is coarser than ours: what is due within a millisecond is due now.
            self.perform(self._front.handle_timer(self.now_ns() + NS_PER_MS))
        finally:
            self._arm()

    # --- effects

    def _send(self, effect: Send) -> None:
        if not self._udp.send(effect.data, effect.to):
            self._shell.metrics.counter("voicefarm_sip_refused", "send_failed").inc()

    def _control(self, effect: Control) -> None:
        try:
            self._shell.send(effect.worker, effect.message)
        except BusError as error:  # the deadline of the lease or of the talk will act
            log.warning("control message not taken", media=effect.worker, problem=str(error))

    def _log_event(self, event: LogEvent) -> None:
        try:
            self._shell.log_event(event.call_id, event.kind, **event.data)
        except BusError as error:  # the call's other effects must not go with it
            log.warning("event not taken", call_id=event.call_id, problem=str(error))

    def _count(self, effect: Count) -> None:
        self._shell.metrics.counter(effect.name, effect.label).inc()

    def _observe(self, effect: Observe) -> None:
        self._shell.metrics.histogram(effect.name).observe(effect.value)

    def _task(self, work: Any, name: str) -> None:
        self._shell.spawn(work, name)

    async def _mark(self, effect: MarkAnswered) -> None:
        try:
            async with self._turns:
                await self._shell.registry.answered(effect.call_id)
        except BusError as error:
            log.warning("call not marked as answered", call_id=effect.call_id, problem=str(error))

    # --- the registry

    async def _reserve(self, effect: Reserve) -> None:
        """A reservation whose outcome is not known (Redis went away meanwhile) is found and given back by its media
        worker, which sees that it is never opened; the port cannot be known here.
        """
        reason, got, place = "registry", None, None
        try:
            async with self._turns:
                if effect.again:
                    await self._shell.registry.release(effect.call_id, linger_ms=0)
                if self._front.wants_place(effect.call_id):
                    needs = cast("list[Role]", effect.needs)
                    got = await self._shell.registry.reserve(self._record(effect), needs)
                    place = await self._placed(got)
        except Refused as refused:
            reason = refused.reason
        except BusError as error:
            log.warning("reservation failed", call_id=effect.call_id, problem=str(error))
        finally:  # also after a fault of ours: a call that is never told would stay for ever (I1)
            if place:
                self.perform(self._front.reserved(effect.call_id, place, self.now_ns()))
            else:
                if got:  # paid at the next beat
                    self._owed[effect.call_id] = Release(effect.call_id, Place(got.worker, got.port, ""))
                self.perform(self._front.refused(effect.call_id, reason, self.now_ns()))

    def _record(self, effect: Reserve) -> CallRecord:
        fields = {**effect.fields, "call_id": effect.call_id}
        started = {"started_ms": self._shell.clock.wall_ns() // NS_PER_MS}
        return msgspec.convert({**fields, **started}, CallRecord)

    async def _placed(self, got: Placement) -> Place:
        record = self.media.get(got.worker)
        if record is None:  # it came after the last beat
            with contextlib.suppress(BusError):
                self.media = await self._shell.registry.live("media")
            record = self.media.get(got.worker)
        host = record.host if record and is_address(record.host) else self._shell.config.media.advertised_host
        return Place(got.worker, got.port, host, got.stt, got.llm, got.tts)

    def _release_soon(self, release: Release) -> None:
        if len(self._owed) < _OWED_MAX:
            self._owed[release.call_id] = release
        self._task(self._release(release), "release")

    async def _release(self, release: Release) -> None:
        """Gives back once: the script answers whether this release found anything, and only then the port follows."""
        if self._owed.get(release.call_id) is not release:
            return
        linger_ms = int(self._shell.config.ops.events_linger_s * 1_000)
        registry, place = self._shell.registry, release.untouched
        try:
            async with self._turns:
                found = await registry.release(release.call_id, linger_ms=linger_ms)
                if found and place:
                    await registry.give_ports(place.worker, [place.port])
        except BusError as error:
            log.warning("release will be tried again", call_id=release.call_id, problem=str(error))
            return
        self._owed.pop(release.call_id, None)
