"""`python -m bench.playout [--seconds 3600]`: the tables of docs/jitter-buffer.md, in virtual time.

Bad networks for a minute each and drifting clocks for `--seconds`; about three minutes of one core for the hour.
"""

import argparse

import numpy as np

from tests.support import impaired


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3_600, help="how long clocks drift")
    seconds = parser.parse_args().seconds
    networks = impaired.must_show(offsets=(1.0, 4.0, 7.0, 10.0, 13.0, 16.0, 18.0))
    print(impaired.table(networks, impaired.carry(networks)))
    drifts = impaired.drifting(5, seconds)
    heard = impaired.carry(drifts)
    print()
    print(impaired.table(drifts, heard))
    for network, what in zip(drifts, heard, strict=True):
        tenths = [round(float(np.percentile(part, 95)), 1) for part in np.array_split(what.delay_ms, 10)]
        print(f"{network.name}: p95 of each tenth of {seconds} s: {tenths} ms")


if __name__ == "__main__":
    main()
