"""One media worker for all tests that do it no harm; each test has its own front and calls."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from tests.support.media_bench import Front, front, media_worker
from tests.support.processes import redis_server


@dataclass(frozen=True)
class Worker:
    """The shared media worker."""

    redis_url: str
    process: Popen[bytes]
    recordings: Path


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("media")
    # Longer than a busy machine keeps the peers' threads from sending.
    settings = {"MEDIA__RTP_TIMEOUT_S": "3", "MEDIA__RTP_NEVER_S": "3", "MEDIA__ONE_WAY_S": "0.5"}
    with redis_server() as url, media_worker(url, directory, **settings) as process:
        yield Worker(url, process, directory / "recordings")


@pytest.fixture
async def placed(worker: Worker) -> AsyncIterator[Front]:
    """A front of the test's, its media worker ready."""
    async with front(worker.redis_url) as made:
        await made.media()
        yield made
