"""`python -m bench.attack.sprayed BASE_PORT CALLS SOURCE_PORT [open]`: echo legs. With `open` there is one more, on the port
pair below, which allows a media network and whose caller says nothing.

Says READY; on SIGTERM a line of JSON: packets taken from the first caller, packets refused.
"""

import gc
import json
import signal
import sys
import time

from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.sockets import open_sockets
from shared.contracts import MediaFormat, RtpEndpoint


def main() -> None:
    base, calls, source = (int(word) for word in sys.argv[1:4])
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    numbers = [*range(calls), *([-1] if "open" in sys.argv else [])]
    engine = Engine(len(numbers))
    sockets = open_sockets(engine, "127.0.0.1")
    first = -1
    for number in numbers:
        setup = LegSetup(
            rtp_port=base + 2 * number, remote=RtpEndpoint(host="127.0.0.2", rtp_port=source + 2 * number),
            format=MediaFormat(codec="PCMU", payload_type=0), echo=True,
            media_cidrs=("198.51.100.0/24",) if number < 0 else (),
        )  # fmt: skip
        row = engine.open(setup, time.monotonic_ns())
        sockets.bind_pair(setup.rtp_port, row)
        engine.start(row, time.monotonic_ns())
        first = row if number == 0 else first
    loop = MediaLoop(engine, sockets)
    gc.collect()
    gc.freeze()
    gc.disable()
    print("READY", flush=True)
    while not stopped:
        loop.step()
    refused = sum(engine.rejected.values())
    print(json.dumps({"victim": engine.stats(first).packets_in, "refused": refused}))
    sockets.close_all()


if __name__ == "__main__":
    main()
