"""What is particular to PocketSphinx; what every engine owes: tests/conformance/test_stt.py."""

import numpy as np
import pytest

from aiworker.stt.choose import sentences
from aiworker.stt.port import Utterance
from aiworker.stt.sphinx import Sphinx, as_grammar, confidence_of, jsgf, without_silence
from shared.config import SttConfig
from shared.errors import EngineMissing
from tests.support.recordings import recordings

pytestmark = pytest.mark.unit

RATE = 8_000


@pytest.fixture(scope="module")
def engine() -> Sphinx:
    made = Sphinx(["goodbye", "please try again"])
    made.load()
    return made


def hear(engine: Sphinx, text: str, *grammar: str) -> str:
    return engine.decode([Utterance(recordings()[text], RATE, grammar=grammar)])[0].text


def test_call_with_a_grammar_of_its_own_hears_that(engine: Sphinx) -> None:
    assert hear(engine, "one moment please", "One moment, please!", "wait a minute") == "one moment please"
    assert hear(engine, "goodbye") == "goodbye"


def test_speech_outside_the_grammar_is_mostly_not_taken_for_a_sentence_of_it(engine: Sphinx) -> None:
    everything = sentences(SttConfig())
    taken = [
        text for text in recordings() if hear(engine, text, *(other for other in everything if other != text))
    ]
    assert len(taken) <= 1


def test_grammars_beyond_the_cache_are_built_again(engine: Sphinx) -> None:
    for number in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "one"):
        assert hear(engine, "please try again", "please try again", number) == "please try again"
    assert hear(engine, "goodbye") == "goodbye"


def test_grammar_with_an_unknown_word_is_a_problem_of_that_row_alone(engine: Sphinx) -> None:
    rows = [
        Utterance(recordings()["goodbye"], RATE, grammar=("goodbye xyzzyx",)),
        Utterance(recordings()["goodbye"], RATE),
    ]
    assert [(found.text, found.problem) for found in engine.decode(rows)] == [
        ("", "grammar"),
        ("goodbye", ""),
    ]


def test_grammars_are_buckets(engine: Sphinx) -> None:
    one, other = (Utterance(np.zeros(1, np.int16), RATE, grammar=words) for words in (("yes",), ()))
    assert engine.bucket(one) != engine.bucket(other)


@pytest.mark.parametrize(
    ("lines", "problem"), [(["hello xyzzyx"], "xyzzyx"), (["# only a comment", ""], "no sentence")]
)
def test_unusable_grammar_is_refused_at_load(lines: list[str], problem: str) -> None:
    with pytest.raises(EngineMissing, match=problem):
        Sphinx(lines).load()


def test_sentences_are_spelled_as_in_the_dictionary() -> None:
    lines = ["  Hello,   World! ", "# comment", "", "I don't know", "hello world", "a | b; <c>"]
    assert as_grammar(lines) == ("hello world", "i don't know", "a b c")


def test_grammar_is_one_rule_of_alternatives() -> None:
    assert jsgf(["yes", "no thanks"]).splitlines()[-1] == "public <sentence> = yes | no thanks;"


def test_confidence_rises_with_the_margin() -> None:
    assert confidence_of(-1.0) == confidence_of(0.0) == 0.0
    assert confidence_of(0.02) == pytest.approx(0.5)
    assert 0.85 < confidence_of(0.3) < 1.0


def test_silence_around_speech_is_cut_to_sixty_ms() -> None:
    speech = np.full(16_000, 5_000, np.int16)
    quiet = np.zeros(8_000, np.int16)
    assert len(without_silence(np.concatenate([quiet, speech, quiet]))) == 16_000 + 2 * 960


def test_silence_alone_stays() -> None:
    assert len(without_silence(np.zeros(16_000, np.int16))) == 16_000
