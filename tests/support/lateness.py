"""How late this machine lets those be who want to be on time: what a test adds to a bound on time that it measured itself.

A bound tight enough to mean something is broken on a busy machine by the test's own processes, which wait their turn like all
others. On an idle machine what is added is a millisecond or two.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STEP_S = 0.01


class Lateness:
    """A thread per processor, for they are not equally busy, that sleeps for a hundredth of a second again and again."""

    def __init__(self, processors: set[int]) -> None:
        self._worst_s = dict.fromkeys(processors, 0.0)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(number,), name=f"lateness {number}", daemon=True)
            for number in processors
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def worst_ms(self) -> float:
        """The latest anybody woke."""
        return 1_000 * max(self._worst_s.values())

    def _watch(self, processor: int) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {processor})  # of this thread
        while not self._stop.is_set():
            due = time.monotonic() + STEP_S
            time.sleep(STEP_S)
            self._worst_s[processor] = max(self._worst_s[processor], time.monotonic() - due)


@contextmanager
def lateness() -> Iterator[Lateness]:
    """Watches while the block runs."""
    meter = Lateness(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0})
    meter.start()
    try:
        yield meter
    finally:
        meter.stop()
