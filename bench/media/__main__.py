"""`python -m bench.media [--only echo,network,...] [--counts 200,1000,2000] [--seconds 3] [--rounds 2] [--out DIRECTORY]`

CPU-ms per call-second of a minimal C epoll echo, of our engine and of aiortp, measured side by side in one run: calls of
continuous G.711 with 20 ms packets, and our engine also with other codecs, in rooms, over a bad network, and as a whole
media worker with agents. Only the serving process's processor time counts, read from its CPU clock while the load is
steady. A machine that others use drifts: trust the ratios, which are of neighbours in time (median of the rounds).
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.media import farm_agents
from bench.media.scenarios import codecs, echo, impaired, rooms
from bench.media.tables import bars, page
from bench.media.under_load import compile_c, servers

SCENARIOS = ("echo", "codecs", "rooms", "network", "agents")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.media")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="of " + ", ".join(SCENARIOS))
    parser.add_argument("--counts", default="200,1000,2000", help="echo calls")
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sockets", default="auto")
    parser.add_argument("--without", default="", help="servers left out, of: aiortp echo, aiortp call")
    parser.add_argument("--out", type=Path, help="directory for bench-media.md and img/bench-media.svg")
    words = sys.argv[1:]
    options = parser.parse_args(words)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    begun = time.monotonic()
    parts: list[str] = []
    picture = ""
    wanted = options.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load, every = compile_c("load", folder), servers(folder)
        for left_out in filter(None, options.without.split(",")):
            every.pop(left_out.strip())
        run = (every, load, options.seconds, options.rounds)
        if "echo" in wanted:
            counts = [int(word) for word in options.counts.split(",")]
            lines, taken = echo(*run, counts, options.sockets)
            parts += lines
            picture = bars(taken)
        if "codecs" in wanted:
            parts += codecs(*run, folder)
        if "rooms" in wanted:
            parts += rooms(*run)
        if "network" in wanted:
            parts += impaired(*run)
        if "agents" in wanted:
            parts += farm_agents.run(load, folder, options.agents, max(10.0, options.seconds))
    spent = time.monotonic() - begun
    text = page((__doc__ or "").partition("\n\n")[2].strip(), parts, words, spent, os.getloadavg()[0])
    if options.out:
        (options.out / "bench-media.md").write_text(text, encoding="utf-8")
        if picture:
            (options.out / "img" / "bench-media.svg").write_text(picture, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
