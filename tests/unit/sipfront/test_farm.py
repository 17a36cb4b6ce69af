"""What a front knows of its media workers."""

import pytest

from sipfront.core.farm import GRACE_NS, FarmLoad, LeaseWatch
from sipfront.core.networks import Networks, is_address

pytestmark = pytest.mark.unit


def test_load_says_why_no_call_can_come():
    assert [FarmLoad(*pair).why_closed for pair in ((0, 0), (1, 2), (2, 2))] == ["no_media", "", "full_media"]


def test_worker_is_lost_after_the_grace_and_not_when_it_comes_back():
    watch = LeaseWatch()
    assert watch.lost({"a", "b"}, {"b"}, 0) == []
    assert watch.lost({"a", "b"}, {"a", "b"}, GRACE_NS - 1) == []
    assert watch.lost({"a"}, set(), GRACE_NS) == []
    assert watch.lost({"a"}, set(), 2 * GRACE_NS) == ["a"]


def test_memory_loss_of_the_registry_begins_the_grace_anew():
    watch = LeaseWatch()
    watch.lost({"a"}, set(), 0)
    assert watch.lost({"a"}, set(), GRACE_NS, forgotten=True) == []
    assert watch.lost({"a"}, set(), 2 * GRACE_NS) == ["a"]


def test_networks():
    networks = Networks(["10.0.0.0/8", "2001:db8::/32"])
    assert "10.1.2.3" in networks
    assert "::ffff:10.1.2.3" in networks
    assert "2001:db8::5" in networks
    assert "11.0.0.1" not in networks
    assert "name" not in networks
    assert (is_address("::1"), is_address("a.b")) == (True, False)
