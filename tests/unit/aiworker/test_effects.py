"""What goes into a dialogue and what comes out: values, told apart by type, complete in their unions."""

import typing

import pytest

from aiworker.core import effects
from aiworker.core.effects import Act, Acted, Count, Generate, Log, Send, Stop, StreamEnded, TimePassed, Token
from aiworker.core.history import ChatMessage
from shared.contracts import Message
from shared.metrics import Metrics

pytestmark = pytest.mark.unit


def test_every_kind_is_an_event_or_an_effect_and_none_is_both() -> None:
    declared = {k for k in vars(effects).values() if isinstance(k, type) and issubclass(k, tuple)}
    declared -= {ChatMessage}
    events = set(typing.get_args(effects.Event)) - {Message}
    made = set(typing.get_args(effects.Effect))
    assert events & made == set()
    assert events | made | {Act} == declared


def test_what_belongs_to_a_stream_carries_its_generation() -> None:
    """A token of a stream that was stopped must be told from one of its successor (I4)."""
    for kind in (Token, Acted, StreamEnded, effects.StreamFailed, Generate, Stop):
        assert kind._fields[0] == "generation"


def test_effects_of_one_kind_are_told_apart_by_their_values() -> None:
    assert Stop(1) != Stop(2)
    assert Token(1, "a") == Token(1, "a")
    assert Generate(1, 0, []) != Generate(1, 1, [])
    assert Log("a", {}) != Log("b", {})
    assert Send("w", None) == Send("w", None)  # type: ignore[arg-type]
    assert TimePassed() == ()


def test_every_result_of_a_reply_is_a_label_of_the_metric() -> None:
    metrics = Metrics("llm")
    for result in typing.get_args(Count.__annotations__["result"]):
        metrics.counter("voicefarm_llm_turns", result).inc()
