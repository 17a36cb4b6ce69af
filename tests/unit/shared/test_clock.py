"""Clocks: the virtual one moves only when told, the real one forward."""

import pytest

from shared.clock import SystemClock, VirtualClock

pytestmark = pytest.mark.unit


def test_virtual_clock_moves_both_times_when_advanced() -> None:
    clock = VirtualClock(start_ns=5, wall_offset_ns=100)
    assert (clock.now_ns(), clock.wall_ns()) == (5, 105)
    clock.advance(10)
    assert (clock.now_ns(), clock.wall_ns()) == (15, 115)


def test_virtual_clock_refuses_to_run_back() -> None:
    with pytest.raises(ValueError, match="run back"):
        VirtualClock().advance(-1)


def test_system_clock_does_not_run_back() -> None:
    clock = SystemClock()
    assert clock.now_ns() <= clock.now_ns()
    assert clock.wall_ns() > 1_600_000_000_000_000_000
