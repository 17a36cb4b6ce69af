"""Writes lines for people, at once also when standard output is a pipe."""

import sys


def say(text: str) -> None:
    """One or more lines on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"voicefarm: {text}\n")
    sys.stderr.flush()
