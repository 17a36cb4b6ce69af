import pytest

from mediaworker.core.address import address_key, host_of, network, port_of, same_host
from shared.errors import Refused

pytestmark = pytest.mark.unit


def test_a_number_holds_host_and_port():
    key = address_key("198.51.100.7", 40_002)
    assert (host_of(key), port_of(key)) == ("198.51.100.7", 40_002)


def test_a_number_is_the_head_of_a_sockaddr_in():
    assert address_key("1.2.3.4", 0x1F90).to_bytes(8, "little") == b"\x02\x00\x1f\x90\x01\x02\x03\x04"


@pytest.mark.parametrize(
    ("host", "port"), [("phone.example", 4), ("::1", 4), ("1.2.3.4", 0), ("1.2.3.4", 70_000), ("", 1)]
)
def test_what_is_no_ipv4_transport_address_is_refused(host: str, port: int):
    with pytest.raises(Refused) as refused:
        address_key(host, port)
    assert refused.value.reason == "bad_request"


def test_a_network_holds_its_hosts_at_any_port():
    net = network("10.1.0.0/16")
    assert net.holds(address_key("10.1.255.9", 1))
    assert net.holds(address_key("10.1.0.0", 65_535))
    assert not net.holds(address_key("10.2.0.1", 1))


def test_a_network_of_everything_and_one_of_ipv6():
    assert network("0.0.0.0/0").holds(address_key("203.0.113.1", 9))
    assert not network("::/0").holds(address_key("203.0.113.1", 9))


def test_a_network_that_is_none_is_refused():
    with pytest.raises(Refused):
        network("10.0.0.0/99")


def test_hosts_are_compared_without_ports():
    assert same_host(address_key("10.0.0.1", 5), address_key("10.0.0.1", 6))
    assert not same_host(address_key("10.0.0.1", 5), address_key("10.0.0.2", 5))
