"""Runs a planned farm: the shell around the supervisor core, with real processes, signals, clocks and log files.

Children get a session of their own, so that a Ctrl-C reaches them only through the supervisor's order, and on Linux die
with it (PR_SET_PDEATHSIG), however it dies. Elsewhere a SIGKILL of the supervisor leaves them running; the next start
says so. A log file that grows past its bound is kept once as `.1` and begins anew.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from redis.exceptions import RedisError

from shared.bus import connect
from shared.errors import BusError, FarmError
from shared.keys import Keys
from shared.registry import Registry
from shared.registry.records import WorkerRecord
from shared.units import NS_PER_S
from voicefarm.core.plan import ROLES, Child, Plan
from voicefarm.core.supervisor import Do, Effect, Event, State, Supervisor
from voicefarm.io.run_file import FarmRecord, ProcessRecord, remove_farm, write_farm

LOG_MAX_BYTES = 50_000_000
_LOOK_S = 0.2
_LOGS_EVERY_S = 10.0
_PR_SET_PDEATHSIG = 1

Say = Callable[[str], None]


class NotReady(FarmError):
    """The farm did not come up in time."""


class Farm:
    """One farm on this machine. `run` returns when everything has ended."""

    def __init__(
        self, plan: Plan, var: str, prefix: str, say: Say, claim: socket.socket | None = None
    ) -> None:
        """`claim` holds the plan's block of ports and is closed when `run` ends."""
        self.plan = plan
        self._claim = claim
        self.prefix = prefix
        self._var = var
        self._say = say
        self._children = {child.name: child for child in plan.children}
        self._core = Supervisor([child.spec for child in plan.children])
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._spawned_at: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._waiters: set[asyncio.Task[None]] = set()
        self._started_ms = time.time_ns() // 1_000_000
        self._registered = False
        self.ending = asyncio.Event()
        """Set when `stop` was called: nothing of the farm can be relied upon any more."""

    # --- what others ask

    @property
    def ready(self) -> bool:
        """Every process answers and is in the registry."""
        return self._registered and self._core.all_ready

    @property
    def sip_uri_host(self) -> str:
        return f"{self.plan.sip_host}:{self.plan.sip_ports[0]}" if self.plan.sip_ports else ""

    @property
    def stopping(self) -> bool:
        return self._core.stopping

    def log_path(self, name: str) -> Path:
        return Path(self._var) / "log" / f"{name}.log"

    def log_tail(self, name: str, lines: int = 5) -> list[str]:
        """The last lines a process wrote."""
        try:
            text = self.log_path(name).read_text(errors="replace")
        except OSError:
            return []
        return text.splitlines()[-lines:]

    def not_ready(self) -> list[str]:
        return [name for name in self._children if self._core.state(name) is not State.READY]

    async def wait_ready(self, timeout_s: float, progress_s: float = 5.0) -> None:
        """Returns when the farm can take calls; says what it waits for. Raises NotReady."""
        deadline = time.monotonic() + timeout_s
        next_word = time.monotonic() + progress_s
        while not self.ready:
            now = time.monotonic()
            if now > deadline or self._core.stopping:
                raise NotReady(self._why_not_ready(timeout_s))
            if now > next_word:
                self._say(f"  waiting for {', '.join(self.not_ready()) or 'the registry'}")
                next_word = now + progress_s
            await asyncio.sleep(_LOOK_S)

    def _why_not_ready(self, timeout_s: float) -> str:
        missing = self.not_ready()
        tails = [f"  {name}: {line}" for name in missing for line in self.log_tail(name)]
        return "\n".join(
            [f"not ready within {timeout_s:g} s: {', '.join(missing) or 'the registry'}", *tails]
        )

    async def workers(self) -> list[WorkerRecord]:
        """The workers of this farm's registry."""
        client = connect(self.plan.redis_url)
        try:
            registry = Registry(client, Keys(self.prefix))
            return [record for role in ROLES for record in (await registry.live(role)).values()]  # type: ignore[arg-type]
        finally:
            await client.aclose()

    async def _all_registered(self) -> bool:
        with contextlib.suppress(BusError):
            pids = {record.pid for record in await self.workers() if record.state == "ready"}
            return all(self._pids.get(c.name) in pids for c in self.plan.children if c.role != "redis")
        return False

    # --- life

    def stop(self) -> None:
        """Ends everything in order; called again, at once."""
        again = self._core.stopping
        self.ending.set()
        self._say("ending at once" if again else "ending")
        self._perform(self._core.stop(time.monotonic_ns(), kill=again))
        self._changed.set()

    async def run(self) -> None:
        """Starts the farm and keeps it up until `stop`."""
        for folder in ("log", "run", "recordings"):
            (Path(self._var) / folder).mkdir(parents=True, exist_ok=True)
        self._perform(self._core.start(time.monotonic_ns()))
        look = asyncio.create_task(self._look())
        logs = asyncio.create_task(self._bound_logs())
        try:
            while not self._core.all_stopped:
                await self._wait()
                self._perform(self._core.tick(time.monotonic_ns()))
        finally:
            for task in (look, logs):
                task.cancel()
            await asyncio.gather(look, logs, return_exceptions=True)
            self._kill_the_rest()
            await asyncio.gather(*self._waiters)
            remove_farm(self._var)
            if self._claim:
                self._claim.close()

    def _kill_the_rest(self) -> None:
        """Only when `run` is cancelled from outside is anything left here."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def _wait(self) -> None:
        due_ns = self._core.due_ns
        timeout = None if due_ns is None else max(0.0, (due_ns - time.monotonic_ns()) / NS_PER_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout)
        self._changed.clear()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect.do:
                case Do.SPAWN:
                    self._follow(self._spawn(self._children[effect.name]))
                case Do.SIGNAL:
                    self._signal(effect.name, effect.detail)
                case Do.SAY_READY:
                    self._say_ready(effect.name)
                case Do.SAY_DIED:
                    self._say(f"  {effect.name} ended: {effect.detail}")
                    for line in self.log_tail(effect.name, 3):
                        self._say(f"    | {line}")
        if effects:
            self._write()

    def _follow(self, life: asyncio.Task[None]) -> None:
        self._waiters.add(life)
        life.add_done_callback(self._waiters.discard)

    def _spawn(self, child: Child) -> asyncio.Task[None]:
        return asyncio.create_task(self._live(child), name=child.name)

    async def _live(self, child: Child) -> None:
        """One life of a child, from its start to its end."""
        self._spawned_at[child.name] = time.monotonic()
        try:
            with self.log_path(child.name).open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *child.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, **child.environ}, start_new_session=True, preexec_fn=_die_with_parent(),
                )  # fmt: skip
        except OSError as error:
            self._event(child.name, Event.EXITED, f"cannot start {child.command[0]}: {error.strerror}")
            return
        self._processes[child.name] = process
        self._pids[child.name] = process.pid
        if self._core.state(child.name) in {
            State.STOPPING,
            State.STOPPED,
        }:  # stopped while it was being started
            self._signal(child.name, "SIGKILL")
        self._write()
        code = await process.wait()
        del self._processes[child.name]
        self._registered = False
        self._event(child.name, Event.EXITED, _describe_exit(code))

    def _event(self, name: str, event: Event, detail: str = "") -> None:
        self._perform(self._core.handle(name, event, time.monotonic_ns(), detail))
        self._changed.set()

    def _signal(self, name: str, which: str) -> None:
        process = self._processes.get(name)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if which == "SIGKILL":
                self._say(f"  {name} does not end: killed")
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.send_signal(signal.Signals[which])

    def _say_ready(self, name: str) -> None:
        took = time.monotonic() - self._spawned_at[name]
        child = self._children[name]
        where = (
            f"127.0.0.1:{child.ops_port}"
            if child.role == "redis"
            else f"http://127.0.0.1:{child.ops_port}/metrics"
        )
        self._say(f"  {name:9} ready after {took:4.1f} s  pid {self._pids[name]:<7} {where}")

    def _write(self) -> None:
        processes = [self._process_record(child) for child in self.plan.children]
        write_farm(
            self._var,
            FarmRecord(
                pid=os.getpid(), started_ms=self._started_ms, redis_url=self.plan.redis_url, prefix=self.prefix,
                sip_host=self.plan.sip_host, sip_ports=list(self.plan.sip_ports), recordings=self.plan.recordings,
                ready=self.ready, processes=processes,
            ),
        )  # fmt: skip

    def _process_record(self, child: Child) -> ProcessRecord:
        process = self._processes.get(child.name)
        return ProcessRecord(
            name=child.name, role=child.role, pid=process.pid if process else 0, ops_port=child.ops_port,
            state=self._core.state(child.name), sip_port=child.sip_port, log=str(self.log_path(child.name)),
            restarts=self._core.restarts(child.name),
        )  # fmt: skip

    # --- loops

    async def _look(self) -> None:
        """Asks the children that are starting whether they are ready, and then the registry whether it knows all."""
        timeout = aiohttp.ClientTimeout(total=2.0)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                starting = [c for c in self.plan.children if self._core.state(c.name) is State.STARTING]
                answers = await asyncio.gather(*(_answers(http, child) for child in starting))
                for child, ready in zip(starting, answers, strict=True):
                    if (
                        ready
                        and self._core.state(child.name) is State.STARTING
                        and child.name in self._processes
                    ):
                        self._event(child.name, Event.READY)
                if self._core.all_ready and not self._registered:
                    self._registered = await self._all_registered()
                    self._write()
                await asyncio.sleep(_LOOK_S)

    async def _bound_logs(self) -> None:
        while True:
            for name in self._children:
                bound_log(self.log_path(name), LOG_MAX_BYTES)
            await asyncio.sleep(_LOGS_EVERY_S)


def bound_log(path: Path, max_bytes: int) -> None:
    """Copies a log that is too long to `.1` and empties it; its writer appends, so it goes on at the start."""
    try:
        if path.stat().st_size <= max_bytes:
            return
        path.with_name(f"{path.name}.1").write_bytes(path.read_bytes())
        os.truncate(path, 0)
    except FileNotFoundError:
        return


async def _answers(http: aiohttp.ClientSession, child: Child) -> bool:
    if child.role == "redis":
        return await _redis_answers(child.ops_port)
    try:
        async with http.get(f"http://127.0.0.1:{child.ops_port}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _redis_answers(port: int) -> bool:
    client = connect(f"redis://127.0.0.1:{port}/0")
    try:
        return bool(await client.ping())
    except (OSError, TimeoutError, RedisError):
        return False
    finally:
        await client.aclose()


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does between fork and exec on Linux: be killed when the supervisor is gone (prctl(2))."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and here
            os.kill(os.getpid(), signal.SIGKILL)

    return bind
