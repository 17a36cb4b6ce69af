"""The engine without a model: an agent's intents and templates behind the same streaming port."""

import re
from collections.abc import AsyncGenerator

from aiworker.core.agent import Script
from aiworker.core.effects import Act
from aiworker.core.history import ChatMessage
from aiworker.core.script import answer
from aiworker.llm.port import StreamOptions

_TOKEN = re.compile(r"\S+\s*")


class ScriptEngine:
    """Never fails and never waits, so it is also the last engine of a chain."""

    name = "script"

    def __init__(self, script: Script) -> None:
        self._script = script

    async def stream(
        self, messages: list[ChatMessage], options: StreamOptions
    ) -> AsyncGenerator[str | Act, None]:
        found = answer(self._script, messages, options.values)
        for token in _TOKEN.findall(found.text):
            yield token
        if found.hangup:
            yield Act("hangup")

    async def close(self) -> None:
        """Nothing is held."""
