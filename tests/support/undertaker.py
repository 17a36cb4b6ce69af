"""Ends what a killed test run leaves behind: reads `+GROUP` and `-GROUP` lines until its input ends, then kills the groups
that were not taken off. A program of its own, in a session of its own, so that it outlives the run by a moment.
"""

import os
import signal
import sys
from collections.abc import Iterable


def orphans(lines: Iterable[str]) -> set[int]:
    """Process groups that were begun and not ended."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    return groups


if __name__ == "__main__":
    for group in orphans(sys.stdin):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
