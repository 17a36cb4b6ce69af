"""Membership in lists of networks: both families, mapped addresses, and what is no address."""

import pytest

from sipfront.core.networks import Networks, is_address

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("cidrs", "host", "member"),
    [
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),  # an IPv4 peer on a dual-stack socket
        (["10.0.0.0/8"], "::ffff:11.1.2.3", False),
        (["::ffff:0:0/96"], "10.1.2.3", False),  # the mapping is undone, not made
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["2001:db8::/32"], "10.0.0.1", False),
        (["0.0.0.0/0"], "203.0.113.9", True),
        (["0.0.0.0/0"], "::1", False),
        (["127.0.0.0/8", "::1/128"], "::1", True),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        ([], "127.0.0.1", False),
        (["0.0.0.0/0", "::/0"], "sip.example", False),
        (["0.0.0.0/0", "::/0"], "", False),
        (["0.0.0.0/0", "::/0"], "10.0.0.1:5060", False),
        (["0.0.0.0/0", "::/0"], "[::1]", False),
    ],
)
def test_membership(cidrs, host, member):
    networks = Networks(cidrs)
    assert (host in networks) is member
    assert (host in networks) is member, "also when it is remembered"


def test_many_strangers_are_not_all_remembered():
    networks = Networks(["10.0.0.0/8"])
    for n in range(5_000):
        assert f"192.0.{n // 256}.{n % 256}" not in networks
    assert networks._known.cache_info().currsize <= 1_024


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("192.0.2.1", True), ("::1", True), ("2001:db8::1", True), ("[::1]", False), ("localhost", False), ("", False),
        ("192.0.2", False), ("192.0.2.1 ", False), ("0192.0.2.1", False), ("192.0.2.1/32", False),
    ],
)  # fmt: skip
def test_address_literals(host, right):
    assert is_address(host) is right
