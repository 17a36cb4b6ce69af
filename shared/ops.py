"""The HTTP side that every process has for its operators: /metrics, /metrics/calls, /healthz, /readyz, /drain."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _nothing() -> None:
    return None


@dataclass(slots=True)
class OpsPages:
    """What the pages show; each is asked at the time of the request."""

    registry: CollectorRegistry
    calls_registry: CollectorRegistry | None = None
    healthy: Callable[[], str] = lambda: ""
    """Empty, or what is wrong: /healthz then answers 503."""
    ready: Callable[[], str] = lambda: ""
    drain: Callable[[], None] = _nothing
    before_metrics: Callable[[], None] = _nothing
    """Called before /metrics renders, to set gauges."""
    routes: dict[str, Handler] = field(default_factory=dict)
    """Further GET pages."""


class OpsServer:
    """Serves the pages; `port` is the bound one."""

    def __init__(self, pages: OpsPages, host: str, port: int) -> None:
        self._pages = pages
        self._host = host
        self._wanted = port
        self._runner: web.AppRunner | None = None
        self.port = port

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/metrics/calls", self._call_metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/drain", self._drain),  # a Kubernetes preStop hook can only GET
                web.post("/drain", self._drain),
                *(web.get(path, handler) for path, handler in self._pages.routes.items()),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._wanted)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        self._pages.before_metrics()
        return _render(request, self._pages.registry)

    async def _call_metrics(self, request: web.Request) -> web.Response:
        return _render(request, self._pages.calls_registry or CollectorRegistry())

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._pages.healthy())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._pages.healthy() or self._pages.ready())

    async def _drain(self, _request: web.Request) -> web.Response:
        self._pages.drain()
        return web.Response(text="draining\n")


def _verdict(problem: str) -> web.Response:
    return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)


def _render(request: web.Request, registry: CollectorRegistry) -> web.Response:
    encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encoder(registry), headers={"Content-Type": content_type})
