"""Agent files: what they may say, and which key an error names."""

from importlib.resources import files
from pathlib import Path

import pytest

from aiworker.core.agent import call_variables, fill, parse
from aiworker.core.history import ChatMessage
from aiworker.core.script import answer
from shared.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name: [", "agents.x"),
        ("- a", "agents.x"),
        ("{}", "agents.x"),
        ("{name: a, surprise: 1}", "agents.x.surprise"),
        ("{name: a, llm: {engine: oracle}}", "agents.x.llm.engine"),
        ("{name: a, idle: {after_s: -1}}", "agents.x.idle.after_s"),
        (
            "{name: a, script: {intents: [{name: i, keywords: [k], reply: []}]}}",
            "agents.x.script.intents[0].reply",
        ),
        ("{name: a, script: {intents: [{name: i, reply: [r]}]}}", "agents.x.script.intents[0]"),
        (
            "{name: a, script: {intents: [{name: i, match: '(', reply: [r]}]}}",
            "agents.x.script.intents[0].match",
        ),
        (
            "{name: a, script: {intents: [{name: i, match: a, reply: ['{b}']}]}}",
            "agents.x.script.intents[0].reply[0]",
        ),
        ("{name: a, script: {otherwise: ['{b}']}}", "agents.x.script.otherwise[0]"),
        ("{name: a, greeting: 'Hello {nobody}'}", "agents.x.greeting"),
    ],
)
def test_error_names_the_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "agents.x")
    assert caught.value.key == key


def test_everything_has_a_default_but_the_name() -> None:
    agent = parse("name: a", "agents.a")
    assert [spec.engine for spec in agent.engines()] == ["script"]
    assert agent.script.otherwise


def test_template_is_filled_with_what_is_known() -> None:
    assert fill("Hello {name},  how {missing} are you?", {"name": "Ada"}) == "Hello Ada, how are you?"


def test_trusted_headers_override_defaults_that_exist() -> None:
    agent = parse("{name: a, variables: {first_name: you, plan: free}}", "agents.a")
    values = call_variables(
        agent, {"X-Var-First-Name": "Ada", "X-Var-Admin": "yes", "From": "sip:ada@example.org"}
    )
    assert values["first_name"] == "Ada"
    assert values["plan"] == "free"
    assert values["caller"] == "sip:ada@example.org"
    assert "admin" not in values


def demo_sentences() -> list[str]:
    text = (files("aiworker") / "stt" / "demo_sentences.txt").read_text()
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_demo_agent_understands_what_its_callers_say() -> None:
    demo = parse((files("aiworker") / "agents" / "demo.yaml").read_text(), "agents.demo")
    wanted = {
        "something is terribly wrong": "trouble",
        "weasels have eaten our phone system": "weasels",
        "one moment please": "wait",
        "they have been carried away by monkeys": "monkeys",
        "thank you for your patience": "thanks",
        "goodbye": "goodbye",
    }
    for said, intent in wanted.items():
        found = answer(demo.script, [ChatMessage("user", said)], {})
        assert (found.intent, found.hangup) == (intent, intent == "goodbye")
    assert demo.name == "demo"
    assert set(wanted) <= set(demo_sentences())


def test_agent_of_the_guide_is_right() -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "agents.md"
    example = guide.read_text().split("```yaml\n")[1].split("```")[0]
    agent = parse(example, "docs")
    assert [spec.engine for spec in agent.engines()] == ["openai", "openai", "script"]
    order = answer(agent.script, [ChatMessage("user", "I want two funghi please")], {})
    assert order.text == "two funghi, got it. Anything else?"
