"""Telephone events in any order and number: a press that left one packet is told once; nothing makes the receiver fail."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.dtmf.events import DIGITS, SEGMENT, TelephoneEvent, decode
from mediaworker.core.dtmf.receiver import LOST_NS, REMEMBERED, DtmfReceiver

pytestmark = pytest.mark.property

MASK = 0xFFFF_FFFF
TICK_NS = 20_000_000

presses = st.lists(
    st.tuples(st.integers(0, len(DIGITS) - 1), st.sampled_from([2, 5, 30, 450, 900]), st.integers(2, 20)),
    min_size=1,
    max_size=6,
)
"""Event, ticks that it lasts (the two longest need segments), ticks of pause."""


def stream(keys: list[tuple[int, int, int]], start: int) -> list[tuple[int, int, int, bytes]]:
    """(press, tick, timestamp, payload) of every packet, as RFC 4733 section 2.5 has a sender make them."""
    packets, tick = [], 0
    for number, (event, ticks, pause) in enumerate(keys):
        began = start + 160 * tick
        for done in [*range(1, ticks + 1), ticks, ticks]:
            segment = (160 * done - 1) // SEGMENT
            report = TelephoneEvent(event, 160 * done - segment * SEGMENT, done == ticks)
            packets.append((number, tick, (began + segment * SEGMENT) & MASK, report.encode()))
            tick += 1
        tick += pause
    return packets


@settings(max_examples=60, deadline=None)
@given(presses, st.integers(0, MASK), st.data())
def test_every_press_that_left_a_packet_is_told_once_and_in_order(
    keys: list[tuple[int, int, int]], start: int, data: st.DataObject
):
    """At most every other report is lost, so that no silence of LOST_NS falls into a press; ends may all be."""
    receiver = DtmfReceiver()
    told, last = "", -1
    random = data.draw(st.randoms(use_true_random=False))
    for number, tick, stamp, payload in stream(keys, start):
        first = number != last
        if first or random.random() < 0.6 or (tick % 2 and not payload[1] & 0x80):
            last = number
            for _ in range(1 + (random.random() < 0.2)):
                assert receiver.packet(0, stamp, payload, tick * TICK_NS)
        told += "".join(event.digit for event in receiver.take(tick * TICK_NS))
    told += "".join(event.digit for event in receiver.take(1 << 60))
    assert told == "".join(DIGITS[event] for event, _, _ in keys)


@settings(max_examples=60, deadline=None)
@given(presses, st.integers(0, MASK))
def test_how_long_a_press_lasted_is_known_when_its_end_came(keys: list[tuple[int, int, int]], start: int):
    receiver = DtmfReceiver()
    for _, tick, stamp, payload in stream(keys, start):
        receiver.packet(0, stamp, payload, tick * TICK_NS)
    assert [event.duration_ms for event in receiver.take(0)] == [20 * ticks for _, ticks, _ in keys]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, MASK) | st.sampled_from([0, SEGMENT, 2 * SEGMENT, MASK]),
            st.binary(max_size=13) | st.builds(
                lambda event, end, duration: TelephoneEvent(event, duration, end).encode(),
                st.integers(0, 20), st.booleans(), st.integers(0, 0xFFFF),
            ),
            st.integers(0, 10**10),
            st.sampled_from(["packet", "packet", "packet", "take", "restart", "forget"]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_nothing_makes_it_fail_or_grow(steps: list[tuple[int, int, bytes, int, str]]):
    receiver = DtmfReceiver()
    now_ns, told, sent = 0, Counter[int](), Counter[int]()
    for row, stamp, payload, later_ns, what in steps:
        now_ns += later_ns
        if what == "packet":
            assert receiver.packet(row, stamp, payload, now_ns) == bool(decode(payload))
            sent[row] += len(decode(payload))
        elif what == "restart":
            receiver.restart(row)
        elif what == "forget":
            receiver.forget(row)
        else:
            told.update(event.row for event in receiver.take(now_ns))
    told.update(event.row for event in receiver.take(now_ns + LOST_NS + 1))
    assert all(told[row] <= sent[row] for row in told)
    assert not receiver._open
    assert all(len(recent) <= REMEMBERED for recent in receiver._recent.values())
