import numpy as np
import pytest

from mediaworker.core.outbound.output import Output
from mediaworker.core.outbound.playout import Playout
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows

pytestmark = pytest.mark.unit


class Bed:
    def __init__(self, legs: int, *, echo: tuple[int, ...] = (), rooms: dict[int, int] | None = None) -> None:
        self.rows = Rows(legs, 1)
        self.playout = Playout(legs, legs)
        self.transmitter = Transmitter(self.rows, np.random.default_rng(1))
        self.output = Output(self.rows, self.playout, self.transmitter)
        for row in range(legs):
            self.rows.take(0)
            self.transmitter.open(row, 0)
            self.rows.started[row] = self.rows.sends[row] = True
            self.rows.echo[row] = row in echo
            self.rows.room[row] = (rooms or {}).get(row, -1)
            self.rows.caller_pcm[row] = 100 * (row + 1)
        self.changed()

    def changed(self) -> None:
        self.transmitter.changed(0)
        self.output.changed(0)

    def compose(self) -> list[int]:
        """The first sample each leg is sent."""
        self.output.compose(0, self.rows.span(0), 1)
        return self.rows.sent_pcm[:, 0].tolist()


def test_every_leg_gets_its_own():
    bed = Bed(5, echo=(0,), rooms={1: 9, 2: 9, 3: 4})
    assert bed.compose() == [100, 300, 200, 0, 0]


def test_all_echo_is_all_echo():
    assert Bed(3, echo=(0, 1, 2)).compose() == [100, 200, 300]


def test_what_is_said_to_a_leg_is_added_to_its_room_and_clipped():
    bed = Bed(2, rooms={0: 1, 1: 1})
    bed.rows.caller_pcm[1] = 32_000
    bed.playout.queue(0, 1, 0, np.full(160, 5_000, np.int16), last=True)
    assert bed.compose() == [32_767, 100]
    assert bed.compose() == [32_000, 100]


def test_a_leg_with_nothing_to_hear_falls_silent_after_its_playout():
    bed = Bed(2)
    bed.playout.queue(1, 1, 0, np.full(160, 700, np.int16), last=True)
    assert bed.compose() == [0, 700]
    assert bed.compose() == [0, 0]


def test_a_held_leg_keeps_what_is_said_to_it_for_later():
    bed = Bed(1)
    bed.playout.queue(0, 1, 0, np.full(160, 700, np.int16), last=True)
    bed.rows.sends[0] = False
    bed.changed()
    assert bed.compose() == [0]
    bed.rows.sends[0] = True
    bed.changed()
    assert bed.compose() == [700]


def test_legs_not_started_are_in_no_room_and_not_recorded():
    bed = Bed(3, rooms={0: 1, 1: 1, 2: 1})
    bed.rows.record[:] = True
    bed.rows.started[2] = False
    bed.changed()
    assert bed.compose()[:2] == [200, 100]
    assert bed.output.record_rows(0).tolist() == [0, 1]


def test_wide_legs_are_recorded_apart_and_hear_at_their_rate():
    bed = Bed(3, echo=(0, 1, 2))
    bed.rows.record[:] = bed.rows.wide[1] = True
    bed.rows.caller_wide[1] = 900
    bed.changed()
    for _ in range(3):
        bed.compose()
    assert bed.output.record_rows(0).tolist() == [0, 2]
    assert bed.output.record_wide(0).tolist() == [1]
    assert bed.rows.sent_wide[1].tolist() == [900] * 320
    assert abs(int(bed.rows.sent_pcm[1, -1]) - 900) <= 2, "the same at 8 kHz"
    assert not bed.rows.sent_wide[[0, 2]].any()


def test_a_held_leg_is_sent_and_recorded_as_silence_and_still_heard_in_its_room():
    bed = Bed(3, rooms={0: 1, 1: 1, 2: 1})
    bed.compose()
    bed.rows.sends[0] = False
    bed.changed()
    assert bed.compose() == [0, 400, 300]


def test_a_wide_leg_that_hears_nothing_is_sent_silence():
    bed = Bed(1)
    bed.rows.wide[0] = True
    bed.output.set_rate(0)
    bed.changed()
    bed.playout.queue(0, 1, 0, np.full(320, 700, np.int16), last=True)
    bed.compose()
    assert bed.rows.sent_wide[0].tolist() == [700] * 320
    bed.compose()
    assert not bed.rows.sent_wide[0].any()
    assert not bed.rows.sent_pcm[0].any()
