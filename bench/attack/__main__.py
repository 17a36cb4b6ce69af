"""`python -m bench.attack [--seconds 4] [--calls 200] [--rate 20000] [--out docs/bench-attack.md]`

Attacks on the media of real calls (a media worker, a Redis, callers, attackers on other loopback addresses). All calls have a
tone of their own; the attackers' is 1,900 Hz. Their tone is looked for, in every frame of 20 ms, in what the caller hears, in the
recording (both sides) and in what speech to text is given; whatever reaches an attacker's socket is counted. The last row is
the control: it must not be clean. Then what a spray costs. Exit status 1 when anything was injected or leaked.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.attack.cost import Cost, costs
from bench.attack.scenarios import SCENARIOS, Outcome, control, run
from bench.attack.victims import ground
from tests.support.processes import redis_server


async def attacks(seconds: float) -> tuple[list[Outcome], Outcome]:
    with redis_server() as url, tempfile.TemporaryDirectory() as folder:
        async with ground(url, Path(folder)) as place:
            found = [await run(place, scenario, seconds) for scenario in SCENARIOS]
            return found, await run(place, control, seconds)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        "| attack | datagrams sent | reached an attacker | frames with the attackers' tone | caller's frames echoed | refused by the engine |",
        "|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        places = ", ".join(f"{place} {count}" for place, count in one.injected.items())
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(one.refused.items()))
        lines.append(
            f"| {one.name} | {one.sent} | {one.leaked} | {places} | {one.caller_frames} | {reasons} |"
        )
    return lines


def cost_table(found: Sequence[Cost]) -> list[str]:
    lines = [
        "| sprayed | CPU of the media process | jitter of the returned streams, p99 | packets back | taken from the sprayed caller | refused by the engine |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {one.name} | {one.cpu_share:.1%} of a core | {_ms(one.jitter_p99_ms)} | {one.returned:.3f} | {one.victim} | {one.refused} |"
        for one in found
    ]


def _ms(jitter: float) -> str:
    return f"{jitter:.2f} ms" if jitter >= 0 else "not to be told: the generator was late throughout"


def page(lines: list[str], cost_lines: list[str], words: Sequence[str], what: argparse.Namespace) -> str:
    head = (__doc__ or "").partition("\n\n")[2].strip()
    return "\n".join([
        "# Attacks on media", "", head, "",
        (f"Machine: {os.cpu_count()} cores, Linux {os.uname().release}, Python {sys.version.split()[0]}. "
        f"Run: `python -m bench.attack {' '.join(words)}`. What each reason means: [media security](media-security.md)."),
        "", *lines, "",
        ("Sprays that the kernel dropped (the socket is connected to its caller) are not in the last column. The control is a call "
        "without SRTP and an attacker on its path: what only SRTP prevents."), "",
        f"## A spray of {what.rate:.0f} packets a second on one of {what.calls} echo calls, {what.seconds:.0f} s", "",
        *cost_lines, "",
    ])  # fmt: skip


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.attack")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--out", type=Path)
    what = parser.parse_args(words)
    found, on_path = asyncio.run(attacks(what.seconds))
    lines = table([*found, on_path])
    print("\n".join(lines), "", sep="\n", flush=True)
    cost_lines = cost_table(costs(what.calls, what.seconds, what.rate))
    print("\n".join(cost_lines))
    if what.out:
        what.out.write_text(page(lines, cost_lines, words, what))
    return 0 if all(one.clean for one in found) and not on_path.clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
