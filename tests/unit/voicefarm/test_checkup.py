"""What the doctor concludes: each trouble is found, graded, and comes with its mend."""

import dataclasses
from typing import Any

import pytest

from shared.config import Config, load
from voicefarm.core.checkup import Check, Engine, Facts, Grade, examine, worst

pytestmark = pytest.mark.unit

HEALTHY = Facts(
    python=(3, 11), cpus=4, memory_bytes=8 << 30, disk_free_bytes=50 << 30, open_files=20_000, sip_port_free=True,
    farm_runs=False, ephemeral=(32_768, 60_999), taken_rtp_ports=0, reserved_ports="", rmem_max=8_388_608,
    clock_synchronised=True, redis_server="/usr/bin/redis-server", redis_problem="", redis_named=False,
    redis_clock_ms=None, redis_policy="",
    engines=[Engine("faster-whisper", True, "whisper", "stt"), Engine("pocketsphinx", True, "embedded", "stt"),
             Engine("espeak", True, "embedded", "tts")],
    stt_model="", hub_reachable=True, record_dir_writable=True, codecs=("PCMU", "PCMA", "G722", "OPUS", "L16"),
)  # fmt: skip


def without(*names: str) -> list[Engine]:
    return [dataclasses.replace(engine, present=engine.name not in names) for engine in HEALTHY.engines]


def found(config: Config, about: str, workers: int = 1, **changed: Any) -> Check:
    checks = examine(config, dataclasses.replace(HEALTHY, **changed), workers)
    return next(check for check in checks if check.about == about)


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    checks = examine(Config(), HEALTHY, 1)
    assert worst(checks) is Grade.FINE
    assert not [check for check in checks if check.mend]


@pytest.mark.parametrize(
    ("about", "changed", "grade", "mend"),
    [
        ("Python", {"python": (3, 9)}, Grade.BAD, "3.11"),
        ("CPU", {"cpus": 1}, Grade.WARN, "fewer media workers"),
        ("disk", {"disk_free_bytes": 1000}, Grade.WARN, "free some space"),
        ("recordings", {"record_dir_writable": False}, Grade.BAD, "media.record_dir"),
        ("memory", {"memory_bytes": 1 << 30}, Grade.WARN, "embedded"),
        ("clock", {"clock_synchronised": False}, Grade.WARN, "chrony"),
        ("SIP port", {"sip_port_free": False}, Grade.BAD, "--sip-port"),
        ("RTP ports", {"taken_rtp_ports": 3}, Grade.WARN, "media.ports"),
        ("ephemeral ports", {"ephemeral": (10_000, 60_999)}, Grade.BAD, "ip_local_reserved_ports=20000-23999"),
        ("ephemeral ports", {"ephemeral": (23_999, 60_999)}, Grade.BAD, "below 23999"),
        ("open files", {"open_files": 1_024}, Grade.BAD, "ulimit -n 1200"),
        ("socket buffer", {"rmem_max": 212_992}, Grade.WARN, "net.core.rmem_max=4194304"),
        ("Redis", {"redis_server": ""}, Grade.BAD, "apt install redis-server"),
        ("Redis", {"redis_named": True, "redis_problem": "refused"}, Grade.BAD, "redis.url"),
        ("Redis", {"redis_named": True, "redis_clock_ms": -2_500.0}, Grade.WARN, "synchronise"),
        ("Redis memory", {"redis_named": True, "redis_policy": "allkeys-lru"}, Grade.WARN, "noeviction"),
        ("codecs", {"codecs": ("PCMU", "PCMA", "L16")}, Grade.BAD, "set media.codecs to [PCMU, PCMA, L16]"),
        ("codecs", {"codecs": ()}, Grade.BAD, "set media.codecs to [PCMU, PCMA]"),
        ("TTS", {"engines": without("espeak")}, Grade.BAD, "voicefarm[embedded]"),
        ("STT", {"engines": without("faster-whisper", "pocketsphinx")}, Grade.BAD, "pip install"),
    ],
)  # fmt: skip
def test_each_trouble_is_found(about: str, changed: dict[str, Any], grade: Grade, mend: str) -> None:
    check = found(Config(), about, **changed)
    assert check.grade is grade
    assert mend in check.mend


@pytest.mark.parametrize(
    ("about", "changed"),
    [
        ("SIP port", {"sip_port_free": False, "farm_runs": True}),
        ("RTP ports", {"taken_rtp_ports": 4, "farm_runs": True}),
        ("ephemeral ports", {"ephemeral": (10_000, 60_999), "reserved_ports": "80,20000-23999"}),
        ("ephemeral ports", {"ephemeral": (24_000, 60_999)}),
        ("Redis", {"redis_named": True, "redis_clock_ms": 3.0}),
        ("Redis memory", {"redis_named": True, "redis_policy": "noeviction"}),
    ],
)  # fmt: skip
def test_what_looks_like_trouble_and_is_none(about: str, changed: dict[str, Any]) -> None:
    assert found(Config(), about, **changed).grade is Grade.FINE


def test_ports_reserved_only_in_part_are_not_enough() -> None:
    check = found(Config(), "ephemeral ports", ephemeral=(10_000, 60_999), reserved_ports="20000-21000,5060")
    assert check.grade is Grade.BAD


@pytest.mark.parametrize("unknown", ["memory_bytes", "ephemeral", "rmem_max", "clock_synchronised"])
def test_what_a_system_does_not_tell_is_left_out(unknown: str) -> None:
    fewer = examine(Config(), dataclasses.replace(HEALTHY, **{unknown: None}), 1)
    assert len(fewer) == len(examine(Config(), HEALTHY, 1)) - 1


@pytest.mark.parametrize(
    ("engine", "changed", "grade", "text"),
    [
        ("auto", {}, Grade.FINE, "downloaded first"),
        ("auto", {"stt_model": "/models/tiny"}, Grade.FINE, "model at /models/tiny"),
        ("auto", {"hub_reachable": False}, Grade.FINE, "sentences of its grammar"),
        ("auto", {"engines": without("faster-whisper")}, Grade.FINE, "sentences of its grammar"),
        ("faster-whisper", {"hub_reachable": False}, Grade.BAD, "downloaded first"),
        ("pocketsphinx", {"engines": without("pocketsphinx")}, Grade.BAD, "not installed"),
    ],
)  # fmt: skip
def test_the_stt_engine_is_the_one_a_worker_would_take(
    engine: str, changed: dict[str, Any], grade: Grade, text: str
) -> None:
    check = found(load(environ={"VOICEFARM_STT__ENGINE": engine}), "STT", **changed)
    assert check.grade is grade
    assert text in check.found


def test_another_tts_engine_needs_no_espeak() -> None:
    config = load(environ={"VOICEFARM_TTS__ENGINE": "tones"})
    assert found(config, "TTS", engines=without("espeak")) == Check(Grade.FINE, "TTS", "tones")


def test_more_media_workers_want_more_cores() -> None:
    assert found(Config(), "CPU", workers=8).grade is Grade.WARN


def test_the_machine_is_as_bad_as_its_worst() -> None:
    fine, warn, bad = (Check(grade, "", "") for grade in Grade)
    assert worst([fine, bad, warn]) is Grade.BAD
    assert worst([warn, fine]) is Grade.WARN
    assert worst([]) is Grade.FINE
