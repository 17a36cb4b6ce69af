"""The core's effects and its shell agree: every kind of effect is performed, and none that no core makes."""

import typing

import pytest

from shared.metrics import Metrics
from sipfront.core import effects
from sipfront.core.effects import Count, Effect, Observe, Place, Release
from tests.support.front_bench import FrontBench
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.unit

KINDS = set(typing.get_args(Effect))


def test_every_effect_of_the_module_is_in_the_union():
    declared = {
        kind
        for kind in vars(effects).values()
        if isinstance(kind, type) and issubclass(kind, tuple) and kind is not Place
    }
    assert declared == KINDS


def test_effects_are_values():
    assert Place("w", 1, "h") == Place("w", 1, "h")
    assert Release("c") != Release("c", Place("w", 1, "h"))
    assert len({Count("a", "b"), Count("a", "b"), Count("a", "c")}) == 2


def whole_calls():
    """A call that is answered and ends, one that is refused, strays, and one whose worker dies."""
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.send(caller.bye())
    bench.media()
    bench.send(Caller(number="2").invite())
    bench.refused()
    bench.send(Caller(number="3").request("OPTIONS"))
    bench.send(Caller(number="4", to_tag="none").request("BYE"))
    bench.send(b"\r\n\r\n")
    bench.send(b"SIP/2.0 200 OK\r\n\r\n")
    bench.send(Caller(number="5").invite())
    bench.reserved()
    bench.media(ok=False, reason="full")
    bench.confirmed(Caller(number="6"))
    bench.beat(live=[])
    bench.advance(10_000)
    bench.beat(live=[])  # its worker is gone for good: the front ends the event log
    bench.advance(70_000)
    return bench


def test_whole_calls_make_every_kind_of_effect():
    assert {type(effect) for effect in whole_calls().effects} == KINDS


def test_what_is_counted_and_observed_is_a_metric_with_that_label():
    """The registry of metrics raises for a name or a label it does not have."""
    metrics = Metrics("front")
    for effect in whole_calls().effects:
        if isinstance(effect, Count):
            metrics.counter(effect.name, effect.label).inc()
        elif isinstance(effect, Observe):
            assert effect.value >= 0
            metrics.histogram(effect.name).observe(effect.value)
