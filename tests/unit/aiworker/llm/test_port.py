"""Options of a stream and the shape of an LLM engine."""

import dataclasses
import inspect

import pytest

from aiworker.llm.openai import OpenAiEngine
from aiworker.llm.port import LlmEngine, StreamOptions
from aiworker.llm.script import ScriptEngine

pytestmark = pytest.mark.unit


def test_hanging_up_is_not_allowed_unless_the_agent_says_so() -> None:
    options = StreamOptions()
    assert not options.may_hang_up
    assert options.values == {}
    assert options.values is not StreamOptions().values


def test_options_cannot_be_changed_by_an_engine() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StreamOptions().stall_ms = 1  # type: ignore[misc]


@pytest.mark.parametrize("kind", [OpenAiEngine, ScriptEngine], ids=lambda k: k.__name__)
def test_engine_has_every_method_of_the_port(kind: type) -> None:
    wanted = {n for n, _ in inspect.getmembers(LlmEngine, inspect.isfunction) if not n.startswith("_")}
    assert wanted == {"stream", "close"}
    assert list(inspect.signature(kind.stream).parameters) == list(
        inspect.signature(LlmEngine.stream).parameters
    )
    assert inspect.isasyncgenfunction(kind.stream)
    assert inspect.iscoroutinefunction(kind.close)
    assert isinstance(kind.name, str)
