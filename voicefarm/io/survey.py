"""Finds out about this machine for `doctor`: reads /proc, binds and frees ports, asks Redis and the model hub."""

import asyncio
import ctypes
import importlib.util
import os
import resource
import shutil
import sys
import time
from pathlib import Path

from redis.exceptions import RedisError

from aiworker.stt.choose import DEFAULT_MODEL, can_have, hub_reachable
from mediaworker.core.codecs import available
from shared.bus import connect
from shared.config import Config, RedisConfig, SttConfig, parse_port_range
from voicefarm.core.checkup import Engine, Facts
from voicefarm.io.ports import find_redis_server, udp_free
from voicefarm.io.run_file import FarmRecord

_ENGINES = (
    ("faster-whisper", "faster_whisper", "whisper", "stt"),
    ("pocketsphinx", "pocketsphinx", "embedded", "stt"),
    ("espeak", "espeakng_loader", "embedded", "tts"),
)
_STA_UNSYNC = 0x40


async def survey(config: Config, farm: FarmRecord | None) -> Facts:
    """The facts, within a few seconds."""
    named = config.redis.url != RedisConfig().url
    url = config.redis.url if named else farm.redis_url if farm else ""
    problem, clock_ms, policy = await _ask_redis(url) if url else ("", None, "")
    here, hub = await asyncio.to_thread(_stt_model, config.stt)
    return Facts(
        python=sys.version_info[:2],
        cpus=_cpus(),
        memory_bytes=_memory_bytes(),
        disk_free_bytes=shutil.disk_usage(_existing(Path(config.media.record_dir))).free,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        sip_port_free=udp_free(config.sip.port or 5060),
        farm_runs=farm is not None,
        ephemeral=_ephemeral(),
        taken_rtp_ports=sum(not udp_free(port) for port in parse_port_range(config.media.ports)),
        reserved_ports=_read("/proc/sys/net/ipv4/ip_local_reserved_ports") or "",
        rmem_max=_number("/proc/sys/net/core/rmem_max"),
        clock_synchronised=_clock_synchronised(),
        redis_server=find_redis_server(),
        redis_problem=problem,
        redis_named=bool(url),
        redis_clock_ms=clock_ms,
        redis_policy=policy,
        engines=[Engine(name, importlib.util.find_spec(module) is not None, extra, role) for name, module, extra, role in _ENGINES],
        stt_model=here,
        hub_reachable=hub,
        record_dir_writable=os.access(_existing(Path(config.media.record_dir)), os.W_OK),
        codecs=available(),
    )  # fmt: skip


def _stt_model(config: SttConfig) -> tuple[str, bool | None]:
    """Where the model is on this machine, and, when it is nowhere, whether a hub answers."""
    if config.engine == "pocketsphinx":
        return "", None
    if can_have(config.model, lambda: False):
        return config.model if os.path.isdir(
            config.model
        ) else f"the hub's cache ({config.model or DEFAULT_MODEL})", None
    return "", hub_reachable()


async def _ask_redis(url: str) -> tuple[str, float | None, str]:
    """(problem, clock difference in ms, eviction policy)"""
    client = connect(url)
    try:
        before = time.time()
        seconds, micros = await client.time()
        skew_ms = (seconds + micros / 1e6 - (before + time.time()) / 2) * 1_000
        policy = (await client.info("memory")).get("maxmemory_policy", "")
    except (OSError, TimeoutError, RedisError) as error:
        return f"{url}: {error}", None, ""
    finally:
        await client.aclose()
    return "", skew_ms, str(policy)


def _cpus() -> int:
    """Cores that this process may use: a container is often given fewer than the host has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        return max(1, min(allowed, round(int(quota) / int(period))))
    return allowed


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _existing(path: Path) -> Path:
    """The nearest directory that exists on the way to `path`."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _read(path)
    return int(text) if text and text.isdigit() else None


def _ephemeral() -> tuple[int, int] | None:
    text = _read("/proc/sys/net/ipv4/ip_local_port_range")
    if not text:
        return None
    first, last = text.split()
    return int(first), int(last)


def _clock_synchronised() -> bool | None:
    """What the kernel says (adjtimex(2)); None where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return None
    timex = (ctypes.c_long * 64)()  # modes 0 only reads; the status is the sixth long of struct timex
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex[5] & _STA_UNSYNC
