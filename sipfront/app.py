"""Wires a front process: socket, core, shell, pages.

`python -m sipfront`; configuration: shared.config (sections sip, routes, redis, ops, and of media what is said to callers); VOICEFARM_WORKER_NAME names the worker.
"""

import asyncio
import logging
import os
import signal
from typing import Any

from shared.config import Config, load, parse_port_range
from shared.contracts import MediaAnswer, MediaEnded, Message
from shared.egress import Egress
from shared.keys import LEASE_MS
from shared.log import get_log, set_up_logs
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from shared.units import NS_PER_MS, NS_PER_S
from sipfront.core.call import State
from sipfront.core.desk import Settings
from sipfront.core.farm import FarmLoad
from sipfront.core.front import Front
from sipfront.core.mint import RandomMint
from sipfront.core.networks import Networks
from sipfront.core.terms import Terms
from sipfront.io.pages import CallPages
from sipfront.io.performer import Performer
from sipfront.io.udp import UdpSocket

log = get_log("sipfront")

_GOODBYE_S = 1.5
"""How long callers may take to answer our BYE when the process is stopped."""


class FrontProcess:
    """The role's side of the shell (`shared.shell.Hooks`)."""

    def __init__(self, config: Config, shell: Shell, udp: UdpSocket) -> None:
        self._config = config
        self._shell = shell
        self._udp = udp
        self._front = Front(settings_of(config, shell.worker_id, udp.port), config.routes, RandomMint())
        self._performer = Performer(self._front, shell, udp)
        self._drained = False
        self._stopping = False
        shell.pages.routes.update(CallPages(self._front, shell).routes())
        render = shell.pages.before_metrics
        shell.pages.before_metrics = lambda: self._gauges(render)
        shell.pages.drain = self._drain

    async def on_message(self, message: Message) -> None:
        now_ns = self._performer.now_ns()
        if isinstance(message, MediaAnswer):
            self._performer.perform(self._front.media_answer(message, now_ns))
        elif isinstance(message, MediaEnded):
            self._performer.perform(self._front.media_ended(message, now_ns))
        else:
            self._shell.metrics.counter("voicefarm_bus_dropped", "unknown").inc()

    async def on_beat(self, *, forgotten: bool) -> None:
        registry, performer = self._shell.registry, self._performer
        performer.media = await registry.live("media")
        ready = [record for record in performer.media.values() if record.state == "ready"]
        loads = await registry.loads(record.worker_id for record in ready)
        load = FarmLoad(sum(loads.values()), sum(record.capacity for record in ready))
        now_ns = performer.now_ns()
        performer.perform(self._front.media_workers(performer.media, load, now_ns, forgotten=forgotten))
        await performer.pay()

    def calls(self) -> int:
        return len(self._front.calls) + self._performer.owed()

    async def run(self) -> None:
        """Serves until drained or stopped."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unforeseen)
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        self._udp.listen(self._performer.received)
        log.info("sip listens", host=self._udp.host, port=self._udp.port, buffer_bytes=self._udp.buffer_bytes)
        try:
            await self._shell.run(self, signals=False)
        finally:
            self._udp.close()

    # --- the end

    def _drain(self) -> None:
        """No new calls; shortly before the deadline what is left is hung up, whether Redis is there or not."""
        if not self._drained:
            grace_s = max(0.0, self._config.ops.drain_s - 2 * _GOODBYE_S)
            asyncio.get_running_loop().call_later(grace_s, self._hang_up)
        self._drained = True
        self._front.drain()
        self._shell.drain()

    def _hang_up(self) -> None:
        going = [call.call_id for call in self._front.calls if call.state is not State.OVER]
        self._performer.perform(self._front.end(going, "drain", self._performer.now_ns()))

    def _stop(self) -> None:
        """Ctrl-C: say goodbye to every caller, then end; a second one ends at once."""
        if self._stopping:
            self._shell.stop()
            return
        self._stopping = True
        self._drain()
        self._hang_up()
        self._shell.spawn(self._leave(), "goodbye")

    async def _leave(self) -> None:
        await asyncio.sleep(_GOODBYE_S)
        self._shell.stop()

    # --- for operators

    def _gauges(self, others: Any) -> None:
        others()
        metrics = self._shell.metrics
        metrics.gauge("voicefarm_sip_dialogs").set(self._front.calls.dialogs())
        metrics.gauge("voicefarm_sip_transactions").set(self._front.transactions())

    def _unforeseen(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What escapes a callback: counted and logged; the socket and the other calls live on (I9)."""
        self._shell.metrics.counter("voicefarm_task_errors", "callback").inc()
        log.error("callback failed", problem=repr(context.get("exception") or context.get("message")))


def settings_of(config: Config, front: str, port: int) -> Settings:
    """The core's settings from the configuration."""
    sip = config.sip
    answer_wait_ns = int(sip.media_answer_timeout_s * NS_PER_S)
    return Settings(
        front=front, port=port, trusted=Networks(sip.trusted_proxies), allowed=Networks(sip.allowed),
        media_cidrs=tuple(config.media.media_cidrs), max_transactions=sip.max_transactions,
        max_dialogs=sip.max_dialogs, retry_after_s=sip.retry_after_s, answer_wait_ns=answer_wait_ns,
        close_wait_ns=max(answer_wait_ns, 2 * LEASE_MS * NS_PER_MS), max_call_ns=sip.max_call_s * NS_PER_S,
        terms=terms_of(config),
    )  # fmt: skip


def terms_of(config: Config) -> Terms:
    """What callers may agree on with us, unless their route says otherwise."""
    media = config.media
    egress = Egress(
        media.remote_deny, media.remote_allow, own_host=media.advertised_host,
        own_ports=parse_port_range(media.ports),
    )  # fmt: skip
    return Terms(
        codecs=media.codecs,
        srtp=config.sip.srtp,
        suites=config.sip.srtp_suites,
        rtcp_mux=True,
        egress=egress,
    )


async def serve(config: Config, name: str) -> None:
    """Runs a front until it is drained or stopped."""
    sip = config.sip
    udp = UdpSocket(sip.host, sip.port, sip.receive_buffer_bytes, sip.advertised_host)
    identity = Identity(
        role="front", name=name, capacity=sip.max_dialogs, engine="sip/udp", sip_port=udp.port
    )
    shell = Shell(config, identity, Metrics("front"))
    set_up_logs(shell.worker_id, config.ops.log_level, config.ops.log_format)
    # The parser has a line to say about every odd datagram, and strangers send them by the thousand: they are counted.
    logging.getLogger("aiosipua").setLevel(logging.CRITICAL)
    await FrontProcess(config, shell, udp).run()


def main() -> None:
    """Entry point of `python -m sipfront`."""
    config = load()
    name = os.environ.get("VOICEFARM_WORKER_NAME", "front-0")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config, name))


def _loop_factory() -> Any:
    """The faster loop, where uvloop is installed."""
    try:
        import uvloop  # noqa: PLC0415  optional, and only here
    except ImportError:
        return None
    return uvloop.new_event_loop
