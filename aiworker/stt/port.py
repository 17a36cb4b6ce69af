"""What every speech-to-text engine is to the worker: a batch of utterances in, a batch of hypotheses out.

An engine is driven by one thread and keeps nothing between utterances: neither the order of calls nor what another
caller said may change a result. Implementations: `whisper.FasterWhisper`, `sphinx.Sphinx` and the same in a process
of its own, `apart.SphinxApart`; all pass
tests/conformance/test_stt.py.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One utterance of one call."""

    samples: Samples
    rate_hz: int
    language: str = "en"
    """A language code; a region (`en-GB`) is passed over."""
    hotwords: tuple[str, ...] = ()
    """Words to expect, for engines that can be told."""
    grammar: tuple[str, ...] = ()
    """The only sentences possible, for engines with a closed grammar; empty: what the engine was configured with."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was heard; an empty text for silence and for what could not be understood."""

    text: str
    confidence: float = 0.0
    """0 to 1. Whisper: mean token probability; pocketsphinx: how far the grammar explains the sound better than any
    sequence of phones would."""
    problem: str = ""
    """Why this row could not be decoded though its neighbours were: a short metric label."""


class SttEngine(Protocol):
    """Every method but `bucket` is called in the engine's own thread."""

    @property
    def name(self) -> str:
        """Engine and model, for people: `faster-whisper base.en`."""
        ...

    @property
    def sample_rate(self) -> int:
        """The rate the model wants; utterances of another rate are converted."""
        ...

    @property
    def batch_max(self) -> int:
        """Most utterances worth giving at once."""
        ...

    def load(self) -> None:
        """Makes the engine ready to decode. Raises EngineMissing that says what to install."""
        ...

    def bucket(self, utterance: Utterance) -> Hashable:
        """Utterances of equal buckets fit into one batch. Called in any thread, after `load`."""
        ...

    def decode(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        """One hypothesis per utterance, in order. Raises EngineError when the batch as a whole failed."""
        ...
