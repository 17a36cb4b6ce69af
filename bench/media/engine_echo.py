"""Our engine as an echo of N calls in one process: `python -m bench.media.engine_echo BASE_PORT STEP N SOURCE_PORT`.

The real path: sockets, source pinning, jitter ring, statistics, decoding, echo, encoding, RTCP. Ends on SIGTERM.
"""

import gc
import signal
import sys

from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.sockets import open_sockets
from shared.contracts import MediaFormat, RtpEndpoint


def main() -> None:
    base, step, count, source = (int(word) for word in sys.argv[1:5])
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    engine = Engine(count)
    sockets = open_sockets(engine, "127.0.0.1")
    loop = MediaLoop(engine, sockets)
    for number in range(count):
        setup = LegSetup(
            rtp_port=base + step * number, remote=RtpEndpoint(host="127.0.0.1", rtp_port=source + 2 * number),
            format=MediaFormat(codec="PCMU", payload_type=0), echo=True,
        )  # fmt: skip
        row = engine.open(setup, 0)
        sockets.bind_pair(setup.rtp_port, row)
        engine.start(row, 0)
    gc.collect()
    gc.freeze()
    gc.disable()
    print("READY", flush=True)
    while not stopped:
        loop.step()
    totals = engine.snapshot().totals
    took = engine.tick_times
    print(totals, dict(engine.rejected), "overruns", loop.schedule.overruns, "skipped", loop.schedule.skipped)
    print("ticks", list(zip(took.bounds, took.counts, strict=False)))
    sockets.close_all()


if __name__ == "__main__":
    main()
