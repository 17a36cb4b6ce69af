"""A speech synthesiser as its users see it: a sentence in, audio out as it is made.

Implementations: `espeak`, `openai` and `tones`; all pass tests/conformance/test_tts.py. Closing the iterator stops the
synthesis, also inside the library. What fails is an EngineError.
"""

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from aiworker.core.frames import Samples


class Sentence(NamedTuple):
    """What to say and how."""

    text: str
    voice: str = ""
    """Empty: the engine's default."""
    language: str = "en"
    rate_hz: int = 8_000


class TtsEngine(Protocol):
    """One synthesiser of a process."""

    @property
    def name(self) -> str:
        """A metric label."""
        ...

    @property
    def parallel(self) -> int:
        """Sentences it speaks at once with profit."""
        ...

    async def load(self) -> None:
        """Makes it ready. Raises EngineMissing, which says what to install."""
        ...

    def synthesise(self, sentence: Sentence) -> AsyncGenerator[Samples, None]:
        """Mono int16 audio at `sentence.rate_hz`. Raises EngineError while iterated."""
        ...

    async def close(self) -> None: ...
