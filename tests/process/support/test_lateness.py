"""The meter of a busy machine tells how long it was kept waiting."""

import ctypes
import os

import pytest

from tests.support.lateness import lateness

pytestmark = pytest.mark.process


def test_who_is_kept_from_running_is_told_for_how_long() -> None:
    with lateness() as late:
        ctypes.PyDLL(None).usleep(300_000)  # with the interpreter's lock in hand
    assert late.worst_ms >= 250


def test_the_rest_of_the_process_may_run_anywhere_as_before() -> None:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    with lateness():
        pass
    after = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    assert before == after
