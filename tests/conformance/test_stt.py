"""What every speech-to-text engine owes the worker, tried on each of them with speech that it knows."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from aiworker.stt.apart import SphinxApart
from aiworker.stt.choose import sentences
from aiworker.stt.port import Hypothesis, SttEngine, Utterance
from aiworker.stt.sphinx import Sphinx
from aiworker.stt.whisper import FasterWhisper
from shared.config import SttConfig
from tests.support.recordings import recordings
from tests.support.tone_whisper import cached_model, speak

pytestmark = pytest.mark.conformance

RATE = 8_000


@dataclass
class Speaker:
    """An engine and sounds whose text it must give."""

    engine: SttEngine
    sounds: dict[str, NDArray[np.int16]]

    def utterance(self, text: str, *, rate_hz: int = RATE) -> Utterance:
        sound = self.sounds[text]
        return Utterance(sound if rate_hz == RATE else soxr.resample(sound, RATE, rate_hz), rate_hz)

    def texts(self, *utterances: Utterance) -> list[str]:
        return [found.text for found in self.engine.decode(utterances)]


def _tones(*, multilingual: bool, window_s: float = 30.0) -> Speaker:
    engine = FasterWhisper(
        str(cached_model(multilingual=multilingual)), device="cpu", compute_type="float32", window_s=window_s
    )
    engine.load()
    texts = ["hello yes", "no", "help billing agent", "weather please thanks stop", "agent"]
    return Speaker(engine, {text: speak(text.split()) for text in texts})


def _human(kind: type[Sphinx | SphinxApart]) -> Speaker:
    engine = kind(sentences(SttConfig()))
    engine.load()
    return Speaker(engine, recordings())


MAKERS: dict[str, Callable[[], Speaker]] = {
    "faster-whisper": functools.cache(lambda: _tones(multilingual=False)),
    "faster-whisper-multilingual": functools.cache(lambda: _tones(multilingual=True)),
    "faster-whisper-short-window": functools.cache(lambda: _tones(multilingual=False, window_s=12.0)),
    "pocketsphinx": functools.cache(lambda: _human(Sphinx)),
    "pocketsphinx-apart": functools.cache(lambda: _human(SphinxApart)),
}


@pytest.fixture(params=MAKERS)
def speaker(request: pytest.FixtureRequest) -> Speaker:
    return MAKERS[request.param]()


def silence(seconds: float) -> Utterance:
    return Utterance(np.zeros(int(seconds * RATE), np.int16), RATE)


def test_every_word_is_heard_and_rows_keep_their_order(speaker: Speaker) -> None:
    texts = list(speaker.sounds)
    assert speaker.texts(*(speaker.utterance(text) for text in texts)) == texts
    assert speaker.texts(*(speaker.utterance(text) for text in reversed(texts))) == texts[::-1]


def test_confidence_is_high_for_what_was_understood(speaker: Speaker) -> None:
    found = speaker.engine.decode([speaker.utterance(text) for text in speaker.sounds])
    assert all(0.5 < one.confidence <= 1.0 and not one.problem for one in found)


def test_a_batch_larger_than_the_best_one_is_decoded(speaker: Speaker) -> None:
    texts = (list(speaker.sounds) * 5)[: speaker.engine.batch_max + 3]
    assert speaker.texts(*(speaker.utterance(text) for text in texts)) == texts


def test_an_empty_batch_gives_nothing(speaker: Speaker) -> None:
    assert speaker.engine.decode([]) == []


def test_silence_has_no_text_and_leaves_its_neighbours_alone(speaker: Speaker) -> None:
    text = next(iter(speaker.sounds))
    said = speaker.utterance(text)
    assert speaker.texts(silence(1.0), said, silence(0.0), silence(0.05), silence(3.0)) == [
        "",
        text,
        "",
        "",
        "",
    ]


def test_faint_noise_has_no_text(speaker: Speaker) -> None:
    noise = np.random.default_rng(5).normal(0, 20, 2 * RATE).astype(np.int16)
    assert speaker.texts(Utterance(noise, RATE)) == [""]


def test_rates_are_converted(speaker: Speaker) -> None:
    text = list(speaker.sounds)[1]
    assert speaker.texts(speaker.utterance(text, rate_hz=16_000), speaker.utterance(text)) == [text, text]


def test_quieter_speech_in_noise_is_heard(speaker: Speaker) -> None:
    noise = np.random.default_rng(6)
    for text, sound in speaker.sounds.items():
        heard = (sound * 0.5 + noise.normal(0, 10, len(sound))).astype(np.int16)
        assert speaker.texts(Utterance(heard, RATE)) == [text]


def test_silence_after_the_last_word_changes_nothing(speaker: Speaker) -> None:
    for text, sound in speaker.sounds.items():
        padded = np.concatenate([sound, np.zeros(RATE // 2, np.int16)])
        assert speaker.texts(Utterance(padded, RATE)) == [text]


def test_what_another_caller_said_changes_nothing(speaker: Speaker) -> None:
    texts = list(speaker.sounds)
    alone = speaker.engine.decode([speaker.utterance(texts[0])])
    after = speaker.engine.decode([speaker.utterance(text) for text in (*texts[1:], texts[0])])
    assert after[-1].text == alone[0].text
    assert after[-1].confidence == pytest.approx(alone[0].confidence, abs=1e-3)


def test_a_region_of_a_language_is_passed_over(speaker: Speaker) -> None:
    text = next(iter(speaker.sounds))
    assert speaker.texts(Utterance(speaker.sounds[text], RATE, "en-GB")) == [text]


def test_a_language_that_the_model_does_not_know_is_a_problem_of_that_row_alone(speaker: Speaker) -> None:
    text = next(iter(speaker.sounds))
    said = speaker.utterance(text)
    found = speaker.engine.decode([Utterance(said.samples, RATE, "xx"), said])
    assert found[0] == Hypothesis("", problem="language")
    assert found[1].text == text


def test_utterances_of_one_bucket_decode_together(speaker: Speaker) -> None:
    rows = [speaker.utterance(text) for text in speaker.sounds]
    assert len({speaker.engine.bucket(row) for row in rows}) == 1


def test_engine_says_who_it_is(speaker: Speaker) -> None:
    assert speaker.engine.name.split()[0] in {"faster-whisper", "pocketsphinx"}
    assert speaker.engine.sample_rate == 16_000
    assert speaker.engine.batch_max >= 1
