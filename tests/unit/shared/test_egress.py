"""Where media may go."""

import pytest

from shared.config import MediaConfig
from shared.egress import REMOTE_DENY, Egress

pytestmark = pytest.mark.unit

FARM = Egress(own_host="198.51.100.7", own_ports=range(20_000, 20_100, 2))


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.9", "169.254.169.254", "224.0.0.5", "255.255.255.255", "240.0.0.1"],
)  # fmt: skip
def test_what_no_caller_can_be_is_denied(host: str):
    assert FARM.why_refused(host, 40_000) == "media address not allowed"


@pytest.mark.parametrize(
    "host", ["", "phone.example", "::1", "2001:db8::1", "10.0.0.256", "127.1", "0x7f000001"]
)
def test_what_is_no_address_is_denied(host: str):
    assert FARM.why_refused(host, 40_000)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.7.7", "203.0.113.9", "100.64.0.1"])
def test_other_addresses_are_fine(host: str):
    assert FARM.why_refused(host, 40_000) == ""


def test_a_held_stream_may_be_nowhere():
    assert FARM.why_refused("0.0.0.0", 9, sends=False) == ""
    assert FARM.why_refused("127.0.0.1", 40_000, sends=False)


def test_services_of_others_get_nothing():
    assert FARM.why_refused("203.0.113.9", 53) == "media port not allowed"
    assert FARM.why_refused("203.0.113.9", 1_023)
    assert FARM.why_refused("203.0.113.9", 1_024) == ""
    assert FARM.why_refused("203.0.113.9", 9, sends=False) == ""


def test_our_own_media_ports_are_denied_and_a_phone_beside_us_is_not():
    for port in (20_000, 20_001, 20_098, 20_099):
        assert FARM.why_refused("198.51.100.7", port) == "media port is ours"
        assert FARM.why_refused("198.51.100.8", port) == ""
    assert FARM.why_refused("198.51.100.7", 19_999) == ""
    assert FARM.why_refused("198.51.100.7", 20_100) == ""


def test_the_operators_networks_and_exceptions():
    egress = Egress((*REMOTE_DENY, "10.0.0.0/8", "2001:db8::/32"), ("10.7.0.0/16", "127.0.0.1/32"))
    assert egress.why_refused("10.1.0.1", 40_000)
    assert egress.why_refused("10.7.0.1", 40_000) == ""
    assert egress.why_refused("127.0.0.1", 40_000) == ""
    assert egress.why_refused("127.0.0.2", 40_000)


@pytest.mark.parametrize("own", ["127.0.0.1", "127.0.0.9", "localhost"])
def test_a_farm_on_loopback_talks_to_loopback(own: str):
    egress = Egress(own_host=own, own_ports=range(20_000, 20_100, 2))
    assert egress.why_refused("127.0.0.1", 40_000) == ""
    assert egress.why_refused("127.0.0.5", 20_001) == "media port is ours"
    assert egress.why_refused("169.254.1.1", 40_000)


def test_the_configured_default_is_this_rule():
    assert MediaConfig().remote_deny == REMOTE_DENY
    assert MediaConfig().remote_allow == ()
