"""The media process's side of its exporter: starts it, feeds it snapshots, starts it again when it dies.

It lives in the bus thread. It must never wait for the exporter: a snapshot that does not fit into the pipe is left out.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import msgspec

from mediaworker.io.exporter import LENGTH
from mediaworker.io.pages import Snapshot
from shared.log import get_log

log = get_log(__name__)

_WAITING_MAX_BYTES = 4_000_000
_RESTART_S = (0.1, 0.5, 1.0, 2.0, 5.0)


class ExporterLink:
    """`on_drain` is called when an operator asks for it on the exporter's page."""

    def __init__(self, host: str, port: int, on_drain: Callable[[], None]) -> None:
        self._host = host
        self._on_drain = on_drain
        self._encoder = msgspec.msgpack.Encoder()
        self._pipe: asyncio.WriteTransport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._bound = asyncio.Event()
        self.port = port
        """The bound one after `start`; an exporter that is started again binds the same."""
        self.restarts = 0

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Returns when the pages are served."""
        self._task = asyncio.create_task(self._keep(), name="exporter")
        await self._bound.wait()

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def send(self, snapshot: Snapshot) -> None:
        """Hands over a snapshot; dropped while the exporter is away or too slow."""
        pipe = self._pipe
        if pipe is None or pipe.is_closing() or pipe.get_write_buffer_size() > _WAITING_MAX_BYTES:
            return
        body = self._encoder.encode(snapshot)
        pipe.write(LENGTH.pack(len(body)) + body)

    async def _keep(self) -> None:
        attempt = 0
        while True:
            started = asyncio.get_running_loop().time()
            await self._run_once()
            long_lived = asyncio.get_running_loop().time() - started > _RESTART_S[-1]
            attempt = 0 if long_lived else attempt + 1
            self.restarts += 1
            log.warning("exporter ended, starting it again", attempt=attempt)
            await asyncio.sleep(_RESTART_S[min(attempt, len(_RESTART_S) - 1)])

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()
        process = subprocess.Popen(  # noqa: S603, ASYNC220  our own module; a fork takes a millisecond here
            [sys.executable, "-m", "mediaworker.io.exporter", self._host, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._process = process
        reader = asyncio.StreamReader()
        try:
            pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
            self._pipe = pipe
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
            while line := await reader.readline():
                self._heard(line.decode().split())
        finally:
            if self._pipe:
                self._pipe.close()
            self._pipe = None
            await asyncio.shield(loop.run_in_executor(None, _reap, process))

    def _heard(self, words: list[str]) -> None:
        if words[:1] == ["port"]:
            self.port = int(words[1])
            self._bound.set()
        elif words == ["drain"]:
            self._on_drain()


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Waits for the child, whose input was closed; one that hangs is ended."""
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
