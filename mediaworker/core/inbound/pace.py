"""When a frame is heard: playout goes on, waits, passes what is lost, and gives back delay that is not needed.

A frame is due when the leg's delay (time of the tick minus the frame's own) has reached the goal of `delay`. Nothing due: with
later frames there it is a loss, otherwise playout waits, and what was waited counts for the loss it may turn out to be
(decision 0005). A frame of delay too much is given back by leaving out one (`splice`) where it is not heard, and
otherwise when it has lasted; one too little is added where it is quiet or something is missing anyway. A silence of the
sender's (no number is missing) takes as long as the delay wants. Must not make sound.
"""

from typing import Final, NamedTuple

import numpy as np

from mediaworker.core.inbound import losses, sequence, splice
from mediaworker.core.inbound.delay import FRAME_NS, DelayTarget
from mediaworker.core.inbound.jitter import AHEAD, JitterRing
from mediaworker.core.inbound.timeline import Act
from mediaworker.core.rows import NO_FRAME, Floats, Index, Ints, Mask, Rows

SPARE_NS: Final = FRAME_NS + 250_000
"""Delay above the goal from which on a frame is given back."""
PATIENCE: Final = 12
"""Ticks after which a frame of delay is given back, or added, where it may be heard."""
HURRY_NS: Final = 60 * 1_000_000
"""With so much delay too much, two ticks are enough."""
HURRY: Final = 2
ALIVE_FRAMES: Final = 50
"""A sender from whom nothing came for a second is silent; nothing is made up for him any longer."""
MOST_AT_ONCE: Final = 32
"""Legs of a tick that may give back a frame, those first that have waited longest: after a pause of the host all would."""
PAUSE_FRAMES: Final = 5
"""A gap in time without one in the numbers that is longer than this is a sender's who says nothing when it is silent."""
LONGEST_PACKET: Final = 3
"""Frames of a packet where it is not known yet how long they are."""
CLOCK_TICKS: Final = 50
RESTART_NS: Final = 250 * 1_000_000
"""Ticks this late are not caught up with: nothing was served in between, or rounds were given up."""


class Special(NamedTuple):
    """[N] rows of a phase in which a tick does not just play the next frame; one Act and one step of `play` each."""

    at: Index
    act: Ints
    step: Ints


class TickClock:
    """When ticks should have begun: the least lateness of the last one to two seconds, on a line of 20 ms per tick."""

    def __init__(self) -> None:
        self._ticks = 0
        self._now = self._before = 1 << 62

    def tick(self, now_ns: int) -> int:
        self._ticks += 1
        late = now_ns - self._ticks * FRAME_NS
        self._now = min(self._now, late)
        if late - min(self._now, self._before) > RESTART_NS:
            self._before, self._now = 1 << 62, late
        nominal = min(self._now, self._before)
        if self._ticks % CLOCK_TICKS == 0:
            self._before, self._now = self._now, 1 << 62
        return self._ticks * FRAME_NS + nominal


