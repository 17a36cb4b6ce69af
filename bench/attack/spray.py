"""`python -m bench.attack.spray PORT RATE SECONDS`: RTP of ever new SSRCs from 127.0.0.3, RATE datagrams a second.

A process of its own, so that its cost is not the victim's. Says READY when it begins, and at its end how many it sent.
"""

import contextlib
import socket
import sys
import time

from bench.attack.attackers import HOST, rtp_of_many

BURST_S = 0.002


def spray(port: int, rate: float, seconds: float) -> int:
    make = rtp_of_many(1)
    datagrams = [make(number) for number in range(1_000)]
    each = max(1, round(rate * BURST_S))
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.3", 0))
        print("READY", flush=True)
        began = time.monotonic()
        while (due := began + sent / rate) < began + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            for number in range(each):
                with contextlib.suppress(ConnectionRefusedError):
                    own.sendto(datagrams[(sent + number) % len(datagrams)], (HOST, port))
            sent += each
    return sent


if __name__ == "__main__":
    print(spray(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
