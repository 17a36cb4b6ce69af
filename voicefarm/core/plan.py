"""What a farm on one machine consists of: each process, its command, its environment, its ports.

Pure: it is told which ports it may hand out and opens none. What an operator set in a file or in the environment stays;
only what must differ between processes (name, index, ports) is set here.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from shared.config import Config
from shared.errors import FarmError
from voicefarm.core.supervisor import Grace, Spec

ROLES = ("front", "media", "stt", "llm", "tts", "jobs")

_MODULES = {
    "front": ("sipfront",),
    "media": ("mediaworker",),
    "stt": ("aiworker", "stt"),
    "llm": ("aiworker", "llm"),
    "tts": ("aiworker", "tts"),
    "jobs": ("jobs",),
}

FIRST_PORT = 9300
"""TCP ports of the first farm of a machine begin here; each farm has a block of its own."""
BLOCK_PORTS = 40
STOP_WITHIN_S = 8.0
"""Longer than a worker takes to end its calls when it is told to stop at once."""
SIP_PORT_STEP = 2
"""Between fronts of one host: the odd port after a SIP port is its TLS one by custom."""


class NoPort(FarmError):
    """No port is left, or the one asked for is taken."""


@dataclass(frozen=True, kw_only=True)
class FarmOptions:
    """What the command line says about a farm."""

    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 1))
    redis_url: str = ""
    """Empty: a private server of the farm."""
    config_path: str = ""
    sip_port: int = 0
    """0: as configured, or the next free one."""
    host: str = ""
    """Address that callers reach; empty: as configured, else this machine only."""
    rtp_ports: str = ""
    var: str = "var"
    drain_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process of the plan."""

    name: str
    role: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    """On top of the supervisor's own."""
    ops_port: int = 0
    sip_port: int = 0
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The farm as it will be started."""

    children: tuple[Child, ...]
    redis_url: str
    sip_host: str
    """Where a caller on this machine, or on the network with `host`, sends its INVITE."""
    recordings: str
    """Absolute path of the directory of recordings."""

    @property
    def sip_ports(self) -> tuple[int, ...]:
        return tuple(child.sip_port for child in self.children if child.sip_port)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the machine offers a plan."""

    redis_server: str
    """Path of a redis-server, empty where there is none."""
    tcp_free: Callable[[int], bool]
    udp_free: Callable[[int], bool]
    var: str
    """Absolute path of the directory for logs, recordings and run files."""
    environ: Mapping[str, str]
    """The supervisor's environment."""
    first_port: int = FIRST_PORT
    """Begin of this farm's block; the port itself is held by the supervisor."""
    python: str = sys.executable


def make_plan(options: FarmOptions, config: Config, ground: Ground) -> Plan:
    """The processes of a farm. Raises NoPort when a port that was asked for is taken, FarmError without a Redis."""
    tcp_ports = _free_ports(ground.first_port + 1, 1, ground.tcp_free, "Redis and metrics")
    children: list[Child] = []
    redis_url = options.redis_url
    if not redis_url:
        redis, redis_url = _redis(ground, tcp_ports)
        children.append(redis)
    common = _common_environ(options, config, ground, redis_url)
    sip_ports = _sip_ports(options, config, ground)
    for role in ROLES:
        count = options.counts.get(role, 0)
        for index in range(count):
            sip_port = next(sip_ports) if role == "front" else 0
            children.append(_worker(role, index, count, common, next(tcp_ports), sip_port, options, ground))
    recordings = common.get("VOICEFARM_MEDIA__RECORD_DIR") or os.path.abspath(config.media.record_dir)
    bound = common.get("VOICEFARM_SIP__HOST", config.sip.host)
    anywhere = bound in {"0.0.0.0", "::"}
    host = options.host or config.sip.advertised_host or ("127.0.0.1" if anywhere else bound)
    return Plan(children=tuple(children), redis_url=redis_url, sip_host=host, recordings=recordings)


