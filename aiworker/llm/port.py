"""A language model as its users see it: messages in, text out as it comes.

Implementations: `script` and `openai`; both pass tests/conformance/test_llm.py. A stream ends by itself, or with an
EngineError when the provider failed: HttpRefused, StreamCut, EngineTimeout (no text by the deadline, or none for too
long after it). Closing the iterator stops the provider's work at once.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from aiworker.core.effects import Act
from aiworker.core.history import ChatMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What one reply may cost and use."""

    first_token_ms: int = 3_000
    stall_ms: int = 5_000
    """Longest silence between two tokens."""
    values: dict[str, str] = field(default_factory=dict)
    """The call's variables, for templates."""
    may_hang_up: bool = False


class LlmEngine(Protocol):
    """One provider."""

    @property
    def name(self) -> str:
        """A metric label."""
        ...

    def stream(self, messages: list[ChatMessage], options: StreamOptions) -> AsyncGenerator[str | Act, None]:
        """The reply to `messages`. Raises EngineError while iterated."""
        ...

    async def close(self) -> None: ...
