"""Where the farm may send media: an SDP can name any address, and whoever answers it sends fifty packets a second there.

The front refuses such an offer with 488 before anything is reserved; the media worker refuses it again, whoever asked.
Denied are what no caller of another machine can be (this network, loopback, link-local with the metadata services of clouds, multicast,
reserved and broadcast), the operator's own networks when he names them, ports of the system, and our own RTP ports: two calls
that name each other's port would feed each other for ever. Reads no configuration and knows no names: addresses only.
"""

import ipaddress
from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Final

NOWHERE: Final = "0.0.0.0"
"""No address: a stream on hold as RFC 2543 had it, or one whose address comes later. Nothing may be sent there."""
SYSTEM_PORTS: Final = 1_024
"""RFC 6335: ports below belong to services. Nobody receives RTP there, and many answer what they get."""
REMOTE_DENY: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
_LOOPBACK: Final = ipaddress.IPv4Network("127.0.0.0/8")


class Egress:
    """`allow` wins over `deny`; both are CIDRs. Where our own address is a loopback one, callers can only be on this machine: then loopback
    is as good as any other address.
    """

    def __init__(
        self,
        deny: Iterable[str] = REMOTE_DENY,
        allow: Iterable[str] = (),
        *,
        own_host: str = "",
        own_ports: Container[int] = (),
    ) -> None:
        self._deny = _networks(deny)
        self._allow = _networks(allow)
        self._own_host = own_host
        self._own_ports = own_ports
        self._at_home = _is_loopback(own_host)
        self._known = lru_cache(maxsize=4_096)(self._denied)

    def why_refused(self, host: str, port: int, *, sends: bool = True) -> str:
        """Why media may not go to host:port, for a Warning; "" where it may. A stream that sends nothing may be nowhere."""
        if host == NOWHERE and not sends:
            return ""
        if self._known(host):
            return "media address not allowed"
        if port < SYSTEM_PORTS and sends:
            return "media port not allowed"
        if self._is_ours(host, port):
            return "media port is ours"
        return ""

    def _denied(self, host: str) -> bool:
        try:
            address = ipaddress.IPv4Address(host)
        except ValueError:
            return True
        if any(address in net for net in self._allow) or (self._at_home and address in _LOOPBACK):
            return False
        return any(address in net for net in self._deny)

    def _is_ours(self, host: str, port: int) -> bool:
        here = host == self._own_host or (self._at_home and _is_loopback(host))
        return here and (port in self._own_ports or port - 1 in self._own_ports)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host) in _LOOPBACK
    except ValueError:
        return host == "localhost"


def _networks(cidrs: Iterable[str]) -> tuple[ipaddress.IPv4Network, ...]:
    """Those of IPv4: an address of IPv6 is refused anyway."""
    found = (ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
    return tuple(net for net in found if isinstance(net, ipaddress.IPv4Network))
