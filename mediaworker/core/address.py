"""IPv4 transport addresses as one 64-bit number, so that a source check is one vector comparison.

The number is the first eight octets of a `sockaddr_in` read little-endian: family, port, address. A core knows neither
sockets nor names: hosts are literal addresses, and what is not one is refused.
"""

import ipaddress
from typing import Final, NamedTuple

from shared.errors import Refused

AF_INET: Final = 2
"""Address family of a `sockaddr_in` on every system this runs on."""


class Network(NamedTuple):
    """A CIDR over address numbers: `key & mask == prefix`."""

    prefix: int
    mask: int

    def holds(self, key: int) -> bool:
        return key & self.mask == self.prefix


def address_key(host: str, port: int) -> int:
    """The number of host:port; raises Refused where the host is no IPv4 literal or the port no port."""
    try:
        packed = ipaddress.IPv4Address(host).packed
    except ValueError:
        raise Refused("bad_request", f"media address {host!r} is no IPv4 address") from None
    if not 0 < port < 65_536:
        raise Refused("bad_request", f"media port {port}")
    return int.from_bytes(AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + packed, "little")


def network(cidr: str) -> Network:
    """A CIDR as prefix and mask; raises Refused when it is none. IPv6 networks hold no IPv4 address: mask 0, no match."""
    try:
        net = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise Refused("bad_request", f"media network {cidr!r}") from None
    if net.version != 4:
        return Network(prefix=1, mask=0)
    prefix = int.from_bytes(net.network_address.packed, "little") << 32
    return Network(prefix=prefix, mask=int.from_bytes(net.netmask.packed, "little") << 32)


def host_of(key: int) -> str:
    return str(ipaddress.IPv4Address((key >> 32).to_bytes(4, "little")))


def port_of(key: int) -> int:
    return int.from_bytes(((key >> 16) & 0xFFFF).to_bytes(2, "little"), "big")


def same_host(one: int, other: int) -> bool:
    return one >> 32 == other >> 32
