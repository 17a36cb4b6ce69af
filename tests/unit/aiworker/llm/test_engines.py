"""The chain of engines of an agent: its file first, the configuration where the file is silent."""

import pytest

from aiworker.core.agent import parse
from aiworker.llm.engines import build
from aiworker.llm.openai import OpenAiEngine
from aiworker.llm.script import ScriptEngine
from shared.config import LlmConfig
from shared.errors import ConfigError

pytestmark = pytest.mark.unit

CONFIG = LlmConfig(base_url="http://192.0.2.1:8000/v1", model="farm-model", api_key_env="FARM_KEY")
SCRIPT = "script: {otherwise: ['What?'], intents: []}\n"


def chain(text: str, config: LlmConfig = CONFIG):
    return build(parse(f"name: demo\ngreeting: Hi.\n{SCRIPT}{text}", "agents.demo"), config)


def test_agent_that_names_no_engine_follows_its_script() -> None:
    [only] = chain("")
    assert isinstance(only, ScriptEngine)


def test_file_wins_over_the_configuration_key_by_key() -> None:
    [one, two] = chain(
        "llm: {engine: openai, model: own, options: {temperature: 0}}\n"
        "fallback: [{engine: openai, base_url: 'http://192.0.2.9/v1', api_key_env: OWN_KEY}]\n"
    )
    assert isinstance(one, OpenAiEngine)
    assert isinstance(two, OpenAiEngine)
    seen = [(e._url, e._model, e._key_env, e._options) for e in (one, two)]
    assert seen == [
        ("http://192.0.2.1:8000/v1/chat/completions", "own", "FARM_KEY", {"temperature": 0}),
        ("http://192.0.2.9/v1/chat/completions", "farm-model", "OWN_KEY", {}),
    ]


def test_chain_keeps_its_order_and_may_end_in_the_script() -> None:
    assert [e.name for e in chain("llm: {engine: openai}\nfallback: [{engine: openai}, {engine: script}]\n")] == [
        "openai", "openai", "script",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("llm: {engine: openai}\n", "agents.demo.llm.model"),
        ("fallback: [{engine: openai}]\n", "agents.demo.fallback[0].model"),
        ("fallback: [{engine: script}, {engine: openai}]\n", "agents.demo.fallback[1].model"),
    ],
)
def test_engine_without_a_model_is_an_error_that_names_the_place(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chain(text, LlmConfig())
    assert caught.value.key == key
