"""Sentences and the shape of a TTS engine."""

import inspect

import pytest

from aiworker.tts.espeak import EspeakEngine
from aiworker.tts.openai import OpenAiSpeech
from aiworker.tts.port import Sentence, TtsEngine
from aiworker.tts.tones import TonesEngine

pytestmark = pytest.mark.unit

ENGINES = (EspeakEngine, OpenAiSpeech, TonesEngine)


def test_sentence_is_narrowband_english_of_the_default_voice_unless_told() -> None:
    assert Sentence("hi") == ("hi", "", "en", 8_000)


@pytest.mark.parametrize("kind", ENGINES, ids=lambda k: k.__name__)
def test_engine_has_every_method_of_the_port(kind: type) -> None:
    wanted = {n for n, _ in inspect.getmembers(TtsEngine, inspect.isfunction) if not n.startswith("_")}
    assert wanted == {"load", "synthesise", "close"}
    for name in wanted:
        theirs = list(inspect.signature(getattr(kind, name)).parameters)
        assert theirs == list(inspect.signature(getattr(TtsEngine, name)).parameters)
    assert inspect.iscoroutinefunction(kind.load)
    assert inspect.isasyncgenfunction(kind.synthesise)


def test_labels_of_engines_differ() -> None:
    assert len({kind.name for kind in ENGINES}) == len(ENGINES)
