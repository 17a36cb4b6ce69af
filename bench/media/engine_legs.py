"""Our engine in one process: `python -m bench.media.engine_legs BASE_PORT STEP N SOURCE_PORT [KEY=VALUE ...]`.

The real path: sockets, source pinning, jitter ring, statistics, decoding, echo or a room, encoding, RTCP. Keys: `codec`, `type`,
`rate` (PCMU, 0, 8000), `room` (legs per room; without: every leg is its own echo), `sockets` (auto), `phases` (2),
`record` (a directory: every leg is recorded). It says READY, ends on SIGTERM, and prints a line of JSON.
"""

import gc
import json
import os
import resource
import signal
import sys
import time
from typing import Any

import numpy as np

from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.sockets import name_of, open_sockets
from shared.contracts import MediaFormat, RtpEndpoint

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE


def open_legs(words: list[str]) -> tuple[Engine, Any, dict[str, float]]:
    base, step, count, source = (int(word) for word in words[:4])
    keys = dict(word.split("=", 1) for word in words[4:])
    room = int(keys.get("room", "0"))
    wanted = MediaFormat(
        codec=keys.get("codec", "PCMU"), payload_type=int(keys.get("type", "0")), clock_rate_hz=int(keys.get("rate", "8000"))
    )  # fmt: skip
    before, begun = resident_bytes(), time.perf_counter()
    engine = Engine(count, phases=int(keys.get("phases", "2")))
    sockets = open_sockets(engine, "127.0.0.1", keys.get("sockets", "auto"))
    for number in range(count):
        setup = LegSetup(
            rtp_port=base + step * number, remote=RtpEndpoint(host="127.0.0.2", rtp_port=source + 2 * number),
            format=wanted, echo=not room, room=number // room if room else -1,
        )  # fmt: skip
        row = engine.open(setup, time.monotonic_ns())
        sockets.bind_pair(setup.rtp_port, row)
        engine.start(row, time.monotonic_ns())
    return engine, sockets, {"rss_before": before, "open_s": time.perf_counter() - begun}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    engine, sockets, known = open_legs(sys.argv[1:])
    loop = MediaLoop(engine, sockets)
    gc.collect()
    gc.freeze()
    gc.disable()
    print("READY", flush=True)
    slots = 0
    before = (0, 0)
    while not stopped:
        loop.step()
        slots += 1
        if slots == 25:  # what was late while the legs were opened is not the load's
            before = (loop.schedule.overruns, loop.schedule.skipped)
    for _ in range(8 * engine.phases):  # what still lies in the sockets counts as well
        loop.step()
    totals = engine.snapshot().totals
    legs = max(1, totals["legs"])
    late = int(np.sum(engine.rows.late))
    print(json.dumps({
        "sockets": name_of(sockets), "packets_in": totals["packets_in"], "packets_out": totals["packets_out"],
        "concealed": totals["concealed"], "late": late, "send_errors": totals["send_errors"], "rejected": dict(engine.rejected),
        "slots": slots - 25, "overruns": loop.schedule.overruns - before[0], "skipped": loop.schedule.skipped - before[1],
        "leg_kb": (resident_bytes() - known["rss_before"]) / legs / 1_024, "open_s": known["open_s"],
    }))  # fmt: skip
    sockets.close_all()


if __name__ == "__main__":
    main()
