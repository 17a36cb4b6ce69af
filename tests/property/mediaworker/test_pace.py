"""Playout's decisions for several legs at once against one plain leg, tick by tick."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.inbound import jitter, pace, sequence
from mediaworker.core.inbound.delay import FRAME_NS, DelayTarget
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.pace import Pace
from mediaworker.core.inbound.timeline import Act
from mediaworker.core.rows import Rows
from tests.support.reference_pace import Figures, Frame, PlainPace

pytestmark = pytest.mark.property

LEGS = 3
MS = 1_000_000
SPAN = slice(0, LEGS)
QUIET_OCTET = 0xFF

leg = st.integers(0, LEGS - 1)
event = st.one_of(
    st.tuples(st.just("run"), leg, st.integers(1, 12), st.booleans()),
    st.tuples(st.just("run"), leg, st.integers(1, 60), st.just(True)),
    st.tuples(st.just("jump"), leg, st.integers(1, 30), st.booleans()),
    st.tuples(st.just("half"), leg, st.just(1), st.booleans()),
    st.tuples(st.just("goal"), leg, st.integers(0, 140), st.booleans()),
    st.tuples(st.just("noise"), leg, st.just(1), st.booleans()),
    st.tuples(st.just("calm"), leg, st.just(1), st.booleans()),
    st.tuples(st.just("room"), leg, st.just(1), st.booleans()),
    st.tuples(st.just("tick"), leg, st.integers(1, 8), st.booleans()),
    st.tuples(st.just("tick"), leg, st.integers(1, 60), st.booleans()),
)


FIGURES = Figures(
    spare=pace.SPARE_NS / MS, hurry=pace.HURRY_NS / MS, patience=pace.PATIENCE, hurried=pace.HURRY, alive=pace.ALIVE_FRAMES,
    longest=pace.LONGEST_PACKET, window=sequence.WINDOW,
)  # fmt: skip


class Bed:
    """Legs whose frames come when the story says so; `next` is each one's next frame and number."""

    def __init__(self) -> None:
        self.rows = Rows(LEGS, 1)
        self.ring = JitterRing(self.rows)
        self.pace = Pace(self.rows, self.ring, DelayTarget(self.rows, 10 * FRAME_NS))
        self.legs = [PlainPace(jitter.AHEAD, jitter.SLOTS, FIGURES) for _ in range(LEGS)]
        self.next = [(0, 1)] * LEGS
        self.now = 0
        for row in range(LEGS):
            self.rows.take(0)
            self.rows.flowing[row] = True
            self.rows.goal_ns[row] = self.rows.least_ns[row] = 0
            self.rows.last_good[row] = -1

    def insert(self, row: int, *, loud: bool, whole: bool = True) -> None:
        """The sender's next frame, or half of it; what is late or too far ahead is only counted on."""
        frame, number = self.next[row]
        self.next[row] = frame + 1, number + 1
        sequence.repeated(self.rows, np.array([row]), np.array([number]))
        self.legs[row].came.add(number)
        if not self.legs[row].play <= frame < self.legs[row].play + jitter.AHEAD:
            return
        octets = np.random.default_rng(frame).integers(0x80, 0x98, 160) + 128 * np.random.default_rng(
            frame + 1
        ).integers(0, 2, 160)
        packet = np.full((1, 172), QUIET_OCTET, np.uint8)
        if loud:
            packet[0, 12:] = octets
        at, places, numbers = np.array([row]), np.array([frame]), np.array([number])
        if whole:
            self.ring.insert(at, places, numbers, np.array([0]), packet)
        else:
            size = np.array([80])
            self.ring.insert_blocks(at, places * 160, numbers, np.array([0]), packet, np.array([12]), size)
        self.legs[row].insert(frame, Frame(number, whole, loud))

    def tick(self) -> None:
        special = self.pace.step(0, SPAN, self.now)
        acts, steps = [Act.PLAY] * LEGS, [1] * LEGS
        if special is not None:
            for row, act, step in zip(
                special.at.tolist(), special.act.tolist(), special.step.tolist(), strict=True
            ):
                acts[row], steps[row] = Act(act), step
        rows = self.rows
        for row, plain in enumerate(self.legs):
            at = int(rows.play[row])
            assert plain.tick(self.now / MS) == (acts[row].name, at), row
            rows.play[row] += steps[row]
            heard = acts[row] in {Act.PLAY, Act.MERGE}
            rows.hole_run[row] = 0 if heard else rows.hole_run[row] + 1
            if heard:
                rows.last_good[row], rows.waited[row] = rows.play[row] - 1, 0
            assert (plain.play, plain.waited, plain.losses) == (
                int(rows.play[row]), int(rows.waited[row]), int(rows.lost_frames[row]),
            )  # fmt: skip
        self.now += FRAME_NS


@settings(max_examples=200, deadline=None)
@given(st.lists(event, min_size=5, max_size=60))
def test_every_leg_is_played_as_a_plain_one(story: list[tuple[str, int, int, bool]]):
    bed = Bed()
    for kind, row, amount, flag in story:
        plain, rows = bed.legs[row], bed.rows
        if kind == "run":
            for _ in range(amount):
                bed.insert(row, loud=flag)
        elif kind == "half":
            bed.insert(row, loud=flag, whole=False)
        elif kind == "jump":
            frame, number = bed.next[row]
            bed.next[row] = frame + amount, number + (amount if flag else 0)
        elif kind == "goal":
            rows.goal_ns[row], plain.goal = amount * MS, float(amount)
        elif kind == "noise":
            rows.noise[row], plain.noise = 50.0 * flag, flag
        elif kind == "calm":
            rows.calm_ext[row] = plain.calm = bed.next[row][1] - 1
        elif kind == "room":
            rows.caller_pcm[row], plain.loud_room = 9_000 * flag, flag
        else:
            for _ in range(amount):
                bed.tick()


def test_patience_is_of_ticks_in_a_row_whoever_else_is_in_trouble():
    """A delay that was right in between begins to count anew, also where no leg needed a decision then."""
    bed = Bed()
    for _ in range(3):
        bed.tick()
    for row in range(LEGS):
        for _ in range(44):
            bed.insert(row, loud=True)
    for goal, ticks in ((35, pace.PATIENCE - 1), (45, 1), (35, pace.PATIENCE)):
        for row in range(LEGS):
            bed.rows.goal_ns[row], bed.legs[row].goal = goal * MS, float(goal)
        for _ in range(ticks):
            bed.tick()
