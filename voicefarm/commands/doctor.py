"""`voicefarm doctor`: what on this machine stands in the way of calls, and how to mend it. Exit status 1 if anything does."""

import argparse
import os

from shared.config import load
from voicefarm.commands.farm_options import add_var_argument
from voicefarm.core.checkup import Grade, examine, worst
from voicefarm.io.run_file import read_farm
from voicefarm.io.screen import say
from voicefarm.io.survey import survey

_SIGN = {Grade.FINE: "ok  ", Grade.WARN: "warn", Grade.BAD: "BAD "}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "doctor", help="find out what is wrong with this machine, and the mend", description=__doc__
    )
    parser.add_argument(
        "--config", default="", metavar="FILE", help="configuration file (default: $VOICEFARM_CONFIG)"
    )
    parser.add_argument(
        "--media-workers", type=int, default=1, metavar="N", help="that are to run here (default 1)"
    )
    add_var_argument(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    config = load(args.config or os.environ.get("VOICEFARM_CONFIG"))
    farm = read_farm(args.var)
    if farm:
        say(f"a farm runs here: pid {farm.pid}, {'ready' if farm.ready else 'not ready'}")
        for process in farm.processes:
            again = f", restarted {process.restarts} times" if process.restarts else ""
            say(f"  {process.name:9} {process.state}{again}  {process.log}")
    checks = examine(config, await survey(config, farm), args.media_workers)
    for check in checks:
        say(f"{_SIGN[check.grade]} {check.about:16} {check.found}")
        if check.mend:
            say(f"     {'':16} -> {check.mend}")
    grade = worst(checks)
    say(
        {
            Grade.FINE: "nothing is wrong",
            Grade.WARN: "calls will work; see the warnings",
            Grade.BAD: "calls will not work here",
        }[grade]
    )
    return 1 if grade is Grade.BAD else 0
