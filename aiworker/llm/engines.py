"""Builds the engines of an agent from its file and the configuration."""

from aiworker.core.agent import Agent, EngineSpec
from aiworker.llm.openai import OpenAiEngine
from aiworker.llm.port import LlmEngine
from aiworker.llm.script import ScriptEngine
from shared.config import LlmConfig
from shared.errors import ConfigError


def build(agent: Agent, config: LlmConfig) -> list[LlmEngine]:
    """The chain of `agent`. Raises ConfigError for an engine that lacks what it needs."""
    return [_one(spec, agent, config, index) for index, spec in enumerate(agent.engines())]


def _one(spec: EngineSpec, agent: Agent, config: LlmConfig, index: int) -> LlmEngine:
    if spec.engine == "script":
        return ScriptEngine(agent.script)
    model = spec.model or config.model
    if not model:
        where = "llm" if index == 0 else f"fallback[{index - 1}]"
        raise ConfigError(
            f"agents.{agent.name}.{where}.model", "an openai engine needs a model here or in llm.model"
        )
    return OpenAiEngine(
        spec.base_url or config.base_url, model, spec.api_key_env or config.api_key_env, spec.options
    )
