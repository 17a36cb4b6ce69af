"""The bus as a protocol: both implementations have every method of it with the same parameters and defaults."""

import inspect

import pytest

from shared.bus import Append, Batch, Bus, Entry, MemoryBus, Reader, RedisBus
from shared.bus.memory_bus import MemoryReader
from shared.bus.redis_bus import RedisReader

pytestmark = pytest.mark.unit


def methods(kind: type) -> dict[str, list[tuple[str, object]]]:
    """Public methods with their parameters and defaults."""
    return {
        name: [(p.name, p.default) for p in inspect.signature(f).parameters.values()]
        for name, f in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("port", "kind", "names"),
    [
        (Bus, MemoryBus, {"append", "reader", "keep", "delete", "close"}),
        (Bus, RedisBus, {"append", "reader", "keep", "delete", "close"}),
        (Reader, MemoryReader, {"read", "close"}),
        (Reader, RedisReader, {"read", "close"}),
    ],
)
def test_implementation_has_every_method_with_its_parameters(port: type, kind: type, names: set[str]) -> None:
    wanted, found = methods(port), methods(kind)
    assert set(wanted) == names
    assert {name: found[name] for name in names} == wanted


def test_empty_read_says_nothing_of_gaps() -> None:
    assert Batch() == Batch(entries=(), gap=False, late=0)


def test_entry_without_an_end_never_expires() -> None:
    assert Append("s", b"", 1).ttl_ms == 0
    assert Entry("5-0", b"x")._fields == ("entry_id", "payload")