def _redis(ground: Ground, tcp_ports: Iterator[int]) -> tuple[Child, str]:
    if not ground.redis_server:
        raise FarmError(
            "no redis-server: install it (Debian: apt install redis-server, macOS: brew install redis), "
            "or pip install 'voicefarm[embedded]' on Linux, or give --redis URL"
        )
    port = next(tcp_ports)
    command = (
        ground.redis_server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--daemonize", "no", "--dir", f"{ground.var}/run",
    )  # fmt: skip
    spec = Spec("redis", 0, (Grace("SIGTERM", 3.0),))
    return Child(
        name="redis", role="redis", command=command, ops_port=port, spec=spec
    ), f"redis://127.0.0.1:{port}/0"


def _common_environ(options: FarmOptions, config: Config, ground: Ground, redis_url: str) -> dict[str, str]:
    environ = {"VOICEFARM_REDIS_URL": redis_url}
    if config.media.record_dir == "var/recordings":
        environ["VOICEFARM_MEDIA__RECORD_DIR"] = f"{ground.var}/recordings"
    if options.config_path:
        environ["VOICEFARM_CONFIG"] = options.config_path
    if options.rtp_ports:
        environ["VOICEFARM_MEDIA__PORTS"] = options.rtp_ports
    if "VOICEFARM_OPS__LOG_FORMAT" not in ground.environ and not options.config_path:
        environ["VOICEFARM_OPS__LOG_FORMAT"] = "text"
    return environ | _addresses(options, ground)


def _addresses(options: FarmOptions, ground: Ground) -> dict[str, str]:
    """Reachable from outside only when somebody asked for it: a farm for a try has no password."""
    if options.host:
        return {
            "VOICEFARM_SIP__HOST": "0.0.0.0",
            "VOICEFARM_SIP__ADVERTISED_HOST": options.host,
            "VOICEFARM_MEDIA__HOST": "0.0.0.0",
            "VOICEFARM_MEDIA__ADVERTISED_HOST": options.host,
        }
    named = {"VOICEFARM_SIP__HOST", "VOICEFARM_MEDIA__HOST", "VOICEFARM_MEDIA__ADVERTISED_HOST"} & set(
        ground.environ
    )
    if named or options.config_path:
        return {}
    return {"VOICEFARM_SIP__HOST": "127.0.0.1", "VOICEFARM_MEDIA__HOST": "127.0.0.1"}


def _sip_ports(options: FarmOptions, config: Config, ground: Ground) -> Iterator[int]:
    first = options.sip_port or config.sip.port
    if options.sip_port and not ground.udp_free(options.sip_port):
        raise NoPort(f"UDP port {options.sip_port} is taken (--sip-port)")
    return _free_ports(first or 5060, SIP_PORT_STEP, ground.udp_free, "SIP")


def _free_ports(first: int, step: int, free: Callable[[int], bool], what: str) -> Iterator[int]:
    for port in range(first, 65_536, step):
        if free(port):
            yield port
    raise NoPort(f"no port for {what} is free from {first} up")


def _worker(
    role: str,
    index: int,
    count: int,
    common: Mapping[str, str],
    ops_port: int,
    sip_port: int,
    options: FarmOptions,
    ground: Ground,
) -> Child:
    name = f"{role}-{index}"
    environ = {
        **common,
        "VOICEFARM_WORKER_NAME": name,
        "VOICEFARM_WORKER_INDEX": str(index),
        "VOICEFARM_WORKER_COUNT": str(count),
        "VOICEFARM_OPS__HTTP_PORT": str(ops_port),
    }
    if sip_port:
        environ["VOICEFARM_SIP__PORT"] = str(sip_port)
    drain = (Grace("SIGTERM", options.drain_s),) if options.drain_s > 0 else ()
    return Child(
        name=name,
        role=role,
        command=(ground.python, "-m", *_MODULES[role]),
        environ=environ,
        ops_port=ops_port,
        sip_port=sip_port,
        spec=Spec(name, 1, (*drain, Grace("SIGINT", STOP_WITHIN_S))),
    )
