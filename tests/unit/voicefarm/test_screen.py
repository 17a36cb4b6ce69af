"""Lines for people come at once, each on its stream."""

import subprocess
import sys

import pytest

from tests.support.processes import REPO
from voicefarm.io.screen import complain, say

pytestmark = pytest.mark.unit


def test_words_go_out_and_complaints_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    say("two\nlines")
    complain("this is wrong")
    shown = capsys.readouterr()
    assert shown.out == "two\nlines\n"
    assert shown.err == "voicefarm: this is wrong\n"


def test_a_pipe_gets_the_line_before_the_program_ends() -> None:
    code = "import sys; from voicefarm.io.screen import say; say('now'); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO
    ) as child:
        assert child.stdout
        assert child.stdin
        assert child.stdout.readline() == b"now\n"
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(10) == 0
