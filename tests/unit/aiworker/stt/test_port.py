"""Utterances, hypotheses and the shape of an STT engine."""

import inspect

import numpy as np
import pytest

from aiworker.stt.port import Hypothesis, SttEngine, Utterance
from aiworker.stt.sphinx import Sphinx
from aiworker.stt.whisper import FasterWhisper

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("samples", "rate_hz", "seconds"), [(8_000, 8_000, 1.0), (8_000, 16_000, 0.5), (0, 8_000, 0.0)])  # fmt: skip
def test_length_of_an_utterance_follows_its_rate(samples: int, rate_hz: int, seconds: float) -> None:
    assert Utterance(np.zeros(samples, np.int16), rate_hz).seconds == seconds


def test_utterances_are_told_apart_by_identity_and_can_be_keys() -> None:
    one, other = (Utterance(np.zeros(3, np.int16), 8_000) for _ in range(2))
    assert one != other
    assert len({one, other, one}) == 2


def test_nothing_heard_is_an_empty_text_without_confidence() -> None:
    assert Hypothesis("") == Hypothesis("", 0.0, "")


@pytest.mark.parametrize("kind", [FasterWhisper, Sphinx], ids=lambda k: k.__name__)
def test_engine_has_everything_the_port_has(kind: type) -> None:
    wanted = {n for n in vars(SttEngine) if not n.startswith("_")}
    assert wanted == {"name", "sample_rate", "batch_max", "load", "bucket", "decode"}
    for name in ("load", "bucket", "decode"):
        theirs = list(inspect.signature(getattr(kind, name)).parameters)
        assert theirs == list(inspect.signature(getattr(SttEngine, name)).parameters)
