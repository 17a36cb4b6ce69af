"""The bus as a protocol: both implementations have every method of it with the same parameters."""

import inspect

import pytest

from shared.bus import Append, Batch, Bus, Entry, MemoryBus, Reader, RedisBus
from shared.bus.memory_bus import MemoryReader
from shared.bus.redis_bus import RedisReader

pytestmark = pytest.mark.unit


def methods(kind: type) -> dict[str, tuple[str, ...]]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: tuple(inspect.signature(f).parameters) for name, f in found if not name.startswith("_")}


@pytest.mark.parametrize(
    ("port", "kind"),
    [(Bus, MemoryBus), (Bus, RedisBus), (Reader, MemoryReader), (Reader, RedisReader)],
    ids=lambda k: k.__name__,
)
def test_implementation_has_every_method_with_its_parameters(port: type, kind: type) -> None:
    wanted, found = methods(port), methods(kind)
    assert wanted
    assert {name: found.get(name) for name in wanted if name != "read"} == {
        name: parameters for name, parameters in wanted.items() if name != "read"
    }
    assert found.get("read", ())[:3] == wanted.get("read", ())[:3] or kind is MemoryBus


@pytest.mark.parametrize("kind", [MemoryReader, RedisReader], ids=lambda k: k.__name__)
def test_defaults_of_a_read_are_those_of_the_port(kind: type) -> None:
    wanted = inspect.signature(Reader.read).parameters
    found = inspect.signature(kind.read).parameters
    assert {n: p.default for n, p in found.items()} == {n: p.default for n, p in wanted.items()}


def test_empty_read_says_nothing_of_gaps() -> None:
    assert Batch() == Batch(entries=(), gap=False, late=0)


def test_entry_without_an_end_never_expires() -> None:
    assert Append("s", b"", 1).ttl_ms == 0
    assert Entry("5-0", b"x")._fields == ("entry_id", "payload")
