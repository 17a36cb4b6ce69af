"""Port pairs: free, used, in quarantine, and never lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaworker.core.calls.ports import Ports, share
from shared.errors import ConfigError

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


@given(st.integers(0, 60), st.integers(1, 9))
def test_workers_of_a_host_share_the_ports_without_overlap_or_remainder(ports: int, count: int) -> None:
    pairs = list(range(20_000, 20_000 + 2 * ports, 2))
    parts = [share(pairs, index, count) for index in range(count)]
    assert [port for part in parts for port in part] == pairs
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_beyond_the_count_is_an_error_that_names_the_key(index: int) -> None:
    with pytest.raises(ConfigError, match="VOICEFARM_WORKER_INDEX"):
        share([2, 4], index, 3)


def make() -> Ports:
    return Ports([10, 12, 14], 5 * SECOND)


def test_a_freed_port_is_offered_again_after_its_quarantine_only() -> None:
    ports = make()
    ports.use(10, "a")
    assert ports.offer() == [12, 14]
    ports.free(10, "a", 100)
    assert ports.offer() == [12, 14]
    assert ports.released(100 + 5 * SECOND - 1) == []
    assert ports.released(100 + 5 * SECOND) == [10]
    assert ports.released(100 + 9 * SECOND) == [], "told once"
    assert ports.offer() == [10, 12, 14]


def test_a_port_that_another_call_uses_is_not_freed() -> None:
    ports = make()
    ports.use(10, "a")
    ports.free(10, "b", 0)
    assert ports.released(99 * SECOND) == []
    assert ports.counts() == {"used": 1, "quarantined": 0, "free": 2}


def test_a_port_of_somebody_else_is_not_adopted() -> None:
    ports = make()
    ports.free(99, "a", 0)
    assert ports.released(99 * SECOND) == []
    assert not ports.owns(99)
    assert ports.owns(10)


def test_the_counts_add_up() -> None:
    ports = make()
    ports.use(10, "a")
    ports.free(12, "b", 0)
    assert ports.counts() == {"used": 1, "quarantined": 1, "free": 1}


def test_a_port_nobody_knows_of_is_found_in_the_second_audit() -> None:
    ports = make()
    assert ports.audit([12, 14], []) == []
    assert ports.audit([12, 14], []) == [10]
    assert ports.audit([10, 12, 14], []) == []


def test_a_port_on_its_way_is_not_lost() -> None:
    ports = make()
    assert ports.audit([12, 14], []) == []
    assert ports.audit([12, 14], [10]) == [], "reserved meanwhile"
    ports.use(10, "a")
    assert ports.audit([12, 14], []) == []
    assert ports.audit([12, 14], []) == [], "used"