class Pace:
    """One call of `step` per phase and tick; it moves `rows.play` over what is passed, `sound` moves it over what is heard."""

    def __init__(self, rows: Rows, ring: JitterRing, delay: DelayTarget) -> None:
        self._rows = rows
        self._ring = ring
        self._delay = delay
        self._clocks = [TickClock() for _ in range(rows.phases)]
        self._ticks = [0] * rows.phases
        self._impatient = [False] * rows.phases
        """Whether `rows.patience` of a phase is not all 0."""
        self.passed: list[tuple[int, int, int]] = []
        """Row, first frame and number of the lost frames that were passed in this tick."""

    def step(self, phase: int, span: slice, now_ns: int) -> Special | None:
        """What is not just played. None: every row plays its next frame."""
        rows = self._rows
        self._ticks[phase] += 1
        self._delay.settle(span, self._ticks[phase])
        time_ns = self._clocks[phase].tick(now_ns)
        self.passed.clear()
        flowing = rows.flowing[span]
        have = self._ring.complete(span)
        have |= ~flowing
        spare = time_ns - rows.play[span] * FRAME_NS - rows.goal_ns[span]
        # As unsigned numbers, what is negative is large too.
        unfit = spare.view(np.uint64) >= SPARE_NS
        unfit &= flowing
        if np.count_nonzero(have) == len(have) and not np.count_nonzero(unfit):
            if self._impatient[phase]:
                rows.patience[span] = 0
                self._impatient[phase] = False
            return None
        special = self._decide(span, have, spare)
        self._impatient[phase] = bool(np.count_nonzero(rows.patience[span]))
        return special

    def _decide(self, span: slice, have: Mask, spare: Ints) -> Special | None:
        rows = self._rows
        flowing = rows.flowing[span]
        act = np.zeros(len(have), np.int64)
        step = np.ones(len(have), np.int64)
        hole = np.flatnonzero(~have)
        if hole.size:
            act[hole], step[hole] = self._hole(hole + span.start, spare[hole])
        whole = have & flowing
        more, less = whole & (spare >= SPARE_NS), whole & (spare < 0)
        self._count_patience(span, more, less)
        if np.count_nonzero(more):
            index = np.flatnonzero(more)
            back = index[self._give_back(index + span.start, spare[index])]
            act[back], step[back] = Act.MERGE, 2
        if np.count_nonzero(less):
            index = np.flatnonzero(less)
            add = index[self._add(index + span.start)]
            act[add], step[add] = Act.HOLD, 0
        changed = np.flatnonzero((act != Act.PLAY) | (step != 1))
        if not changed.size:
            return None
        return Special(changed + span.start, act[changed], step[changed])

    # --- nothing is due

    def _hole(self, at: Index, spare: Ints) -> tuple[Ints, Ints]:
        """Rows without the whole frame that is due: act and step of each."""
        rows = self._rows
        act, step = np.full(len(at), int(Act.HOLD)), np.zeros(len(at), np.int64)
        beyond = rows.top[at] > rows.play[at]
        if np.count_nonzero(beyond):
            index = np.flatnonzero(beyond)
            act[index], step[index] = self._hole_before_more(at[index], spare[index])
        silent = (act == Act.HOLD) & ((rows.noise[at] > 0) | (rows.hole_run[at] >= ALIVE_FRAMES))
        act[silent] = Act.QUIET
        waiting = (act == Act.HOLD) | ((act == Act.QUIET) & (step == 0))
        rows.waited[at[waiting]] += 1
        bridged = at[act == Act.HOLD]
        rows.bridged[bridged] += 1
        rows.held[bridged] += 1
        made_up = (act == Act.HOLD) | (act == Act.LOSS)
        rows.concealed[at[made_up]] += 1
        return act, step

    def _hole_before_more(self, at: Index, spare: Ints) -> tuple[Ints, Ints]:
        rows, ring = self._rows, self._ring
        gap, number = ring.next_there(at)
        known = ring.number(at, rows.last_good[at])
        before = np.where(known == NO_FRAME, rows.calm_ext[at], known)
        missing = sequence.missing(rows, at, before, number)
        silence = (gap > 0) & (gap < AHEAD) & ((missing == 0) | (number == rows.calm_ext[at] + 1))
        enough = np.where(silence, np.maximum(spare // FRAME_NS, 0), rows.waited[at])
        # A loss whose place may still be taken: the delay is below its goal, so that waiting costs nothing.
        may_come = ~silence & (spare < 0) & (rows.waited[at] == 0)
        passed = np.where((gap < AHEAD) & ~may_come, np.minimum(gap, enough), 0)
        # No more is lost than what is missing can have held; the rest of the gap is the sender's silence.
        lost = np.where(
            silence, 0, np.minimum(gap, np.ceil(missing * self._packet_frames(at)).astype(np.int64))
        )
        self._pass(at, passed, np.minimum(passed, lost))
        rows.silent_sender[at[(gap < AHEAD) & (gap - lost >= PAUSE_FRAMES)]] = True
        left = gap - passed
        rows.waited[at] = np.where(silence, 0, rows.waited[at])
        act = np.full(len(at), int(Act.LOSS))
        act[left == 0] = np.where(ring.is_complete(at, rows.play[at]), Act.PLAY, Act.LOSS)[left == 0]
        act[silence & (left > 0)] = Act.QUIET
        act[may_come] = Act.HOLD
        step = np.ones(len(at), np.int64)
        step[may_come | (silence & (left > 0) & (spare < 0))] = 0
        self._note_losses(at[act == Act.LOSS], before[act == Act.LOSS])
        return act, step

    def _packet_frames(self, at: Index) -> Floats:
        known = self._rows.packet_frames[at]
        return np.where(known > 0, known, LONGEST_PACKET)

    def _note_losses(self, at: Index, before: Ints) -> None:
        """Frames due that are not heard as a whole; where no number is missing the sender said no more than that."""
        rows = self._rows
        lost = at[sequence.missing(rows, at, before, rows.seen_top[at] + 1) > 0]
        if lost.size:
            losses.note(rows, lost, rows.play[lost])

    def _pass(self, at: Index, passed: Ints, lost: Ints) -> None:
        """Moves playout over frames that were waited for, the first `lost` of which are lost, or over silence."""
        rows = self._rows
        for index in np.flatnonzero(passed).tolist():
            row, first = int(at[index]), int(rows.play[at[index]])
            count = int(min(passed[index], rows.waited[row]))
            rows.waited[row] -= count
            if rows.noise[row] == 0:
                self.passed.append((row, first, min(count, ALIVE_FRAMES)))
            bridged = min(count, int(rows.bridged[row]))
            rows.bridged[row] -= bridged
            rows.held[row] -= bridged
            rows.concealed[row] -= max(0, bridged - int(lost[index]))
            for frame in range(first, first + int(lost[index])):
                losses.note(rows, at[index : index + 1], np.array([frame]))
        rows.play[at] += passed

    # --- the delay is not what it should be

    def _count_patience(self, span: slice, more: Mask, less: Mask) -> None:
        patience = self._rows.patience[span]
        longer = np.where(more, np.maximum(patience, 0) + 1, 0)
        patience[:] = np.where(less, np.minimum(patience, 0) - 1, longer)

    def _give_back(self, at: Index, spare: Ints) -> Mask:
        """Rows with a frame of delay too much: which leave one out now."""
        rows, ring = self._rows, self._ring
        frames = rows.top[at] - rows.play[at]
        # What is too much has arrived; else the network has grown slower, which `delay` will soon see.
        here = (frames * FRAME_NS > spare - FRAME_NS) & ring.is_complete(at, rows.play[at] + 1)
        index = np.flatnonzero(here)
        if index.size > MOST_AT_ONCE:
            index = index[np.argsort(-rows.patience[at[index]], kind="stable")[:MOST_AT_ONCE]]
            here[:] = False
        if index.size:
            some = at[index]
            last = np.where(spare[index] >= HURRY_NS, HURRY, PATIENCE)
            here[index] = (rows.patience[some] >= last) | self._unheard(some)
        rows.patience[at[here]] = 0
        ring.skipped += int(np.count_nonzero(here))
        return here

    def _unheard(self, at: Index) -> Mask:
        """Rows whose next two frames may become one; of coded legs only what was heard last is known."""
        rows = self._rows
        pair = self._ring.history(at, 2, rows.play[at] + 1)
        first, second = pair[:, : pair.shape[1] // 2], pair[:, pair.shape[1] // 2 :]
        unheard = splice.harmless(first, second, splice.find(first, second))
        return np.where(rows.coded[at], splice.power(rows.caller_pcm[at]) < splice.QUIET_POWER, unheard)

    def _add(self, at: Index) -> Mask:
        """Rows whose delay is too short: which wait now."""
        rows = self._rows
        heard = splice.power(rows.caller_pcm[at])
        due = splice.power(self._ring.history(at, 1, rows.play[at]))
        quiet = (heard < splice.QUIET_POWER) & (rows.coded[at] | (due < splice.QUIET_POWER))
        add: Mask = quiet | (rows.patience[at] <= -PATIENCE)
        some = at[add]
        rows.patience[some] = 0
        rows.held[some] += 1
        rows.concealed[some] += 1
        return add
