"""Fixtures that every category uses. A test's category marker is obligatory."""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
import redis

from tests.support.lateness import Lateness, lateness
from tests.support.processes import redis_server

CATEGORIES = {"unit", "property", "conformance", "simulation", "process", "peers"}
REAL_TIME = {"process", "peers"}

# The suite says the same of the same code each time; HYPOTHESIS_PROFILE=search looks for what nobody has seen yet.
hypothesis.settings.register_profile("fixed", derandomize=True, database=None)
hypothesis.settings.register_profile("search", max_examples=2_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_configure() -> None:
    """A shell makes what it puts into the background deaf to SIGINT, and so would be every process a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        categories = CATEGORIES & {mark.name for mark in item.iter_markers()}
        if not categories:
            raise pytest.UsageError(f"{item.nodeid} has no category marker (one of {sorted(CATEGORIES)})")
        if categories & REAL_TIME:
            item.add_marker(pytest.mark.no_cover)  # a tracer would slow the telephones that keep time


@pytest.fixture
def late() -> Iterator[Lateness]:
    """How late this machine let anybody be during the test: a bound on a time that was measured outside the farm gives so much."""
    with lateness() as meter:
        yield meter


@pytest.fixture(scope="session")
def redis_session() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_session: str) -> str:
    """A real Redis, emptied before the test."""
    with redis.Redis.from_url(redis_session) as client:
        client.flushall()
    return redis_session
