"""Agent files on disk and the engines made of them."""

from pathlib import Path

import pytest

from aiworker.llm.agents import Agents
from aiworker.llm.openai import OpenAiEngine
from aiworker.llm.script import ScriptEngine
from aiworker.tts.engines import build as build_tts
from shared.config import LlmConfig, TtsConfig
from shared.errors import ConfigError

pytestmark = pytest.mark.unit


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text)


def agents(folder: Path, **fields: str) -> Agents:
    return Agents(LlmConfig(agents_dir=str(folder), **fields))  # type: ignore[arg-type]


def test_agents_of_the_package_are_right() -> None:
    known = Agents(LlmConfig())
    assert "demo" in known.names()
    for name in known.names():
        assert known.get(name).agent.name == name


def test_changed_file_counts_for_the_next_call_and_shares_until_then(tmp_path: Path) -> None:
    write(tmp_path, "a", "{name: a, greeting: one}")
    known = agents(tmp_path)
    first = known.get("a")
    assert known.get("a") is first
    write(tmp_path, "a", "{name: a, greeting: another one}")
    assert known.get("a").agent.greeting == "another one"
    assert first.agent.greeting == "one"


def test_agent_stays_in_service_when_its_file_is_gone(tmp_path: Path) -> None:
    write(tmp_path, "a", "name: a")
    known = agents(tmp_path)
    first = known.get("a")
    (tmp_path / "a.yaml").unlink()
    assert known.get("a") is first
    assert known.names() == []


def test_missing_agent_is_a_config_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        agents(tmp_path).get("nobody")
    assert caught.value.key == "agents.nobody"


def test_name_from_a_route_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path, "out", "name: out")
    with pytest.raises(ConfigError):
        agents(tmp_path / "in").get("../out")


def test_folder_that_is_not_there_has_no_agents(tmp_path: Path) -> None:
    assert agents(tmp_path / "none").names() == []


def test_chain_is_built_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a",
        "{name: a, llm: {engine: openai}, fallback: [{engine: openai, model: m2}, {engine: script}]}",
    )
    loaded = agents(tmp_path, model="m1").get("a")
    assert [type(engine) for engine in loaded.engines] == [OpenAiEngine, OpenAiEngine, ScriptEngine]


def test_engine_without_a_model_is_a_config_error(tmp_path: Path) -> None:
    write(tmp_path, "a", "{name: a, llm: {engine: openai}}")
    write(tmp_path, "b", "{name: b, fallback: [{engine: openai}]}")
    for name, key in (("a", "agents.a.llm.model"), ("b", "agents.b.fallback[0].model")):
        with pytest.raises(ConfigError) as caught:
            agents(tmp_path).get(name)
        assert caught.value.key == key


def test_remote_speech_is_backed_by_a_local_engine() -> None:
    assert [engine.name for engine in build_tts(TtsConfig(engine="openai"))] == ["openai", "espeak"]
    assert [engine.name for engine in build_tts(TtsConfig(engine="tones"))] == ["tones"]
    assert [engine.name for engine in build_tts(TtsConfig())] == ["espeak"]
