"""Intents and templates."""

import pytest

from aiworker.core.agent import Intent, Script
from aiworker.core.history import ChatMessage
from aiworker.core.script import Answer, answer

pytestmark = pytest.mark.unit

SCRIPT = Script(
    intents=[
        Intent(
            name="hours",
            keywords=["open", "opening hours"],
            reply=["We open at nine, {name}.", "Nine, as I said."],
        ),
        Intent(name="order", match=r"\b(?P<count>\d+) (?P<what>pizza)s?", reply=["So {count} times {what}."]),
        Intent(name="operator", keywords=["operator"], digits="0", reply=["I put you through."]),
        Intent(name="bye", keywords=["bye"], reply=["Bye."], hangup=True),
    ],
    otherwise=["You said {text}?", "Pardon?"],
)


def ask(*said: str, heard: tuple[str, ...] = ()) -> Answer:
    messages = [ChatMessage("assistant", text) for text in heard] + [
        ChatMessage("user", text) for text in said
    ]
    return answer(SCRIPT, messages, {"name": "Ada"})


@pytest.mark.parametrize(
    ("said", "text", "hangup"),
    [
        ("When do you open?", "We open at nine, Ada.", False),
        ("Your OPENING HOURS please", "We open at nine, Ada.", False),
        ("I want 3 pizzas when you open", "So 3 times pizza.", False),
        ("pressed 0", "I put you through.", False),
        ("pressed 1", "You said pressed 1?", False),
        ("opened", "You said opened?", False),
        ("bye", "Bye.", True),
    ],
)
def test_best_intent_answers(said: str, text: str, hangup: bool) -> None:
    found = ask(said)
    assert (found.text, found.hangup) == (text, hangup)


def test_answers_take_turns_when_an_intent_comes_again() -> None:
    assert ask("open?", heard=("We open at nine, Ada.",)).text == "Nine, as I said."
    assert ask("open?", heard=("We open at nine, Ada.", "Nine, as I said.")).text == "We open at nine, Ada."
    assert ask("weather?", heard=("You said something else?",)).text == "Pardon?"


def test_everything_since_the_agent_spoke_is_one_text() -> None:
    assert ask("I want 2", "pizzas").text == "So 2 times pizza."


def test_longer_match_wins_over_the_first() -> None:
    assert ask("operator, bye").intent == "operator"


def test_silence_gets_the_fallback() -> None:
    assert ask().text == "You said ?"
