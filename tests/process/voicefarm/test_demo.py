"""A whole farm started by `voicefarm up`, called, watched and examined by the other words."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from tests.support.farm import rtp_block
from tests.support.processes import REPO, free_port, running, wait_until

pytestmark = pytest.mark.process

DEMO = REPO / "voicefarm" / "demo"


@dataclass(frozen=True)
class Live:
    """A farm that is up."""

    var: Path
    tail: Path

    def word(self, *args: str, timeout_s: float = 110.0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "voicefarm", args[0], "--var", str(self.var), *args[1:]]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=REPO, timeout=timeout_s, check=False
        )


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    var = tmp_path_factory.mktemp("var")
    config = var / "farm.yaml"
    config.write_text(
        "sip: {host: 127.0.0.1}\nmedia: {host: 127.0.0.1, capacity: 50}\n"
        "stt: {engine: pocketsphinx}\nops: {log_format: text}\n"
    )
    program = [sys.executable, "-m", "voicefarm"]
    up = [
        *program, "up", "--var", str(var), "--config", str(config), "--sip-port", str(free_port(socket.SOCK_DGRAM)),
        "--rtp-ports", rtp_block(200), "--wait", "90",
    ]  # fmt: skip
    with running(up, log=var / "up.txt"):
        wait_until(
            lambda: "the farm is up" in (var / "up.txt").read_text(), 100, f"the farm: {var / 'up.txt'}"
        )
        with running([*program, "tail", "--var", str(var), "--waterfall"], log=var / "tail.txt"):
            yield Live(var, var / "tail.txt")


@pytest.mark.timeout(180)
def test_the_demo_calls_the_running_farm_and_keeps_what_it_saw(live: Live) -> None:
    done = live.word("demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    assert "using the farm that runs here" in out
    assert "the call went as scripted" in out
    for said in ("weasels have eaten our phone system", "Of course, take your time."):
        assert said in out
    assert re.search(r"ok   interrupted, the farm fell silent after \d+ ms", out)
    assert "voice to voice" in out
    (wav,) = (live.var / "demo").glob("*.wav")
    (picture,) = (live.var / "demo").glob("*.png")
    pcm, rate_hz = soundfile.read(wav, dtype="int16")
    assert (rate_hz, pcm.shape[1]) == (8_000, 2)
    assert len(pcm) > 20 * rate_hz
    assert abs(pcm[:, 0]).max() > 8_000, "the caller is left"
    assert abs(pcm[:, 1]).max() > 2_000, "the agent is right"
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_tail_has_shown_the_call_of_the_demo(live: Live) -> None:
    shown = wait_until(
        lambda: (text := live.tail.read_text()).count("ended: app") and text, 20, "the end of the call"
    )
    assert "caller weasels have eaten our phone system" in str(shown)
    assert "voice to voice" in str(shown)


def test_an_echo_is_heard_and_written(live: Live) -> None:
    record, result = live.var / "echo.wav", live.var / "echo.json"
    done = live.word(
        "call", "echo", "--play", str(DEMO / "goodbye.wav"), "--press", "5", "--seconds", "1", "--expect-sound", "0.4",
        "--record", str(record), "--json", str(result), "--header", "X-Room-ID: mine",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "room mine" in done.stdout
    assert "pressed 5" in done.stdout
    pcm, _ = soundfile.read(record, dtype="int16")
    assert abs(pcm[:, 1]).max() > 8_000
    data = json.loads(result.read_text())
    assert data["ok"]
    assert data["code"] == 0
    assert data["rtp"]["lost"] == 0
    assert data["rtp"]["ssrcs"] == 1
    assert data["ended_by"] == "caller"


def test_what_is_expected_and_does_not_come_is_status_1(live: Live) -> None:
    done = live.word(
        "call", "transcribe", "--play", str(DEMO / "goodbye.wav"), "--seconds", "2", "--expect", "weasels"
    )
    assert done.returncode == 1
    assert 'FAIL expected "weasels", understood "goodbye"' in done.stdout


def test_a_call_that_is_refused_is_status_1(live: Live) -> None:
    done = live.word("call", "nobody-here", "--seconds", "1")
    assert done.returncode == 1
    assert re.search(r"FAIL the call was not answered: 4\d\d", done.stdout)


def test_the_doctor_finds_the_farm_well(live: Live) -> None:
    done = live.word("doctor")
    assert "a farm runs here" in done.stdout
    assert re.search(r"media-0 +ready", done.stdout)
    assert "ok   Redis            answers" in done.stdout


def test_tail_of_a_call_that_is_not_there(live: Live) -> None:
    done = live.word("tail", "newest")
    assert done.returncode == 1
    assert "no call is up" in done.stderr
