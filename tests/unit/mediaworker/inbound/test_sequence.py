import numpy as np
import pytest

from mediaworker.core.inbound import sequence
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit

AT = np.array([0])


def started(first: int) -> Rows:
    rows = Rows(1, 1)
    rows.take(0)
    rows.ext_max[0] = rows.base_ext[0] = first
    rows.received[0] = 1
    return rows


def feed(rows: Rows, seq: int) -> tuple[int, bool]:
    ext, jumped, _ = sequence.extend(rows, AT, np.array([seq & 0xFFFF]))
    refused = bool(jumped[0]) if jumped is not None else False
    rows.received[0] += not refused
    return int(ext[0]), refused


@pytest.mark.parametrize("first", [(65_536 - 8 + step) & 0xFFFF for step in range(16)])
def test_numbers_go_on_over_the_wrap_from_every_start_point(first: int):
    rows = started(first)
    for step in range(1, 20):
        assert feed(rows, first + step) == (first + step, False)
    assert sequence.expected(rows, AT)[0] == 20


def test_an_older_packet_gets_its_own_number_and_moves_nothing():
    rows = started(10)
    feed(rows, 12)
    assert feed(rows, 11) == (11, False)
    assert rows.ext_max[0] == 12


def test_an_older_packet_from_before_the_wrap():
    rows = started(65_534)
    feed(rows, 65_537)
    assert feed(rows, 65_535) == (65_535, False)


def test_a_jump_is_refused_once_and_believed_when_it_goes_on():
    rows = started(10)
    assert feed(rows, 30_000)[1]
    assert rows.ext_max[0] == 10
    assert feed(rows, 30_001) == (30_001, False)
    assert feed(rows, 30_002) == (30_002, False)


def test_a_jump_that_does_not_go_on_is_forgotten():
    rows = started(10)
    assert feed(rows, 30_000)[1]
    assert feed(rows, 11) == (11, False)
    assert feed(rows, 40_000)[1]


def test_what_was_expected_before_a_jump_stays_expected():
    rows = started(10)
    feed(rows, 14)
    feed(rows, 30_000)
    feed(rows, 30_001)
    assert sequence.expected(rows, AT)[0] == 5 + 1


def test_nothing_is_expected_before_the_first_packet():
    rows = Rows(1, 1)
    rows.take(0)
    assert sequence.expected(rows, AT)[0] == 0


@pytest.mark.parametrize(
    ("came", "before", "number", "missing"),
    [
        ([1, 2, 3], 1, 3, 0),
        ([1, 3], 1, 3, 1),
        ([1, 3, 2], 1, 3, 0),
        ([1, 3, 6], 1, 6, 3),
        ([1, 3, 6], 1, 7, 3),
        ([5, 9], 9, 5, 0),
        ([1, 2, 200], 1, 200, 198),
        ([1, 100, 101, 102], 1, 102, 98),
        ([*range(1, 70)], 1, 69, 4),
    ],
)
def test_numbers_between_two_that_never_came(came: list[int], before: int, number: int, missing: int):
    rows = Rows(1, 1)
    for ext in came:
        sequence.repeated(rows, np.array([0]), np.array([ext]))
    found = sequence.missing(rows, np.array([0]), np.array([before]), np.array([number]))
    assert found.tolist() == [missing]
