"""What is particular to Whisper; what every engine owes: tests/conformance/test_stt.py."""

from pathlib import Path

import numpy as np
import pytest

from aiworker.stt.port import Utterance
from aiworker.stt.whisper import FasterWhisper, compression_ratio, token_limit
from shared.errors import EngineError, EngineMissing
from tests.support.tone_whisper import TONES, cached_model, speak

pytestmark = pytest.mark.unit


def whisper(**options: object) -> FasterWhisper:
    model = cached_model(
        **{key: options.pop(key) for key in ("multilingual", "endless", "lead_s") if key in options}
    )
    engine = FasterWhisper(str(model), device="cpu", compute_type="float32", **options)
    engine.load()
    return engine


def said(*words: str, **more: object) -> Utterance:
    return Utterance(speak(words), 8_000, **more)


@pytest.fixture(scope="module")
def multilingual() -> FasterWhisper:
    return whisper(multilingual=True)


def test_languages_may_differ_within_a_batch(multilingual: FasterWhisper) -> None:
    rows = [said("yes", language="de"), said("no", "stop", language="ja"), said("help", language="en")]
    assert [found.text for found in multilingual.decode(rows)] == ["yes", "no stop", "help"]
    assert len({multilingual.bucket(row) for row in rows}) == 1


def test_hotwords_of_different_length_do_not_share_a_batch(multilingual: FasterWhisper) -> None:
    rows = [said("yes"), said("yes", hotwords=("billing",)), said("yes", hotwords=("billing", "agent"))]
    assert len({multilingual.bucket(row) for row in rows}) == 3
    # The tone model counts words by position, so a prompt before the start token shifts its answer; rows stay apart.
    assert multilingual.decode(rows)[0].text == "yes"


def test_hotwords_are_bounded(multilingual: FasterWhisper) -> None:
    frames, tokens = multilingual.bucket(said("yes", hotwords=("billing",) * 500))
    assert (frames, tokens) == (3_000, 64)


def test_short_window_is_used_where_the_utterance_fits() -> None:
    engine = whisper(window_s=12.0)
    short, long = said("yes"), said(*["yes", "no"] * 12)
    assert [engine.bucket(row)[0] for row in (short, long)] == [1_200, 3_000]
    assert [found.text for found in engine.decode([long, short])] == [" ".join(["yes", "no"] * 12), "yes"]


def test_text_that_never_ends_is_no_text_and_says_so() -> None:
    found = whisper(endless=True).decode([said("yes", "no")])
    assert [(one.text, one.problem) for one in found] == [("", "runaway")]


def test_long_utterance_is_heard_whole() -> None:
    words = list(np.random.default_rng(1).choice(list(TONES), 16))
    assert [found.text for found in whisper().decode([said(*words)])] == [" ".join(words)]


def test_failure_of_the_model_is_an_engine_error(
    multilingual: FasterWhisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Prompts whose start token stands at different places are what CTranslate2 refuses a batch for.
    monkeypatch.setattr(FasterWhisper, "bucket", lambda *_: 0)
    with pytest.raises(EngineError, match="startoftranscript"):
        multilingual.decode([said("yes"), said("yes", hotwords=("billing",))])


def test_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match=r"stt\.model"):
        FasterWhisper(str(tmp_path)).load()


def test_unknown_model_name_says_what_to_do() -> None:
    with pytest.raises(EngineMissing, match="no-such-model"):
        FasterWhisper("no-such-model").load()


def test_name_is_that_of_the_model() -> None:
    assert FasterWhisper("/models/tiny/").name == "faster-whisper tiny"


def test_token_limit_follows_the_audio_up_to_what_the_model_can_give() -> None:
    assert [token_limit(seconds) for seconds in (0.0, 1.0, 2.5, 30.0)] == [8, 20, 38, 224]


def test_compression_ratio_finds_repetition_in_long_texts_only() -> None:
    assert compression_ratio("thank you " * 30) > 2.4
    assert compression_ratio("no, " * 12) == 1.0
    assert compression_ratio("") == 1.0
    sentence = (
        "the quick brown fox jumps over the lazy dog while seven wizards box with a jovial prankish hamster"
    )
    assert compression_ratio(sentence + " by night") < 2.4


def test_odd_rate_is_converted() -> None:
    assert whisper().decode([Utterance(speak(["agent"], 11_025), 11_025)])[0].text == "agent"
