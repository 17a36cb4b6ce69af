"""The UDP socket of the front: a plain socket watched by the loop, so that nothing a datagram says can close it.

asyncio's own transport dies for good when a reply address is unusable, and uvloop's protocol class reads nothing in some
set-ups (FACTS section 1). Sending never waits: a full kernel buffer loses the datagram, and SIP repeats it.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable

from shared.log import get_log
from sipfront.core.effects import Peer

log = get_log(__name__)

_BATCH = 64
"""Datagrams taken per wake-up, so that timers and messages of the farm are not starved by a flood."""
_READ_BYTES = 65_535
_ROUTES_MAX = 1_024

Receive = Callable[[bytes, Peer, str], None]
"""Datagram, source, our address as the source sees it."""


class UdpSocket:
    """A bound socket; `port` is the bound one."""

    def __init__(self, host: str, port: int, receive_buffer_bytes: int, advertised_host: str = "") -> None:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        self._socket = socket.socket(info[0], socket.SOCK_DGRAM)
        self._socket.settimeout(0.0)
        self.buffer_bytes = _grow_buffer(self._socket, receive_buffer_bytes)
        self._socket.bind(info[4])
        self.host, self.port = self._socket.getsockname()[:2]
        self._fixed = advertised_host or ("" if ipaddress.ip_address(self.host).is_unspecified else self.host)
        self._routes: OrderedDict[str, str] = OrderedDict()
        self.send_failures = 0

    def listen(self, receive: Receive) -> None:
        """Calls `receive` for every datagram from now on."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable, receive)

    def send(self, data: bytes, to: Peer) -> bool:
        """Whether the kernel took the datagram."""
        try:
            self._socket.sendto(data, self._reachable(to))
        except (OSError, OverflowError, TypeError, ValueError):
            self.send_failures += 1
            return False
        return True

    def _reachable(self, to: Peer) -> Peer:
        """An IPv4 peer as a socket of both families must name it."""
        mapped = self._socket.family == socket.AF_INET6 and ":" not in to[0] and "." in to[0]
        return (f"::ffff:{to[0]}", to[1]) if mapped else to

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # no loop runs any more
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def local_host(self, peer: str) -> str:
        """Our address on the route to `peer`."""
        if self._fixed:
            return self._fixed
        found = self._routes.get(peer)
        if found is None:
            found = self._routes[peer] = _source_towards(self._socket.family, peer)
            if len(self._routes) > _ROUTES_MAX:
                self._routes.popitem(last=False)
        return found

    def _readable(self, receive: Receive) -> None:
        for _ in range(_BATCH):
            try:
                data, address = self._socket.recvfrom(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an ICMP answer to something sent before
                log.debug("socket error", problem=str(error))
                continue
            source = (_plain(address[0]), address[1])
            receive(data, source, self.local_host(source[0]))


def _plain(host: str) -> str:
    """Without the scope of a link-local address; IPv4 mapped into IPv6 as IPv4."""
    host = host.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host


def _source_towards(family: int, peer: str) -> str:
    """The source address the kernel would take; connecting a datagram socket sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))
        except OSError:
            return "127.0.0.1"
        return _plain(probe.getsockname()[0])


def _grow_buffer(sock: socket.socket, wanted: int) -> int:
    """Asks for a receive buffer, past the system's limit where the right to it is there; returns what was given."""
    force = getattr(socket, "SO_RCVBUFFORCE", 33)
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, wanted)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
