import pytest

from mediaworker.core.rows import NO_FRAME, Rows

pytestmark = pytest.mark.unit


def test_rows_of_a_phase_are_taken_from_the_lowest_on():
    rows = Rows(4, 2)
    assert [rows.take(0), rows.take(0), rows.take(1)] == [0, 1, 4]
    assert (rows.span(0), rows.span(1)) == (slice(0, 2), slice(4, 5))
    assert [rows.phase_of(row) for row in (0, 3, 4, 7)] == [0, 0, 1, 1]


def test_a_span_shrinks_to_the_highest_open_row():
    rows = Rows(4, 1)
    taken = [rows.take(0) for _ in range(4)]
    rows.give(taken[1])
    assert rows.span(0) == slice(0, 4)
    rows.give(taken[3])
    rows.give(taken[2])
    assert rows.span(0) == slice(0, 1)
    assert rows.take(0) == 1


def test_an_empty_phase_has_an_empty_span():
    rows = Rows(2, 2)
    row = rows.take(1)
    rows.give(row)
    assert rows.span(1) == slice(2, 2)
    assert rows.live == [0, 0]


def test_a_row_taken_again_remembers_nothing():
    rows = Rows(1, 1)
    row = rows.take(0)
    rows.received[row] = 9
    rows.top[row] = 5
    rows.caller_pcm[row] = 3
    rows.give(row)
    assert rows.take(0) == row
    assert rows.received[row] == 0
    assert rows.top[row] == NO_FRAME
    assert not rows.caller_pcm[row].any()
