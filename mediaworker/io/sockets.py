"""Which sockets a media worker runs on: the best that this machine has, or the ones that are asked for."""

from collections.abc import Mapping
from typing import Final, Literal

from mediaworker.core.engine import Engine
from mediaworker.io.compiled_sockets import CompiledSockets, UringSockets, compiled_library, uring_allowed
from mediaworker.io.ctypes_sockets import CtypesSockets
from mediaworker.io.linux_sockets import supported
from mediaworker.io.portable_sockets import PortableSockets
from mediaworker.io.socket_pairs import SocketPairs
from shared.errors import ConfigError

SocketsKind = Literal["auto", "uring", "compiled", "ctypes", "portable"]

KINDS: Final[dict[str, type[SocketPairs]]] = {
    "uring": UringSockets,
    "compiled": CompiledSockets,
    "ctypes": CtypesSockets,
    "portable": PortableSockets,
}
"""The cheapest per packet first."""


def able(*, fitting: bool, built: bool, rings: bool) -> dict[str, str]:
    """What is missing for each kind, "" for those that run: on a `fitting` system, where the library was `built`, where the
    kernel allows `rings`.
    """
    linux = "" if fitting else "64-bit Linux only"
    compiled = linux or ("" if built else "mediaworker/io/datagrams.c was not compiled at installation")
    ring = compiled or (
        "" if rings else "no io_uring (Linux 6.1), or not allowed: seccomp, kernel.io_uring_disabled"
    )
    return {"uring": ring, "compiled": compiled, "ctypes": linux, "portable": ""}


def choose(kind: SocketsKind, missing: Mapping[str, str]) -> str:
    """The best kind, or the one that was asked for; that is taken or refused, never replaced."""
    if kind == "auto":
        return next(name for name in KINDS if not missing[name])
    if missing[kind]:
        raise ConfigError("media.sockets", f"{kind}: {missing[kind]}")
    return kind


def able_here() -> dict[str, str]:
    library = compiled_library()
    built = library is not None
    return able(fitting=supported(), built=built, rings=built and uring_allowed(library))


def open_sockets(engine: Engine, host: str, kind: SocketsKind = "auto") -> SocketPairs:
    return KINDS[choose(kind, able_here())](engine, host)


def name_of(sockets: SocketPairs) -> str:
    """The kind, for the figures."""
    return next(name for name, made in KINDS.items() if type(sockets) is made)
