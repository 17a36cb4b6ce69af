"""The operators' pages over real HTTP."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry, Counter

from shared.ops import OpsPages, OpsServer

pytestmark = pytest.mark.process


class Site:
    def __init__(self) -> None:
        self.problem = ""
        self.not_ready = ""
        self.drained = 0
        self.rendered = 0
        registry, calls = CollectorRegistry(), CollectorRegistry()
        Counter("a_thing", "help", registry=registry).inc()
        Counter("a_call_thing", "help", registry=calls).inc()
        self.pages = OpsPages(
            registry, calls, healthy=lambda: self.problem, ready=lambda: self.not_ready, drain=self._drain,
            before_metrics=self._render, routes={"/calls": self._calls},
        )  # fmt: skip

    def _drain(self) -> None:
        self.drained += 1

    def _render(self) -> None:
        self.rendered += 1

    async def _calls(self, _request: web.Request) -> web.Response:
        return web.json_response([])


@pytest.fixture
async def site() -> AsyncIterator[tuple[Site, ClientSession]]:
    made = Site()
    server = OpsServer(made.pages, "127.0.0.1", 0)
    await server.start()
    async with ClientSession(f"http://127.0.0.1:{server.port}") as http:
        yield made, http
    await server.close()


async def get(http: ClientSession, path: str, **headers: str) -> tuple[int, str]:
    async with http.get(path, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_metrics_and_call_metrics_are_apart(site: tuple[Site, ClientSession]) -> None:
    made, http = site
    status, text = await get(http, "/metrics")
    assert (status, "a_thing_total 1.0" in text, "a_call_thing" in text) == (200, True, False)
    assert made.rendered == 1
    _, text = await get(http, "/metrics/calls")
    assert "a_call_thing_total 1.0" in text


async def test_metrics_speak_openmetrics_when_asked(site: tuple[Site, ClientSession]) -> None:
    _, text = await get(site[1], "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


async def test_health_and_readiness_say_what_is_wrong(site: tuple[Site, ClientSession]) -> None:
    made, http = site
    assert await get(http, "/healthz") == (200, "ok\n")
    assert await get(http, "/readyz") == (200, "ok\n")
    made.not_ready = "draining"
    assert await get(http, "/healthz") == (200, "ok\n")
    assert await get(http, "/readyz") == (503, "draining\n")
    made.problem = "tick stands still"
    assert await get(http, "/healthz") == (503, "tick stands still\n")
    assert await get(http, "/readyz") == (503, "tick stands still\n")


async def test_drain_by_get_and_post(site: tuple[Site, ClientSession]) -> None:
    made, http = site
    await get(http, "/drain")
    async with http.post("/drain") as answer:
        assert answer.status == 200
    assert made.drained == 2


async def test_further_pages_are_served(site: tuple[Site, ClientSession]) -> None:
    assert await get(site[1], "/calls") == (200, "[]")
