"""`python -m bench.fuzz [TARGET ...] [--count 1000000] [--seed 1] [--out docs/bench-fuzz.md]`

Damaged datagrams through every parser that reads what strangers send; without a target, all of them. A parser must not raise,
must not keep anything, and must not harm another leg. Memory is compared after a fifth of the datagrams and at the end
(resident), and over a slice by object (tracemalloc). The same seed gives the same datagrams. Exit status 1 on an exception
or a leak.
"""

import argparse
import gc
import itertools
import os
import sys
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fuzz.mutator import Mutator
from bench.fuzz.targets import TARGETS, Step
from bench.fuzz.whole_engine import whole_engine

ALL = {**TARGETS, "engine": whole_engine}
RSS_LEAK_BYTES = 8 << 20
OBJECT_LEAK_BYTES = 64 << 10
SLICES = 3
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Result:
    name: str
    datagrams: int
    seconds: float
    rss_growth: int
    object_growth: int
    """Bytes that objects made in a slice still hold after it."""

    @property
    def leaks(self) -> bool:
        return self.rss_growth > RSS_LEAK_BYTES or self.object_growth > OBJECT_LEAK_BYTES


def feed(step: Step, count: int) -> int:
    done = 0
    while done < count:
        done += step()
    return done


def fuzz(name: str, count: int, seed: int) -> Result:
    step = ALL[name](Mutator(seed))
    begun = time.monotonic()
    done = feed(step, count // 5)
    before = _resident()
    done += feed(step, count - count // 5 - count // 50)
    growth = _resident() - before
    kept, slices_done = _kept(step, count // (50 * (SLICES + 1)))
    done += slices_done
    return Result(name, done, time.monotonic() - begun, growth, kept)


def _kept(step: Step, slice_of: int) -> tuple[int, int]:
    """Bytes kept of a slice: the least of several, for the interpreter enlarges a table of its own now and then."""
    tracemalloc.start()
    done, held = feed(step, slice_of), []
    for _ in range(SLICES + 1):
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        done += feed(step, slice_of) if len(held) <= SLICES else 0
    tracemalloc.stop()
    return min(after - before for before, after in itertools.pairwise(held)), done


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def row(result: Result) -> str:
    return (
        f"| {result.name} | {result.datagrams:,} | {result.seconds:.0f} s | none | {result.rss_growth / 1024:+.0f} kB | "
        f"{result.object_growth / 1024:+.1f} kB |"
    )


HEAD = "| target | datagrams | time | exceptions | resident memory | objects kept of a slice |\n|---|---|---|---|---|---|"


def page(results: Sequence[Result], words: Sequence[str]) -> str:
    head = (__doc__ or "").partition("\n\n")[2].strip()
    return "\n".join([
        "# Fuzzing", "", head, "",
        f"Run: `python -m bench.fuzz {' '.join(words)}`, Python {sys.version.split()[0]}.", "", HEAD,
        *(row(result) for result in results), "",
        ("`engine` is the whole receive path with legs of every codec, with SRTP, with RTCP on either port, echoing what "
        "they hear, and one leg beside them that must be heard without a gap all the while."), "",
    ])  # fmt: skip


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(ALL))
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    what = parser.parse_args(words)
    unknown = set(what.targets) - set(ALL)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    print(HEAD)
    results = []
    for name in what.targets or ALL:
        results.append(fuzz(name, what.count, what.seed))
        print(row(results[-1]), flush=True)
    if what.out:
        what.out.write_text(page(results, words))
    return int(any(result.leaks for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
