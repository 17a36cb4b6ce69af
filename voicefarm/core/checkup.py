"""What `voicefarm doctor` concludes from what was found out about a machine. No I/O: facts in, findings out.

Every finding that is not fine says how to mend it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.config import Config, parse_port_range


class Grade(StrEnum):
    """How bad it is: `bad` stops calls, `warn` costs quality or capacity."""

    FINE = "fine"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    grade: Grade
    about: str
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Engine:
    """A Python package an engine needs, whether it is there, and the extra that brings it."""

    name: str
    present: bool
    extra: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out; None where it cannot be known on this system."""

    python: tuple[int, int]
    cpus: int
    memory_bytes: int | None
    disk_free_bytes: int
    open_files: int
    sip_port_free: bool
    farm_runs: bool
    ephemeral: tuple[int, int] | None
    taken_rtp_ports: int
    reserved_ports: str
    rmem_max: int | None
    clock_synchronised: bool | None
    redis_server: str
    redis_problem: str
    """Why the configured server cannot be used, empty when it can or none is configured."""
    redis_named: bool
    redis_clock_ms: float | None
    """Its clock minus ours."""
    redis_policy: str
    engines: Sequence[Engine]
    stt_model: str
    """Where the model of the STT engine is, empty when not here."""
    hub_reachable: bool | None
    record_dir_writable: bool
    codecs: Sequence[str]
    """Those whose libraries are here."""


def examine(config: Config, facts: Facts, media_workers: int) -> list[Check]:
    """Everything worth saying, the machine first."""
    return [
        *_machine(facts, media_workers),
        *_ports(config, facts),
        *_kernel(config, facts, media_workers),
        *_redis(facts),
        _codecs(config, facts),
        *_engines(config, facts),
    ]


def _machine(facts: Facts, media_workers: int) -> list[Check]:
    major, minor = facts.python
    checks = [
        _grade(facts.python >= (3, 11), Grade.BAD, "Python", f"{major}.{minor}", "install Python 3.11 or newer"),
        _grade(
            facts.cpus >= media_workers + 1, Grade.WARN, "CPU",
            f"{facts.cpus} cores for {media_workers} media workers and everything else",
            "start fewer media workers: each may fill a core, and a tick that has to wait is heard",
        ),
        _grade(
            facts.disk_free_bytes > 1 << 30, Grade.WARN, "disk", f"{facts.disk_free_bytes / (1 << 30):.1f} GiB free for recordings",
            "free some space: an hour of a recorded call takes 115 MB until it is compressed",
        ),
        _grade(facts.record_dir_writable, Grade.BAD, "recordings", "directory writable" if facts.record_dir_writable else "directory not writable",
               "set media.record_dir to a directory that this user may write to"),
    ]  # fmt: skip
    if facts.memory_bytes is not None:
        gib = facts.memory_bytes / (1 << 30)
        checks.append(
            _grade(
                gib >= 2,
                Grade.WARN,
                "memory",
                f"{gib:.1f} GiB",
                "use the embedded engines: a Whisper model needs 1 GiB and more",
            )
        )
    if facts.clock_synchronised is not None:
        checks.append(
            _grade(facts.clock_synchronised, Grade.WARN, "clock", "synchronised" if facts.clock_synchronised else "not synchronised",
                   "run chrony or systemd-timesyncd: times in event logs of several hosts will not agree")
        )  # fmt: skip
    return checks


def _ports(config: Config, facts: Facts) -> list[Check]:
    ports = parse_port_range(config.media.ports)
    checks = [
        _grade(
            facts.sip_port_free or facts.farm_runs, Grade.BAD, "SIP port",
            f"UDP {config.sip.port} is {'free' if facts.sip_port_free else 'ours' if facts.farm_runs else 'taken'}",
            f"end what listens there (`ss -ulnp | grep :{config.sip.port}`), or set sip.port, or give --sip-port",
        ),
        _grade(
            facts.taken_rtp_ports == 0 or facts.farm_runs, Grade.WARN, "RTP ports",
            f"{config.media.ports}: {len(ports)} pairs, {facts.taken_rtp_ports} taken",
            "set media.ports to a range that nobody else uses",
        ),
    ]  # fmt: skip
    if facts.ephemeral is not None:
        checks.append(_ephemeral(ports, facts.ephemeral, facts.reserved_ports))
    return checks


def _ephemeral(ports: range, ephemeral: tuple[int, int], reserved: str) -> Check:
    first, last = ephemeral
    clash = ports.start <= last and ports.stop >= first
    covered = clash and _covers(reserved, max(ports.start, first), min(ports.stop, last))
    found = f"the kernel hands out {first}-{last}" + (
        ", reserved where it meets the RTP ports" if covered else ""
    )
    mend = (
        f"any program may be given an RTP port: set media.ports below {first}, "
        f"or sysctl -w net.ipv4.ip_local_reserved_ports={ports.start}-{ports.stop}"
    )
    return _grade(not clash or covered, Grade.BAD, "ephemeral ports", found, mend)


