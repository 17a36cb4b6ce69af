"""The queue of deadlines."""

import pytest

from sipfront.core.timers import T1_NS, TIMERS_NS, Due, TimerQueue

pytestmark = pytest.mark.unit


def test_deadlines_come_in_order_and_moved_ones_once():
    queue = TimerQueue()
    for name, at in (("a", 30), ("b", 10), ("c", 20)):
        queue.set(Due("call", 1, name), at)
    queue.set(Due("call", 1, "b"), 40)
    queue.cancel(Due("call", 1, "c"))
    queue.cancel(Due("call", 1, "never"))
    assert (len(queue), queue.next_ns()) == (2, 30)
    assert queue.pop(29) is None
    assert [queue.pop(50), queue.pop(50), queue.pop(50)] == [Due("call", 1, "a"), Due("call", 1, "b"), None]
    assert queue.next_ns() is None


def test_cancelled_deadlines_take_no_memory():
    queue = TimerQueue()
    for number in range(10_000):
        queue.set(Due("call", number, "x"), number)
        queue.cancel(Due("call", number, "x"))
    assert len(queue._heap) < 100


def test_values_are_those_of_rfc_3261_table_4():
    assert TIMERS_NS["A"] == T1_NS
    for name in "BFHJL":
        assert TIMERS_NS[name] == 64 * T1_NS
    assert TIMERS_NS["I"] == TIMERS_NS["K"] == 5 * 10**9
