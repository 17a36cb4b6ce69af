"""The front as a program: wrong settings in one line, a taken port, an idle end, settings that reach the core."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config import Config, MediaConfig, SipConfig
from shared.keys import LEASE_MS
from shared.units import NS_PER_MS
from sipfront.app import settings_of
from tests.support.front_process import front_process
from tests.support.processes import REPO

pytestmark = pytest.mark.process


def run(**env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sipfront"]
    return subprocess.run(command, env=env, cwd=REPO, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("VOICEFARM_SIP__PORT", "many", "sip.port"),
        ("VOICEFARM_SIP__TRUSTED_PROXIES", "[10.0.0.0/99]", "sip.trusted_proxies"),
        ("VOICEFARM_CONFIG", "/nowhere.yaml", "/nowhere.yaml"),
        ("VOICEFARM_SIP__HOST", "192.0.2.77", "assign"),
    ],
)
def test_wrong_setting_is_one_line_that_names_it(name: str, value: str, said: str) -> None:
    done = run(**{"VOICEFARM_SIP__PORT": "0", name: value})
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_taken_port_is_told_and_not_waited_for() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        done = run(VOICEFARM_SIP__HOST="127.0.0.1", VOICEFARM_SIP__PORT=str(holder.getsockname()[1]))
    assert done.returncode == 1
    assert "in use" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_front_ends_at_once_and_well(redis_url: str, tmp_path: Path, number: signal.Signals) -> None:
    with front_process(redis_url, tmp_path) as front:
        front.process.send_signal(number)
        assert front.process.wait(10) == 0


def test_settings_of_the_operator_reach_the_core() -> None:
    config = Config(
        sip=SipConfig(
            trusted_proxies=("10.0.0.0/8",), allowed=("192.0.2.0/24",), max_dialogs=7, max_transactions=70,
            retry_after_s=9, media_answer_timeout_s=0.25, max_call_s=60,
        ),
        media=MediaConfig(media_cidrs=("172.16.0.0/12",)),
    )  # fmt: skip
    found = settings_of(config, "front-0.1", 5_066)
    assert (found.front, found.port, found.media_cidrs) == ("front-0.1", 5_066, ("172.16.0.0/12",))
    assert "10.1.1.1" in found.trusted
    assert "10.1.1.1" not in found.allowed
    assert "192.0.2.9" in found.allowed
    assert (found.max_dialogs, found.max_transactions, found.retry_after_s) == (7, 70, 9)
    assert found.answer_wait_ns == 250 * NS_PER_MS
    assert found.close_wait_ns >= 2 * LEASE_MS * NS_PER_MS, "its worker may be dead: longer than its lease"
    assert found.max_call_ns == 60_000 * NS_PER_MS
