"""Registries of every role with values in every family, served on the farm's own pages and moving while they are.

For tests of what reads metrics; whether the processes fill them is for the tests of the processes.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared.metrics import CALL_FAMILIES, Family, Metrics, families
from shared.ops import OpsPages, OpsServer

ROLES = ("front", "media", "stt", "llm", "tts", "jobs")

_VALUES = {
    "direction": ("in", "out"),
    "code": ("200", "486", "503"),
    "method": ("INVITE", "BYE"),
    "state": ("free", "used", "quarantined"),
    "call_id": ("call-a", "call-b"),
    "role": ("stt", "llm"),
}
"""Label -> values; any other label has one value of its own name."""


def _rows(family: Family, role: str) -> list[tuple[str, ...]]:
    if family.name == "voicefarm_worker_info":
        return [(f"{role}-0.aa", role, "an engine")]
    return list(product(*(_VALUES.get(label, (f"a-{label}",)) for label in family.labels)))


def move(metrics: Metrics, role: str) -> None:
    """One second of a busy farm, in every family of a role."""
    for family in families(role):
        for row in _rows(family, role):
            if family.kind == "counter":
                metrics.counter(family.name, *row).inc(3)
            elif family.kind == "gauge":
                metrics.gauge(family.name, *row).set(1 if family.name.endswith("_info") else 5)
            else:
                middle = family.buckets[len(family.buckets) // 2]
                metrics.histogram(family.name, *row).observe(middle * 0.9, {"call_id": "call-a"})
    if role != "jobs":
        metrics.gauge("voicefarm_calls_capacity").set(20)
    metrics.gauge("voicefarm_worker_draining").set(0)


def call_series() -> CollectorRegistry:
    """The families of /metrics/calls for two live calls."""
    registry = CollectorRegistry()
    for family in CALL_FAMILIES:
        kind = Counter if family.kind == "counter" else Gauge
        built = kind(family.name, family.help, family.labels, registry=registry)
        for row in _rows(family, "media"):
            built.labels(*row).inc(1 if family.name.endswith("_info") else 0.02)
    return registry


@contextmanager
def busy_farm() -> Iterator[list[str]]:
    """Serves one process of every role in a thread; gives their URLs."""
    loop = asyncio.new_event_loop()
    servers: list[OpsServer] = []

    async def start() -> None:
        for role in ROLES:
            metrics = Metrics(role)
            pages = OpsPages(metrics.registry, before_metrics=lambda m=metrics, r=role: move(m, r))
            if role == "media":
                pages.calls_registry = call_series()
            servers.append(OpsServer(pages, "127.0.0.1", 0))
            await servers[-1].start()

    async def close() -> None:
        for server in servers:
            await server.close()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield [f"http://127.0.0.1:{server.port}" for server in servers]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5.0)
        loop.run_until_complete(close())
        loop.close()
