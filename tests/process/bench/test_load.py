"""The bench's callers and servers, with few calls: what they count is what was sent."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.media.farm_agents import CYCLE_PACKETS, metric, write_talk
from bench.media.under_load import ROOT, compile_c
from tests.support.farm import rtp_block

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="the bench is for Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]

CALLS = 8


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bench")
    return {name: compile_c(name, folder) for name in ("load", "echo")}


@pytest.fixture
def base() -> int:
    return int(rtp_block(2 * CALLS).partition("-")[0])


def call(programs: dict[str, Path], base: int, *keys: str, seconds: float = 1.0) -> dict[str, float]:
    words = [str(programs["load"]), str(base), "2", str(CALLS), str(seconds), str(base), *keys]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    return dict(json.loads(said))


@contextmanager
def serving(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n"
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


def test_every_packet_is_sent_and_what_comes_back_is_counted(programs: dict[str, Path], base: int) -> None:
    with serving([str(programs["echo"]), str(base), "2", str(CALLS)]):
        figures = call(programs, base)
    assert (figures["sent"], figures["dropped"]) == (50 * CALLS, 0)
    assert 0 < figures["received"] <= figures["sent"]
    assert figures["gaps"] <= figures["sent"] - figures["received"]


def test_the_same_seed_loses_the_same_packets(programs: dict[str, Path], base: int) -> None:
    """Nobody answers: what is not there is not waited for."""
    first, again, other = (
        call(programs, base, "loss=30", "jitter=40", "reorder=5", "burst=100", f"seed={seed}", seconds=0.4)
        for seed in (3, 3, 4)
    )
    assert first["dropped"] == again["dropped"] != other["dropped"]
    assert 0.15 < first["dropped"] / (20 * CALLS) < 0.45
    assert first["received"] == 0
    assert first["jitter_p99_ms"] == -1


def test_a_word_that_is_none_is_refused(programs: dict[str, Path], base: int) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        call(programs, base, "los=3")
    assert refused.value.returncode == 2


def test_our_engine_answers_and_says_what_it_saw(programs: dict[str, Path], base: int) -> None:
    words = [
        sys.executable,
        "-m",
        "bench.media.engine_legs",
        str(base),
        "2",
        str(CALLS),
        str(base),
        "codec=PCMA",
        "type=8",
    ]
    with serving(words) as process:
        figures = call(programs, base, "type=8")
        process.send_signal(signal.SIGTERM)
        said = json.loads(process.communicate(timeout=20)[0])
    assert figures["received"] > 0
    assert said["packets_in"] == figures["sent"]
    assert said["packets_out"] >= figures["received"]
    assert said["rejected"] == {}


def test_callers_of_the_agents_bench_say_what_the_file_has(
    programs: dict[str, Path], base: int, tmp_path: Path
) -> None:
    talk = tmp_path / "talk"
    write_talk(talk)
    assert talk.stat().st_size == CYCLE_PACKETS * 162
    with serving([str(programs["echo"]), str(base), "2", str(CALLS)]):
        assert call(programs, base, f"payloads={talk}", seconds=0.2)["sent"] == 10 * CALLS


def test_metrics_of_all_labels_are_summed() -> None:
    text = '# HELP a_total x\na_total 3\na_total_more 9\nb{kind="x"} 1\nb{kind="y"} 2.5\n'
    assert metric(text, "a_total") == 3
    assert metric(text, "b") == 3.5