def _covers(reserved: str, first: int, last: int) -> bool:
    """Whether `ip_local_reserved_ports` has one range around [first, last]."""
    for part in filter(None, reserved.split(",")):
        low, _, high = part.partition("-")
        if int(low) <= first and last <= int(high or low):
            return True
    return False


def _kernel(config: Config, facts: Facts, media_workers: int) -> list[Check]:
    per_worker = -(-config.media.capacity // max(1, media_workers))
    sockets = 2 * max(config.media.capacity, per_worker) + 200
    checks = [
        _grade(
            facts.open_files >= sockets, Grade.BAD, "open files",
            f"{facts.open_files} allowed, {sockets} needed for {config.media.capacity} calls in a media worker",
            f"ulimit -n {sockets} (systemd: LimitNOFILE=), or lower media.capacity",
        )
    ]  # fmt: skip
    if facts.rmem_max is not None:
        wanted = config.sip.receive_buffer_bytes
        checks.append(
            _grade(facts.rmem_max >= wanted, Grade.WARN, "socket buffer", f"net.core.rmem_max {facts.rmem_max}, {wanted} asked for by the front",
                   f"sysctl -w net.core.rmem_max={wanted}: bursts of calls are lost in the kernel above a few hundred per second")
        )  # fmt: skip
    return checks


def _redis(facts: Facts) -> list[Check]:
    if not facts.redis_named:
        return [
            _grade(bool(facts.redis_server), Grade.BAD, "Redis", facts.redis_server or "no redis-server here and none configured",
                   "apt install redis-server (macOS: brew install redis), pip install 'voicefarm[embedded]', or set redis.url")
        ]  # fmt: skip
    if facts.redis_problem:
        return [Check(Grade.BAD, "Redis", facts.redis_problem, "start it, or correct redis.url")]
    skew = facts.redis_clock_ms or 0.0
    return [
        _grade(abs(skew) < 1_000, Grade.WARN, "Redis", f"answers, its clock differs by {skew:.0f} ms", "synchronise the clocks of both hosts"),
        _grade(facts.redis_policy in {"", "noeviction"}, Grade.WARN, "Redis memory", f"maxmemory-policy {facts.redis_policy or 'unknown'}",
               "set maxmemory-policy noeviction: an evicted lease looks like a dead worker"),
    ]  # fmt: skip


def _codecs(config: Config, facts: Facts) -> Check:
    missing = [name for name in config.media.codecs if name not in facts.codecs]
    kept = [name for name in config.media.codecs if name not in missing]
    return _grade(
        not missing, Grade.BAD, "codecs", f"no library for {', '.join(missing)}" if missing else ", ".join(kept),
        f"install it (docs/codecs.md), or set media.codecs to [{', '.join(kept) or 'PCMU, PCMA'}]",
    )  # fmt: skip


def _engines(config: Config, facts: Facts) -> list[Check]:
    present = {engine.name for engine in facts.engines if engine.present}
    checks = [_stt(config, facts, present)]
    if config.tts.engine == "espeak":
        checks.append(
            _grade("espeak" in present, Grade.BAD, "TTS", "espeak-ng" if "espeak" in present else "espeak-ng is not installed",
                   "pip install 'voicefarm[embedded]', or set tts.engine")
        )  # fmt: skip
    else:
        checks.append(Check(Grade.FINE, "TTS", config.tts.engine))
    return checks


def _stt(config: Config, facts: Facts, present: set[str]) -> Check:
    install = "pip install 'voicefarm[whisper]' or 'voicefarm[embedded]'"
    engine = config.stt.engine
    if engine == "auto":
        has_model = bool(facts.stt_model) or bool(facts.hub_reachable)
        engine = "faster-whisper" if "faster-whisper" in present and has_model else "pocketsphinx"
    if engine not in present:
        return Check(Grade.BAD, "STT", f"{engine} is not installed", install)
    if engine == "pocketsphinx":
        return Check(
            Grade.FINE, "STT", "pocketsphinx: understands the sentences of its grammar, nothing else"
        )
    if facts.stt_model:
        return Check(Grade.FINE, "STT", f"faster-whisper, model at {facts.stt_model}")
    return _grade(
        bool(facts.hub_reachable), Grade.BAD, "STT", "faster-whisper, its model has to be downloaded first",
        "no model hub can be reached: set stt.model to a directory with a model, or stt.engine to pocketsphinx",
    )  # fmt: skip


def _grade(fine: bool, otherwise: Grade, about: str, found: str, mend: str) -> Check:  # noqa: FBT001  reads as a question
    return Check(Grade.FINE, about, found) if fine else Check(otherwise, about, found, mend)


def worst(checks: Sequence[Check]) -> Grade:
    """The grade of the machine as a whole."""
    order = [Grade.FINE, Grade.WARN, Grade.BAD]
    return max((check.grade for check in checks), key=order.index, default=Grade.FINE)
