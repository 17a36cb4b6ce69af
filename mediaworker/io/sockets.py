"""Which sockets a media worker runs on: the best that this machine has, or the ones that are asked for."""

from typing import Final, Literal

from mediaworker.core.engine import Engine
from mediaworker.io.compiled_sockets import CompiledSockets, compiled_library
from mediaworker.io.ctypes_sockets import CtypesSockets
from mediaworker.io.linux_sockets import supported
from mediaworker.io.portable_sockets import PortableSockets
from mediaworker.io.socket_pairs import SocketPairs
from shared.errors import ConfigError

SocketsKind = Literal["auto", "compiled", "ctypes", "portable"]

KINDS: Final[dict[str, type[SocketPairs]]] = {
    "compiled": CompiledSockets,
    "ctypes": CtypesSockets,
    "portable": PortableSockets,
}
"""The cheapest per packet first."""


def choose(kind: SocketsKind, *, fitting: bool, built: bool) -> str:
    """The kind for a machine whose system is `fitting` and where the loop was `built`. What is asked for by name is taken or
    refused, never replaced.
    """
    able = {"compiled": fitting and built, "ctypes": fitting, "portable": True}
    if kind == "auto":
        return next(name for name in KINDS if able[name])
    if not able[kind]:
        missing = (
            "mediaworker/io/datagrams.c was not compiled at installation" if fitting else "64-bit Linux only"
        )
        raise ConfigError("media.sockets", f"{kind}: {missing}")
    return kind


def open_sockets(engine: Engine, host: str, kind: SocketsKind = "auto") -> SocketPairs:
    chosen = choose(kind, fitting=supported(), built=compiled_library() is not None)
    return KINDS[chosen](engine, host)


def name_of(sockets: SocketPairs) -> str:
    """The kind, for the figures."""
    return next(name for name, made in KINDS.items() if isinstance(sockets, made))
