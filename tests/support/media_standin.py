"""A media worker without media, for tests of the front: a real Shell with a lease, ports and answers, and no sockets.

It runs in a thread of the test process. What it does wrong on purpose is set by attributes before or during a test.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.config import Config
from shared.contracts import MediaAnswer, MediaClose, MediaEnded, MediaOpen, MediaStart, MediaUpdate, Message
from shared.metrics import Metrics
from shared.shell import Identity, Shell

PORTS = range(40_000, 40_400, 2)


class MediaStandIn:
    """Answers everything; `seen` holds every message in order."""

    def __init__(
        self, config: Config, name: str = "media-0", capacity: int = 100, ports: range = PORTS
    ) -> None:
        self.seen: list[Message] = []
        self.open: dict[str, MediaOpen] = {}
        self.refuse: list[str] = []
        """Reasons for the next MediaOpens, first come first served."""
        self.refuse_updates = False
        self.silent = False
        """Takes messages and answers none."""
        self.silent_close = False
        self.returned: list[int] = []
        """Ports given back."""
        self._config = config
        self._name = name
        self._capacity = capacity
        self._ports = ports
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.shell: Shell | None = None

    @property
    def worker_id(self) -> str:
        assert self.shell
        return self.shell.worker_id

    def of(self, kind: type[Message]) -> list[Message]:
        return [message for message in list(self.seen) if isinstance(message, kind)]

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        """Leaves the registry in order."""
        assert self.shell
        self._on_loop(self.shell.stop)
        self._thread.join(5)

    def die(self) -> None:
        """Stops beating without a word, as a killed process does."""
        self._on_loop(lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)])
        self._thread.join(5)

    def drain(self) -> None:
        assert self.shell
        shell = self.shell
        self._on_loop(lambda: setattr(shell, "state", "draining"))

    def end_call(self, call_id: str, front: str) -> None:
        """Ends a leg as the engine would when packets stop."""
        shell = self.shell
        assert shell
        message = MediaEnded(msg_id=f"end-{call_id}", call_id=call_id, reason="rtp_timeout")
        self._on_loop(lambda: shell.send(front, message))

    # --- shared.shell.Hooks

    async def on_message(self, message: Message) -> None:
        self.seen.append(message)
        if self.silent:
            return
        if isinstance(message, MediaOpen):
            await self._opened(message)
        elif isinstance(message, MediaClose):
            await self._closed(message)
        elif isinstance(message, MediaUpdate):
            self._answer(message, "bad_request" if self.refuse_updates else "")
        elif isinstance(message, MediaStart):
            self._answer(message, "" if message.call_id in self.open else "unknown_call")

    async def on_beat(self, *, forgotten: bool) -> None:
        assert self.shell
        if forgotten:
            await self.shell.registry.set_ports(self.shell.worker_id, list(self._ports))
        self._ready.set()

    def calls(self) -> int:
        return len(self.open)

    # --- inside

    async def _opened(self, message: MediaOpen) -> None:
        reason = self.refuse.pop(0) if self.refuse else ""
        if not reason:
            self.open[message.call_id] = message
        elif self.shell:
            self.returned.append(message.rtp_port)
        self._answer(message, reason)

    async def _closed(self, message: MediaClose) -> None:
        leg = self.open.pop(message.call_id, None)
        if self.silent_close or self.shell is None:
            return
        if leg:
            await self.shell.registry.release(message.call_id, linger_ms=1_000)
            await self.shell.registry.give_ports(self.shell.worker_id, [leg.rtp_port])
            self.returned.append(leg.rtp_port)
        self._answer(message, "" if leg else "unknown_call")

    def _answer(self, message: MediaOpen | MediaStart | MediaUpdate | MediaClose, reason: str) -> None:
        assert self.shell
        answer = MediaAnswer(msg_id=message.msg_id, call_id=message.call_id, ok=not reason, reason=reason)
        self.shell.send(message.reply_to, answer)

    def _on_loop(self, work: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(work)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _run(self) -> None:
        identity = Identity(role="media", name=self._name, capacity=self._capacity, host="127.0.0.1")
        self.shell = Shell(self._config, identity, Metrics("media"))
        await self.shell.run(self, signals=False, serve_pages=False)


@contextmanager
def media_standin(
    config: Config, name: str = "media-0", capacity: int = 100, ports: range = PORTS
) -> Iterator[MediaStandIn]:
    """A stand-in that lives as long as the block."""
    worker = MediaStandIn(config, name, capacity, ports)
    worker.start()
    try:
        yield worker
    finally:
        if worker._thread.is_alive():
            worker.stop()
