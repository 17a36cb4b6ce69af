"""The process as a whole: what it says to a wrong configuration, and how workers of a host share the ports."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.media_bench import PORT_PAIRS, front, media_worker
from tests.support.processes import REPO
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("VOICEFARM_WORKER_INDEX", "x", "VOICEFARM_WORKER_INDEX: 'x' is not a number"),
        ("VOICEFARM_WORKER_INDEX", "2", "VOICEFARM_WORKER_INDEX: 2 is not one of 1 workers"),
        ("VOICEFARM_MEDIA__PORTS", "7-9", "media.ports"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(name: str, value: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mediaworker"], env={name: value}, cwd=REPO, capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_two_workers_of_a_host_share_its_ports(redis_url: str, tmp_path: Path) -> None:
    with media_worker(redis_url, tmp_path, WORKER_NAME="media-1", WORKER_INDEX="1", WORKER_COUNT="3"):
        async with front(redis_url) as placed:
            worker_id = await placed.media()
            assert worker_id.startswith("media-1.")
            ports = await placed.registry.free_ports(worker_id)
            assert len(ports) == PORT_PAIRS // 3
            call = await placed.call("echo")
            assert call.placement.port in ports
            await eventually(lambda: len(call.peer.heard) > 5)


async def test_a_worker_allows_itself_the_files_that_its_capacity_needs(
    redis_url: str, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with media_worker(redis_url, tmp_path, MEDIA__CAPACITY="300") as process:
            async with front(redis_url) as placed:
                await placed.media()
            limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (files,) = [line.split() for line in limits if line.startswith("Max open files")]
    assert int(files[3]) >= min(hard, 3 * 300)
