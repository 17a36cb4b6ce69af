"""An agent without a model: finds the intent of what the caller said and fills the answer in.

Deterministic: the answer depends on the messages alone, so a dialogue that moves to another worker goes on the same.
"""

import re
from typing import NamedTuple

from aiworker.core.agent import Intent, Script, fill
from aiworker.core.history import ChatMessage

_WORD = re.compile(r"[\w']+")
_REGEX_SCORE = 10_000
PRESSED = "pressed "
"""How key presses read as a message of the caller."""


class Answer(NamedTuple):
    text: str
    hangup: bool = False
    intent: str = ""


def answer(script: Script, messages: list[ChatMessage], values: dict[str, str]) -> Answer:
    """The script's answer to the caller's last words: everything said since the agent spoke."""
    text = _last_words(messages)
    values = values | {"text": text}
    chosen = _choose(script, text)
    if chosen is None:
        used = _uses(script.otherwise, messages)
        return Answer(fill(script.otherwise[used % len(script.otherwise)], values))
    intent, groups = chosen
    used = _uses(intent.reply, messages)
    return Answer(fill(intent.reply[used % len(intent.reply)], values | groups), intent.hangup, intent.name)


def _last_words(messages: list[ChatMessage]) -> str:
    said: list[str] = []
    for message in reversed(messages):
        if message.role != "user":
            break
        said.append(message.content)
    return " ".join(reversed(said))


def _choose(script: Script, text: str) -> tuple[Intent, dict[str, str]] | None:
    best: tuple[int, Intent, dict[str, str]] | None = None
    for intent in script.intents:
        score, groups = _score(intent, text)
        if score and (best is None or score > best[0]):
            best = (score, intent, groups)
    return (best[1], best[2]) if best else None


def _score(intent: Intent, text: str) -> tuple[int, dict[str, str]]:
    if intent.digits and text.strip() == f"{PRESSED}{intent.digits}":
        return 2 * _REGEX_SCORE, {}
    if intent.match:
        found = re.search(intent.match, text, re.IGNORECASE)
        if found:
            groups = {name: value or "" for name, value in found.groupdict().items()}
            return _REGEX_SCORE + len(found[0]), groups
    heard = f" {' '.join(_WORD.findall(text.lower()))} "
    wanted = [" ".join(_WORD.findall(keyword.lower())) for keyword in intent.keywords]
    return sum(len(words) for words in wanted if words and f" {words} " in heard), {}


def _uses(templates: list[str], messages: list[ChatMessage]) -> int:
    """How often one of these templates was said before, judged by the words before its first variable."""
    heads = tuple(head for head in (fill(t.partition("{")[0], {}) for t in templates) if head)
    return sum(message.role == "assistant" and message.content.startswith(heads) for message in messages)
