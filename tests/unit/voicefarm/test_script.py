"""Scripts of calls: what is accepted, and that errors name the place."""

from pathlib import Path

import pytest

from shared.errors import ConfigError
from tests.support.processes import REPO
from voicefarm.core.script import parse_script, share_of_words, words_of
from voicefarm.io.audio_files import read_mono

pytestmark = pytest.mark.unit


def test_a_script_with_every_step() -> None:
    script = parse_script(
        """
        name: all
        words: 0.8
        recordings: {a: {file: a.wav, text: hello}}
        steps:
          - listen: {}
          - say: a
          - interrupt: {say: a, after_ms: 200}
          - press: "12#"
          - wait_ms: 100
          - ended: {within_ms: 5}
          - hang_up: true
        """,
        "x.yaml",
    )
    kinds = [step.kind for step in script.steps]
    assert kinds == ["listen", "say", "interrupt", "press", "wait_ms", "ended", "hang_up"]
    assert script.words == 0.8


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("steps: [", "not YAML"),
        ("steps: {}", "steps"),
        ("stepz: []", "stepz"),
        ("steps: [{say: nobody}]", r"steps\[0\]: no recording is named 'nobody'"),
        ("steps: [{wait_ms: 1}, {interrupt: {say: x}}]", r"steps\[1\]: no recording"),
        ("steps: [{}]", r"steps\[0\]: a step has exactly one"),
        ("steps: [{wait_ms: 1, press: '1'}]", r"press"),
        ("steps: [{press: 'x'}]", "telephone keys"),
        ("steps: [{wait_ms: -1}]", "wait_ms"),
        ("words: 2", "words"),
    ],
)
def test_a_wrong_script_names_the_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        parse_script(text, "x.yaml")


@pytest.mark.parametrize(
    ("wanted", "got", "share"),
    [
        ("weasels have eaten our phone system", "Weasels have eaten our phone system.", 1.0),
        ("weasels have eaten our phone system", "weasels have eaten a phone system", 5 / 6),
        ("one moment please", "", 0.0),
        ("one two", "two one", 0.5),
        ("one", "one more of them", 0.25),
        ("i'm here", "I'm here!", 1.0),
        ("", "", 1.0),
    ],
)
def test_words_are_compared_in_order(wanted: str, got: str, share: float) -> None:
    assert share_of_words(wanted, got) == pytest.approx(share)
    assert words_of("It's ONE, two.") == ["it's", "one", "two"]


def test_the_demos_script_says_only_sentences_that_the_embedded_engine_knows() -> None:
    folder = REPO / "voicefarm" / "demo"
    script = parse_script((folder / "caller.yaml").read_text(), "caller.yaml")
    sentences = (REPO / "aiworker" / "stt" / "demo_sentences.txt").read_text().splitlines()
    for recording in script.recordings.values():
        assert recording.text in sentences
        assert 4_000 < len(read_mono(folder / recording.file)) < 40_000
    named = (REPO / "NOTICE").read_text()
    assert "voicefarm/demo/*.wav" in named
    assert sum(path.stat().st_size for path in folder.glob("*.wav")) < 300_000


def test_a_file_that_is_no_audio_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"not audio")
    for name in ("x.wav", "missing.wav"):
        with pytest.raises(ConfigError, match=name):
            read_mono(tmp_path / name)
