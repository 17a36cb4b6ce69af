"""Coded legs against the obvious: every sample is where its packet's timestamp says, whatever is lost, late or out of order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core import codecs
from mediaworker.core.inbound.coded import CodedLegs
from mediaworker.core.inbound.jitter import AHEAD, JitterRing
from mediaworker.core.inbound.timeline import Act
from mediaworker.core.outbound.loose import LooseLegs
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows
from shared.contracts import MediaFormat

pytestmark = pytest.mark.property

FRAMES = 12
SIZE = 320
L16 = MediaFormat(codec="L16", payload_type=96, clock_rate_hz=16_000)
BLEND = 64
"""Samples behind a hole that are blended with what was made up."""
LONGEST = 960


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[int]]:
    """Packets of one stream (begin, end) without those that are lost, and the order in which they come."""
    edges, at = [], draw(st.integers(0, 500))
    while at < FRAMES * SIZE:
        size = draw(st.sampled_from([16, 80, 160, 320, 321, 480, 640, 960]))
        edges.append((at, at + size))
        at += size
    kept = [edge for edge in edges if draw(st.integers(0, 4))]
    return kept, draw(st.permutations(range(len(kept))))


def value(sample: int) -> int:
    """Different from its neighbours for as long as a stream is; never 0, which is silence."""
    return sample + 1


@settings(max_examples=80, deadline=None)
@given(streams(), st.lists(st.integers(0, FRAMES - 1), max_size=3))
def test_every_sample_that_came_is_heard_in_its_place(
    stream: tuple[list[tuple[int, int]], list[int]], holds: list[int]
):
    packets, order = stream
    rows = Rows(1, 1)
    row = rows.take(0)
    codec = codecs.find(L16)
    assert codec
    rows.coded[row], rows.wide[row], rows.clock[row] = True, True, codec.clock
    legs = CodedLegs(rows, Counter())
    legs.set_format(row, codec)
    for number in order:
        begin, end = packets[number]
        wave = np.array([value(sample) for sample in range(begin, end)], ">i2")
        assert legs.store(row, begin, number, 0, np.frombuffer(wave.tobytes(), np.uint8)) == end - begin
    at = np.array([row])
    heard = []
    for frame in range(FRAMES):
        for _ in range(holds.count(frame)):
            legs.play(at, np.array([frame]), np.array([int(Act.HOLD)]))
        legs.play(at, np.array([frame]), np.array([int(Act.LOSS)]))
        heard.append(rows.caller_wide[row].copy())
    there = np.zeros(FRAMES * SIZE, np.bool_)
    for begin, end in packets:
        there[begin:end] = True
    blended = ~there
    for sample in np.flatnonzero(~there):
        blended[sample : sample + BLEND + 1] = True
    blended[: BLEND + 1] = True
    for frame in holds:
        # What is made up while waiting is blended into the packet that is decoded next.
        for begin, _ in packets:
            if abs(begin - frame * SIZE) <= LONGEST + SIZE:
                blended[begin : begin + BLEND + 1] = True
    wanted = np.array([value(sample) for sample in range(FRAMES * SIZE)])
    certain = there & ~blended
    assert np.array_equal(np.concatenate(heard)[certain], wanted[certain])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-3 * 160, 52 * 160), st.integers(1, 1_000), st.sampled_from([160, 320, 882, 960])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_ring_knows_what_is_there_of_each_frame(drawn: list[tuple[int, int, int]]):
    """N packets of N coded legs at once, against one unit after the other."""
    rows = Rows(len(drawn), 1)
    for _ in drawn:
        rows.take(0)
    rows.clock[: len(drawn)] = [clock for _, _, clock in drawn]
    ring = JitterRing(rows)
    at = np.arange(len(drawn))
    position = np.array([begin * clock // 160 for begin, _, clock in drawn])
    units = np.array([size for _, size, _ in drawn])
    ring.insert_marks(at, position, units, at + 10, at + 1_000)
    for row, (begin, size, clock) in enumerate(
        zip(position.tolist(), units.tolist(), rows.clock.tolist(), strict=False)
    ):
        filled = Counter(unit // clock for unit in range(begin, begin + size))
        for frame in range(AHEAD):
            whole = bool(ring.is_complete(np.array([row]), np.array([frame]))[0])
            assert whole == (filled[frame] >= clock)
            number = int(ring.number(np.array([row]), np.array([frame]))[0])
            assert (number == row + 10) == (filled[frame] > 0)
        assert int(rows.late[row]) == (max(filled) < 0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(codecs.PTIMES_MS),
    st.lists(st.sampled_from(["send", "taken", "held"]), min_size=4, max_size=40),
)
def test_what_is_sent_has_the_time_of_its_first_sample(ptime_ms: int, ticks: list[str]):
    """Whatever comes between (a key press, a hold), the samples of a packet are those of its timestamp."""
    rows = Rows(1, 1)
    transmitter = Transmitter(rows, np.random.default_rng(1))
    loose = LooseLegs(rows, transmitter)
    row = rows.take(0)
    wanted = MediaFormat(codec="L16", payload_type=96, clock_rate_hz=8_000, ptime_ms=ptime_ms)
    rows.started[row] = rows.coded[row] = rows.sends[row] = True
    rows.first_word[row] = 96 << 8
    transmitter.open(row, 96)
    loose.set_format(row, wanted, codecs.find(wanted))
    origin, taken = int(rows.out_time[row]), False
    seen: list[int] = []
    for number, tick in enumerate(ticks):
        if (tick == "taken") != taken:
            taken = not taken
            (transmitter.take_over if taken else transmitter.hand_back)(row)
        rows.sends[row] = tick != "held"
        transmitter.changed(0)
        rows.sent_pcm[row] = np.arange(number * 160, (number + 1) * 160)
        loose.send(0)
        transmitter.stamp(0, rows.span(0))
        for packet in transmitter.take_loose():
            time = (int.from_bytes(packet.data[4:8], "big") - origin) & 0xFFFF_FFFF
            samples = np.frombuffer(packet.data[12:], ">i2")
            assert len(samples) == ptime_ms * 8
            assert np.array_equal(samples, np.arange(time, time + len(samples)))
            seen += samples.tolist()
            assert tick == "send"
    assert len(seen) == len(set(seen)), "nothing is sent twice"
    longest = max(
        (len(run) for run in "".join("x" if tick == "send" else " " for tick in ticks).split()), default=0
    )
    assert len(seen) >= (longest * 20 // ptime_ms) * ptime_ms * 8
