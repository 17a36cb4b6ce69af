"""Words to modules, errors to one line and an exit status."""

import argparse
from pathlib import Path

import pytest

from voicefarm import app
from voicefarm.app import main, parser
from voicefarm.commands import call, demo, doctor, tail, up

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("word", "module"), [("demo", demo), ("up", up), ("call", call), ("tail", tail), ("doctor", doctor)]
)
def test_word_runs_its_module(word: str, module: object) -> None:
    assert parser().parse_args([word]).run is module.run  # type: ignore[attr-defined]


def test_every_word_has_a_line_of_help_and_its_own_description() -> None:
    actions = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    [words] = actions
    assert set(words.choices) == {"demo", "up", "call", "tail", "doctor"}
    assert all(choice.help for choice in words._choices_actions)
    assert all(found.description for found in words.choices.values())
    assert len(app._COMMANDS) == 5


def test_unreachable_redis_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tail", "newest", "--redis", "redis://127.0.0.1:1/0", "--var", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("voicefarm: redis")
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["call", "sip:x@127.0.0.1:5", "--script", "absent.yaml"], "absent.yaml: cannot be read"),
        (["call", "sip:x@127.0.0.1:5", "--play", "absent.wav"], "absent.wav"),
        (["call", "sip:x@127.0.0.1:5", "--header", "no colon"], "--header"),
        (["up", "--config", "absent.yaml"], "absent.yaml"),
        (["doctor", "--config", "absent.yaml"], "absent.yaml"),
    ],
)
def test_wrong_configuration_is_one_line_with_its_key_and_status_2(
    argv: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "--var", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("voicefarm: configuration: ")
    assert text in shown
    assert len(shown.splitlines()) == 1
