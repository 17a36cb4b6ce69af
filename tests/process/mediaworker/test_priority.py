"""The tick's thread asks the kernel for real time, and steps back when it cannot keep up."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from mediaworker.io.priority import BESIDE, NICE, REALTIME, STEP_BACK_S, TickPriority, beside_tick

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="scheduling classes are Linux's"),
]

KERNEL_CLASSES = {"realtime": os.SCHED_FIFO, "nice": os.SCHED_OTHER, "none": os.SCHED_OTHER}


def in_a_thread(do: Callable[[], None]) -> None:
    """The test's own thread keeps its priority."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(do).result()


def scheduler() -> int:
    return os.sched_getscheduler(threading.get_native_id()) & ~os.SCHED_RESET_ON_FORK


def test_the_best_that_is_allowed_is_taken_and_only_by_this_thread() -> None:
    before = scheduler()

    def do() -> None:
        priority = TickPriority()
        assert priority.kind == "none"
        kind = priority.ask()
        assert scheduler() == KERNEL_CLASSES[kind]
        if os.geteuid() == 0:
            assert kind == "realtime"
        children: list[int] = []
        child = threading.Thread(target=lambda: children.append(scheduler()))
        child.start()
        child.join()
        assert children == [os.SCHED_OTHER]

    in_a_thread(do)
    assert scheduler() == before


def test_who_gives_up_rounds_steps_back_for_a_while() -> None:
    def do() -> None:
        priority = TickPriority()
        if priority.ask() != "realtime":
            pytest.skip("no right to real time here")
        priority.each_second(0)
        assert (priority.kind, scheduler()) == ("realtime", os.SCHED_FIFO)
        priority.each_second(3)
        assert (priority.kind, scheduler()) == ("nice", os.SCHED_OTHER)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == NICE
        for _ in range(STEP_BACK_S - 1):
            priority.each_second(3)
        priority.each_second(4)
        assert priority.kind == "nice", "still late: the rest begins anew"
        for _ in range(STEP_BACK_S):
            assert priority.kind == "nice"
            priority.each_second(4)
        assert (priority.kind, scheduler()) == ("realtime", os.SCHED_FIFO)

    in_a_thread(do)


def test_rounds_given_up_before_anything_was_asked_for_change_nothing() -> None:
    def do() -> None:
        priority = TickPriority()
        priority.each_second(7)
        assert (priority.kind, scheduler()) == ("none", os.SCHED_OTHER)

    in_a_thread(do)


def test_threads_that_share_the_interpreter_are_real_time_below_the_tick() -> None:
    def do() -> None:
        beside_tick()
        wanted = os.SCHED_FIFO if TickPriority().ask() == "realtime" else os.SCHED_OTHER
        beside_tick()
        assert scheduler() == wanted
        if wanted == os.SCHED_FIFO:
            assert os.sched_getparam(threading.get_native_id()).sched_priority == BESIDE < REALTIME

    in_a_thread(do)
