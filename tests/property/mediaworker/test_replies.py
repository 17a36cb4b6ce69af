"""The agent's line against a plain one, under any sequence of operations, at both rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.outbound.playout import Playout
from tests.support.reference_replies import PlainReplies

pytestmark = pytest.mark.property

ROWS = np.array([1])
SPAN = slice(0, 3)
STARTED = np.ones(3, np.bool_)

operation = st.one_of(
    st.tuples(
        st.just("queue"), st.integers(0, 2), st.integers(0, 3), st.sampled_from([0, 1, 159, 160, 161, 700, 9_000]),
        st.booleans(),
    ),
    st.tuples(st.just("pause")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("tick"), st.integers(1, 70)),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(operation, max_size=30), st.booleans())
def test_the_line_plays_what_a_plain_line_plays(operations: list[tuple], wide: bool) -> None:
    size = 320 if wide else 160
    fast, plain, value = Playout(3, 3), PlainReplies(size), 0
    fast.set_wide(1, wide=wide)
    free = fast.free_chunks
    for name, *fields in operations:
        if name == "queue":
            turn, number, count, last = fields
            values = [(value + n) % 30_000 + 1 for n in range(count)]
            value += count
            taken = fast.queue(1, turn, number, np.array(values, np.int16), last=last)
            plain.queue(turn, number, values[:taken], last=last and taken == count)
        elif name == "flush":
            assert tuple(fast.flush(1)) == plain.flush()
        elif name == "tick":
            for _ in range(fields[0]):
                heard = plain.tick()
                assert bool(fast.ready(SPAN, STARTED)[1]) == (heard is not None)
                if heard is not None:
                    out = np.zeros((1, size), np.int16)
                    fast.play(ROWS, out, 5)
                    assert out[0].tolist() == heard
        else:
            getattr(fast, name)(1)
            plain.paused = name == "pause"
        told = [("started" if e.started else "ended", *e.heard) for e in fast.take_events(5)]
        assert told == plain.events
        plain.events.clear()
        assert tuple(fast.heard(1)) == plain.heard()
    fast.forget(1)
    assert fast.free_chunks == free


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2_000), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 12),
    st.booleans(),
)
def test_sentences_end_once_each_however_the_rate_changes(
    sentences: list[tuple[int, bool]],
    ticks: int,
    up: bool,
) -> None:
    fast = Playout(3, 3)
    fast.set_wide(1, wide=not up)
    for number, (count, last) in enumerate(sentences):
        fast.queue(1, 0, number, np.full(count, 100, np.int16), last=last)
    told, changed = [], False
    for tick in range(200):
        if tick == ticks:
            fast.set_wide(1, wide=up)
            changed = True
        if fast.ready(SPAN, STARTED)[1]:
            fast.play(ROWS, np.zeros((1, 320 if changed == up else 160), np.int16), 5)
        told += [event.heard.segment for event in fast.take_events(5) if not event.started]
    whole = [number for number, (_, last) in enumerate(sentences) if last or number < len(sentences) - 1]
    assert told == whole
