import pytest

from mediaworker.io.schedule import CATCH_UP_NS, Schedule

pytestmark = pytest.mark.unit

MS = 1_000_000


def test_slots_are_absolute_whatever_time_they_are_served():
    schedule = Schedule(2, 1_000 * MS)
    assert schedule.wait_ns(990 * MS) == 10 * MS
    begun = [schedule.begin(int((1_000 + 10 * slot + slot % 3) * MS)) for slot in range(100)]
    assert begun == [(1_000 + 10 * slot) * MS for slot in range(100)]
    assert schedule.due_ns == 2_000 * MS


def test_a_short_stall_is_caught_up_slot_by_slot():
    schedule = Schedule(1, 0)
    now = 150 * MS
    begun = []
    while not schedule.wait_ns(now):
        begun.append(schedule.begin(now))
    assert begun == [slot * 20 * MS for slot in range(8)]
    assert schedule.skipped == 0


@pytest.mark.parametrize("phases", [1, 2, 4])
def test_a_long_stall_is_skipped_in_whole_rounds(phases: int):
    schedule = Schedule(phases, 0)
    slot = schedule.begin(5_007 * MS)
    assert slot % (20 * MS) == 0
    assert 5_007 * MS - slot <= CATCH_UP_NS
    assert schedule.skipped == slot // (20 * MS)


def test_work_beyond_the_next_slot_is_an_overrun():
    schedule = Schedule(2, 0)
    schedule.begin(0)
    schedule.end(10 * MS)
    assert schedule.overruns == 0
    schedule.begin(10 * MS)
    schedule.end(20 * MS + 1)
    assert schedule.overruns == 1


@pytest.mark.parametrize("phases", [1, 2, 4])
def test_rounds_count_what_was_skipped(phases: int):
    schedule = Schedule(phases, 0)
    rounds = []
    for now in [0, 20 * MS, 40 * MS, 5_000 * MS, 5_020 * MS]:
        while not schedule.wait_ns(now):
            slot = schedule.begin(now)
            assert schedule.round == slot // (20 * MS)
            rounds.append(schedule.round)
    assert rounds[-1] >= 249
    assert schedule.skipped > 200
