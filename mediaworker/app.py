"""Wires a media worker: the tick in the main thread, the bus in a second one, the exporter in a child process.

Main thread: sockets, engine, calls; nothing in it waits for anything but the schedule (I7). Bus thread: Redis, leases,
event log, metrics. Between them two bounded rings. Signals arrive in the main thread and are passed on. Crash-only
(I10): when the bus thread ends by itself the process ends, and the supervisor starts another.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections import deque
from types import FrameType

import msgspec
import uvloop

from mediaworker.core import codecs
from mediaworker.core.calls.effects import Command
from mediaworker.core.calls.exchange import Exchange, Limits
from mediaworker.core.calls.ports import Ports, share
from mediaworker.core.engine import Engine
from mediaworker.core.legs import TickResult
from mediaworker.io.bus_side import BusSide
from mediaworker.io.exporter_link import ExporterLink
from mediaworker.io.figures import Figures, TickFigures
from mediaworker.io.media_files import MediaFiles
from mediaworker.io.priority import TickPriority, beside_tick
from mediaworker.io.recorder import Recorder
from mediaworker.io.rings import EffectRing, Ring
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.sockets import able_here, choose, name_of, open_sockets
from shared.config import Config, MediaConfig, load, parse_port_range
from shared.egress import Egress
from shared.errors import ConfigError
from shared.log import get_log, set_up_logs
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from shared.units import NS_PER_MS, NS_PER_S

log = get_log(__name__)

COMMANDS_BOUND = 4_096
EFFECTS_BOUND = 20_000
COMMANDS_NS = 4 * NS_PER_MS
"""Commands are acted on for at most this long per slot; the rest waits for the next: RTP of running calls comes first."""

SWITCH_S = 0.0005
"""How long the bus thread may keep the interpreter from a tick that is due."""

DEADLINE_SLACK_S = 5.0
"""The shell waits a little longer than the grace: calls that are ended at its end still say goodbye."""

FULL_COLLECTION_S = 60

OTHER_FILES = 512
"""File descriptors besides the two sockets of each leg: epoll, Redis, recordings are opened in the same numbers."""


class MediaWorker:
    """One process. `run` returns the exit status."""

    def __init__(self, config: Config, name: str, ports: list[int]) -> None:
        grace = config.ops.drain_s
        shell_config = msgspec.structs.replace(
            config, ops=msgspec.structs.replace(config.ops, drain_s=grace + DEADLINE_SLACK_S)
        )
        media = config.media
        self._engine = _engine_of(media)
        self._sockets = open_sockets(self._engine, media.host, media.sockets)
        identity = Identity(
            role="media",
            name=name,
            capacity=media.capacity,
            host=media.advertised_host,
            engine=name_of(self._sockets),
            takes_pcm=True,
        )
        self._config = config
        self._metrics = Metrics("media")
        self._shell = Shell(shell_config, identity, self._metrics)
        self._figures = Figures(self._metrics, config.ops.call_series_max)
        self._ports = Ports(ports, int(media.quarantine_s * NS_PER_S))
        self._commands: Ring[Command] = Ring(COMMANDS_BOUND)
        self._effects = EffectRing(EFFECTS_BOUND, self._wake)
        self._bus = BusSide(self._shell, self._ports, self._commands, self._figures.observe, grace)
        self._latest: deque[TickFigures] = deque(maxlen=1)
        self._recorder = Recorder(
            media.record_dir, self._recorded, prefer=beside_tick if media.priority else None
        )
        limits = _limits_of(config, self._shell.worker_id)
        self._files = MediaFiles(media.files_dir)
        self._exchange = Exchange(self._engine, self._sockets, self._recorder, limits, self._files)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._roused: asyncio.Event | None = None
        self._ticked_ns = time.monotonic_ns()
        self._status = 1
        self._priority = TickPriority()

    def run(self) -> int:
        """Serves until drained or told to stop."""
        bus = threading.Thread(target=self._run_bus, name="bus", daemon=True)
        self._recorder.start()
        self._files.start()
        bus.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._prefer_this_thread()
        try:
            self._run_ticks(bus)
        finally:
            self._sockets.close_all()
            self._recorder.close()
            self._files.shut()
        return self._status

    # --- main thread

    def _run_ticks(self, bus: threading.Thread) -> None:
        loop = MediaLoop(self._engine, self._sockets)
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection in the middle of a tick would cost it its deadline
        next_second = time.monotonic_ns()
        seconds = 0
        while bus.is_alive():
            result = loop.step()
            now_ns = time.monotonic_ns()
            self._exchange.after_tick(result, now_ns)
            self._record(result, loop.schedule.round)
            self._act_on_commands(now_ns)
            if self._engine.round_over:  # once per 20 ms: what Redis costs the bus thread is per entry
                self._effects.put(self._exchange.take())
            self._ticked_ns = now_ns
            if now_ns >= next_second:
                next_second = max(next_second + NS_PER_S, now_ns)
                seconds += 1
                self._each_second(loop, now_ns, seconds)

    def _record(self, result: TickResult, round_: int) -> None:
        self._recorder.frames(result.record_rows, result.caller_pcm, result.sent_pcm, round_)
        if len(result.record_wide):
            self._recorder.frames(result.record_wide, result.caller_wide, result.sent_wide, round_)

    def _act_on_commands(self, now_ns: int) -> None:
        while (command := self._commands.pop()) is not None:
            self._exchange.handle(command, now_ns)
            if time.monotonic_ns() - now_ns > COMMANDS_NS:
                return

    def _each_second(self, loop: MediaLoop, now_ns: int, seconds: int) -> None:
        self._exchange.each_second(now_ns)
        self._priority.each_second(loop.schedule.skipped)
        self._latest.append(
            TickFigures(self._engine.snapshot(), loop.schedule.overruns, self._recorder.dropped_frames)
        )
        gc.collect(2 if seconds % FULL_COLLECTION_S == 0 else 1)

    def _prefer_this_thread(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        if self._config.media.priority and self._priority.ask() != "realtime":
            hint = "allow CAP_SYS_NICE (or ulimit -r) or set media.priority: false"
            log.info("no right to real time", kind=self._priority.kind, hint=hint)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        act = self._bus.drain if number == signal.SIGTERM else self._bus.hurry
        if self._loop:
            with contextlib.suppress(RuntimeError):  # the bus thread has just ended
                self._loop.call_soon_threadsafe(act)

    def _wake(self) -> None:
        if self._loop and self._roused:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._roused.set)

    # --- writer thread

    def _recorded(self, call_id: str, path: str) -> None:
        if self._loop:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._bus.recorded, call_id, path)

    # --- bus thread

    def _run_bus(self) -> None:
        if self._config.media.priority:
            beside_tick()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._roused = asyncio.get_running_loop(), asyncio.Event()
        ops = self._config.ops
        link = ExporterLink(ops.http_host, ops.http_port, self._bus.drain)
        await link.start()
        self._shell.http_port = link.port
        carrying = self._shell.spawn(self._carry_out(self._roused), "effects")
        carrying.add_done_callback(
            lambda _: self._shell.stop()
        )  # without it nobody hears of our calls any more (I10)
        self._shell.spawn(self._export(link), "export")
        try:
            await self._shell.run(self._bus, signals=False, serve_pages=False)
        finally:
            await link.close()
        self._status = 0 if self._shell.state == "draining" else 1

    async def _carry_out(self, roused: asyncio.Event) -> None:
        while True:
            await roused.wait()
            roused.clear()
            self._bus.carry_out(self._effects.take())

    async def _export(self, link: ExporterLink) -> None:
        while True:
            if self._latest:
                self._figures.take(self._latest[0])
            self._figures.ports(self._ports.counts())
            self._figures.rings(self._effects.dropped_audio, self._effects.dropped_control)
            self._shell.pages.before_metrics()
            not_ready = self._shell.pages.ready()
            tick_age_s = (time.monotonic_ns() - self._ticked_ns) / NS_PER_S
            link.send(self._figures.snapshot(not_ready, self._bus.by_row, tick_age_s))
            await asyncio.sleep(1.0)


def main() -> int:
    """`python -m mediaworker`; a wrong configuration is one line and exit status 2."""
    name = os.environ.get("VOICEFARM_WORKER_NAME", "media-0")
    try:
        config = load()
        codecs.require(config.media.codecs)
        choose(config.media.sockets, able_here())
        set_up_logs(name, config.ops.log_level, config.ops.log_format)
        index, count = (
            _number(f"VOICEFARM_WORKER_{key}", default) for key, default in (("INDEX", 0), ("COUNT", 1))
        )
        ports = share(parse_port_range(config.media.ports), index, count)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _allow_files(3 * config.media.capacity + OTHER_FILES)
    if len(ports) < config.media.capacity:
        log.warning("fewer ports than capacity", ports=len(ports), capacity=config.media.capacity)
    return MediaWorker(config, name, ports).run()


def _engine_of(media: MediaConfig) -> Engine:
    return Engine(
        media.capacity, vad_threshold_dbfs=media.vad_threshold_dbfs, jitter_max_ms=media.jitter_max_ms,
        rtp_timeout_s=media.rtp_timeout_s, rtp_never_s=media.rtp_never_s, rtcp_xr=media.rtcp_xr,
        opus_complexity=media.opus_complexity, rtcp_proves_life=media.rtcp_proves_life, one_way_s=media.one_way_s,
        mos_low=media.mos_low, source_policy=media.source_policy,
    )  # fmt: skip


def _limits_of(config: Config, media_id: str) -> Limits:
    media = config.media
    egress = Egress(
        media.remote_deny, media.remote_allow, own_host=media.advertised_host,
        own_ports=parse_port_range(media.ports),
    )  # fmt: skip
    return Limits(
        media_id=media_id, max_call_ns=config.sip.max_call_s * NS_PER_S, media_cidrs=media.media_cidrs,
        inband_dtmf=media.inband_dtmf, egress=egress,
    )  # fmt: skip


def _allow_files(wanted: int) -> None:
    """Two sockets and perhaps a recording per leg; the usual soft limit of 1,024 is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("fewer open files allowed than the capacity needs", allowed=allowed, needed=wanted)


def _number(key: str, default: int) -> int:
    text = os.environ.get(key, str(default))
    if not text.isdecimal():
        raise ConfigError(key, f"{text!r} is not a number")
    return int(text)
