"""Wires the command line: words to modules, errors to exit codes (0 done, 1 found wrong or failed, 2 asked wrongly)."""

import argparse
import asyncio
from collections.abc import Sequence

from shared.errors import ConfigError, FarmError
from voicefarm.commands import call, demo, doctor, tail, up
from voicefarm.io.screen import complain

_COMMANDS = (demo, up, call, tail, doctor)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="voicefarm",
        description="A farm of telephony voice agents on this machine: start it, call it, watch it.",
    )
    words = top.add_subparsers(dest="word", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(words)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """The whole program; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        return int(asyncio.run(args.run(args)))
    except ConfigError as error:
        complain(f"configuration: {error}")
        return 2
    except FarmError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
