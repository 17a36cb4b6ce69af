"""The exporter: a child of the media process that serves its pages, so that rendering never costs a tick.

`python -m mediaworker.io.exporter HOST PORT`: snapshots come on standard input (4-byte length, MessagePack), what the
parent must know goes to standard output, a line each: `port N` once, `drain` when an operator asks for it. It ends
when its input ends, and on nothing else: signals to the process group are the parent's business.
"""

import asyncio
import signal
import struct
import sys

import msgspec
from prometheus_client import CollectorRegistry

from mediaworker.io.pages import AggregateCollector, CallsCollector, Latest, Snapshot
from shared.ops import OpsPages, OpsServer

LENGTH = struct.Struct(">I")
SNAPSHOT_MAX_BYTES = 16_000_000


def tell(word: str) -> None:
    """A line to the parent."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def serve(host: str, port: int) -> None:
    """Serves pages of the newest snapshot until the input ends."""
    latest = Latest()
    pages = OpsPages(
        CollectorRegistry(auto_describe=False),
        CollectorRegistry(auto_describe=False),
        healthy=latest.unhealthy,
        ready=latest.not_ready,
        drain=lambda: tell("drain"),
    )
    pages.registry.register(AggregateCollector(latest))
    if pages.calls_registry:
        pages.calls_registry.register(CallsCollector(latest))
    server = OpsServer(pages, host, port)
    await server.start()
    tell(f"port {server.port}")
    try:
        await _read(latest)
    finally:
        await server.close()


async def _read(latest: Latest) -> None:
    reader = asyncio.StreamReader(limit=SNAPSHOT_MAX_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    decoder = msgspec.msgpack.Decoder(Snapshot)
    try:
        while True:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            latest.take(decoder.decode(await reader.readexactly(length)))
    except asyncio.IncompleteReadError:
        return


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
