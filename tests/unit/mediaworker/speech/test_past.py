"""The pre-roll of coded legs: the frames before this one, at the leg's rate, without what was made up."""

import numpy as np
import pytest

from mediaworker.core.inbound.jitter import PAST_FRAMES
from mediaworker.core.rows import Rows
from mediaworker.core.speech.past import CodedPast

pytestmark = pytest.mark.unit

NOTHING = np.zeros(0, np.int16)


@pytest.fixture
def rows() -> Rows:
    made = Rows(4, 1)
    made.wide[:2] = True
    return made


def say(rows: Rows, past: CodedPast, number: int, waiting: tuple[int, ...] = ()) -> None:
    """Every row's frame of this tick is `number`, ten times the row on top."""
    at = np.arange(3)
    for row in at:
        rows.caller_wide[row] = number + 100 * row
        rows.caller_pcm[row] = number + 100 * row
    past.keep(at, dict.fromkeys(waiting, NOTHING))


def numbers(pcm: np.ndarray, size: int) -> list[int]:
    frames = pcm.reshape(-1, size)
    assert (frames == frames[:, :1]).all()
    return frames[:, 0].tolist()


def test_frames_before_this_one_at_the_rate_of_the_row(rows: Rows) -> None:
    past = CodedPast(rows)
    for number in range(10):
        say(rows, past, number)
    assert numbers(past.before(0, 3), 320) == [6, 7, 8]
    assert numbers(past.before(1, 2), 320) == [107, 108]
    assert numbers(past.before(2, 4), 160) == [205, 206, 207, 208]


@pytest.mark.parametrize("said", [1, 2, PAST_FRAMES - 1, PAST_FRAMES, PAST_FRAMES + 1, 3 * PAST_FRAMES + 5])
@pytest.mark.parametrize("wanted", [0, 1, 12, PAST_FRAMES - 1, 1_000])
def test_never_more_than_there_is_and_always_the_newest(rows: Rows, said: int, wanted: int) -> None:
    past, plain = CodedPast(rows), list(range(said))
    for number in plain:
        say(rows, past, number)
    kept = plain[:-1][-min(wanted, PAST_FRAMES - 1) :] if wanted else []
    assert numbers(past.before(0, wanted), 320) == kept


def test_what_was_made_up_while_playout_waited_is_left_out(rows: Rows) -> None:
    past = CodedPast(rows)
    for number in range(8):
        say(rows, past, number, waiting=(0,) if number in {3, 4} else ())
    assert numbers(past.before(0, 5), 320) == [0, 1, 2, 5, 6]
    assert numbers(past.before(1, 5), 320) == [102, 103, 104, 105, 106]
    say(rows, past, 8, waiting=(0,))
    assert numbers(past.before(0, 2), 320) == [6, 7]  # this tick's frame is none of the caller's


def test_row_that_is_opened_again_or_changes_its_rate_has_no_past(rows: Rows) -> None:
    past = CodedPast(rows)
    say(rows, past, 1)
    say(rows, past, 2)
    past.forget(0)
    rows.wide[1] = False
    say(rows, past, 3)
    say(rows, past, 4)
    assert numbers(past.before(0, 9), 320) == [3]
    assert numbers(past.before(1, 9), 160) == [103]
    assert numbers(past.before(2, 9), 160) == [201, 202, 203]
