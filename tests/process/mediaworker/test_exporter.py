"""The exporter as a program: snapshots on its input, pages on its port, and its end with the input and nothing else."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import msgspec
import pytest

from mediaworker.io.exporter import LENGTH
from mediaworker.io.pages import CallRow, FamilyRow, SampleRow, Snapshot
from tests.support.processes import REPO, answers, wait_until

pytestmark = pytest.mark.process

ROW = CallRow("c1", "acme", "r", "PCMU", "echo", 10, 9, 0.004, -1, 0, -1, -1, 4.3, -1, -1)


def family(value: float) -> FamilyRow:
    return FamilyRow("voicefarm_x", "gauge", "x", [SampleRow("voicefarm_x", {}, value)])


class Child:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        assert process.stdin
        assert process.stdout
        self.input, self.output = process.stdin, process.stdout
        word, _, port = self.output.readline().decode().partition(" ")
        assert word == "port"
        self.port = int(port)

    def send(self, snapshot: Snapshot, split: int = 0) -> None:
        data = msgspec.msgpack.encode(snapshot)
        message = LENGTH.pack(len(data)) + data
        for part in (message[:split], message[split:]):
            self.input.write(part)
            self.input.flush()

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def child() -> Iterator[Child]:
    command = [sys.executable, "-m", "mediaworker.io.exporter", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO, start_new_session=True
    ) as process:
        try:
            yield Child(process)
        finally:
            process.kill()


def test_newest_snapshot_is_shown_also_when_it_came_in_pieces(child: Child) -> None:
    assert child.get("/healthz")[0] == 503
    child.send(Snapshot(0.0, "", [family(1.0)], [ROW]))
    wait_until(lambda: "voicefarm_x 1.0" in child.get("/metrics")[1])
    child.send(Snapshot(0.0, "", [family(2.0)], []), split=3)
    wait_until(lambda: "voicefarm_x 2.0" in child.get("/metrics")[1])
    assert 'call_id="c1"' not in child.get("/metrics/calls")[1], "a call's series go with the call"
    assert child.get("/healthz")[0] == child.get("/readyz")[0] == 200


def test_it_ends_with_its_input(child: Child) -> None:
    child.input.close()
    assert child.process.wait(10) == 0
    assert not answers(child.port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_process_group_are_the_parents_business(child: Child, number: signal.Signals) -> None:
    os.killpg(child.process.pid, number)
    child.send(Snapshot(0.0, "draining", [family(3.0)], []))
    wait_until(lambda: "voicefarm_x 3.0" in child.get("/metrics")[1])
    assert child.get("/readyz") == (503, "draining\n")


def test_an_operators_drain_is_told_to_the_parent(child: Child) -> None:
    assert child.get("/drain", "POST")[0] in {200, 202}
    assert child.output.readline() == b"drain\n"


def test_input_that_ends_inside_a_snapshot_is_an_end_and_no_crash(child: Child) -> None:
    child.input.write(LENGTH.pack(1_000) + b"half")
    child.input.close()
    assert child.process.wait(10) == 0
