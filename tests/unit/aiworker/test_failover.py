"""Which engine takes a turn."""

import pytest

from aiworker.core.failover import REST_NS, Chain, HttpRefused, StreamCut, reason_of
from shared.errors import EngineError, EngineMissing, EngineTimeout

pytestmark = pytest.mark.unit


def test_first_choice_takes_the_turn_while_it_works() -> None:
    chain = Chain(3)
    assert chain.first(0) == 0
    assert chain.after(0, 0) == 1
    assert chain.after(2, 0) is None
    assert Chain(0).first(0) is None


def test_engine_rests_after_failing_twice_and_is_tried_again() -> None:
    chain = Chain(2)
    chain.failed(0, 0)
    assert chain.first(1) == 0
    chain.failed(0, 1)
    assert chain.first(2) == 1
    assert chain.first(1 + REST_NS) == 0
    chain.failed(0, 1 + REST_NS)
    assert chain.first(2 + REST_NS) == 1


def test_failures_are_forgotten_when_the_engine_works() -> None:
    chain = Chain(2)
    chain.failed(0, 0)
    chain.worked(0)
    chain.failed(0, 0)
    assert chain.first(1) == 0


def test_longest_rested_is_tried_when_all_rest() -> None:
    chain = Chain(2)
    for index, at in ((1, 10), (1, 10), (0, 20), (0, 20)):
        chain.failed(index, at)
    assert chain.first(30) == 1
    assert chain.after(0, 30) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineTimeout("x"), "timeout"),
        (EngineMissing("x"), "missing"),
        (HttpRefused("x"), "http"),
        (StreamCut("x"), "cut"),
        (EngineError("x"), "error"),
        (None, "error"),
    ],
)
def test_failure_has_a_label(error: BaseException | None, reason: str) -> None:
    assert reason_of(error) == reason
