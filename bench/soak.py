"""Two thousand calls, half of them ordinary, and what is left afterwards.

`python -m bench.soak [CALLS] [RATE]` starts a farm of its own (one front, one media worker, a private Redis), places the
calls of `tests/support/soak.py`, and prints what the processes hold before, right after, and when every timer has run out.
Exit status 1 when anything is left.
"""

import asyncio
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from tests.support.farm import farm
from tests.support.soak import Holdings, holdings, soak

WARM_UP = 100


def row(name: str, held: Holdings) -> str:
    return f"{name:14}" + "".join(f"{value:>13}" for value in dataclasses.astuple(held))


def main() -> int:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    config = {"media": {"rtp_timeout_s": 3, "rtp_never_s": 10, "quarantine_s": 2, "capacity": 500}}
    with tempfile.TemporaryDirectory() as directory, farm(Path(directory), config=config) as running:
        print(" " * 14 + "".join(f"{f.name:>13}" for f in dataclasses.fields(Holdings)))
        print(row("fresh", holdings(running)))
        asyncio.run(soak(running.sip, WARM_UP, rate, 2.0))
        base = settled(running)
        print(row("warm", base), flush=True)
        began = time.monotonic()
        result = asyncio.run(soak(running.sip, calls, rate, 2.0))
        print(row("just after", holdings(running)), f"  after {time.monotonic() - began:.0f} s", flush=True)
        left = settled(running)
        print(row("settled", left))
        print("responses:", dict(sorted(result.responses.items())))
        print("failures:", result.failures[:5], len(result.failures), "silent echo calls:", result.silent)
    leaked = {
        name: value
        for name, value in dataclasses.asdict(left).items()
        if name not in {"udp_sockets", "rss_kb"} and value
    }
    print(
        "left:",
        leaked or "nothing",
        f"; UDP sockets {left.udp_sockets - base.udp_sockets:+d}, memory {left.rss_kb - base.rss_kb:+d} kB",
    )
    return 1 if leaked or result.failures or left.udp_sockets > base.udp_sockets else 0


def settled(running: object, timeout_s: float = 90.0) -> Holdings:
    """Holdings when nothing of a call is left, or at the deadline (32 s of Timer F for a BYE nobody answers, quarantine, lingering logs)."""
    deadline = time.monotonic() + timeout_s
    while True:
        held = holdings(running)  # type: ignore[arg-type]
        counted = (
            held.calls,
            held.used_ports,
            held.quarantined,
            held.dialogs,
            held.transactions,
            held.call_keys,
        )
        if not any((*counted, held.call_series)) or time.monotonic() > deadline:
            return held
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main())
