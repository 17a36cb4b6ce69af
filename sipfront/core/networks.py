"""Lists of networks: who may signal, and whose X- headers are believed."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache


def is_address(host: str) -> bool:
    """Whether `host` is an IP literal, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Networks:
    """Membership in a list of CIDR networks; an IPv4 address mapped into IPv6 counts as IPv4."""

    def __init__(self, cidrs: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
        self._known = lru_cache(maxsize=1_024)(self._look_up)

    def __contains__(self, host: str) -> bool:
        return self._known(host)

    def _look_up(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return any(address in network for network in self._networks)
