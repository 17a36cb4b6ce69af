"""A reply: sentences in order, joined by offset, bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaworker.core.calls.reply import MAX_GAP_S, MAX_SEGMENTS, MAX_WAITING_S, STALL_NS, Reply
from shared.contracts import ReplyFrame

pytestmark = pytest.mark.unit

SPOKEN = np.arange(1, 2_001, dtype=np.int16)


def frame(segment: int, first: int, last: int, *, ends: bool = False) -> ReplyFrame:
    return ReplyFrame("c", 1, segment, first, SPOKEN[first:last].tobytes(), last=ends)


def take_all(reply: Reply, room: int = 1 << 30) -> list[tuple[int, list[int], bool]]:
    """What an engine with `room` per call gets: (segment, samples, whether it ends)."""
    taken: list[tuple[int, list[int], bool]] = []
    while piece := reply.next_piece():
        count = min(room, len(piece.pcm))
        taken.append((piece.segment, piece.pcm[:count].tolist(), piece.last and count == len(piece.pcm)))
        reply.took(count)
    return taken


def joined(taken: list[tuple[int, list[int], bool]], segment: int) -> list[int]:
    return [sample for number, samples, _ in taken if number == segment for sample in samples]


def test_pieces_come_in_order_and_the_last_one_says_so() -> None:
    reply = Reply(1)
    assert reply.add(frame(0, 0, 100), 0)
    assert reply.add(frame(0, 100, 150, ends=True), 0)
    taken = take_all(reply)
    assert joined(taken, 0) == SPOKEN[:150].tolist()
    assert [ends for _, _, ends in taken] == [False, True]
    assert reply.waiting_samples == 0


def test_a_later_sentence_waits_for_the_one_before() -> None:
    reply = Reply(1)
    reply.add(frame(1, 0, 10, ends=True), 0)
    assert reply.next_piece() is None
    reply.add(frame(0, 0, 20, ends=True), 0)
    assert [segment for segment, _, _ in take_all(reply)] == [0, 1]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), min_size=1, max_size=12), st.integers(1, 70)
)
def test_repeated_pieces_are_joined_without_a_repetition(pieces: list[tuple[int, int]], room: int) -> None:
    reply = Reply(1)
    reach = 0
    for first, length in pieces:
        start = min(first, reach)  # a repetition may overlap, a gap is another test
        assert reply.add(frame(0, start, start + length), 0)
        reach = max(reach, start + length)
    assert reply.waiting_samples == reach
    assert joined(take_all(reply, room), 0) == SPOKEN[:reach].tolist()


def test_a_gap_is_filled_with_silence_and_counted() -> None:
    reply = Reply(1)
    reply.add(frame(0, 0, 10), 0)
    reply.add(frame(0, 30, 40, ends=True), 0)
    samples = joined(take_all(reply), 0)
    assert samples == [*SPOKEN[:10].tolist(), *[0] * 20, *SPOKEN[30:40].tolist()]
    assert reply.gaps == 1


def test_a_gap_is_not_filled_without_end() -> None:
    reply = Reply(1)
    reply.add(ReplyFrame("c", 1, 0, 10_000_000, SPOKEN[:10].tobytes()), 0)
    assert reply.waiting_samples == 8_000 * MAX_GAP_S + 10


@pytest.mark.parametrize(
    "bad",
    [
        ReplyFrame("c", 1, -1, 0, b"\0\0"),
        ReplyFrame("c", 1, MAX_SEGMENTS, 0, b"\0\0"),
        ReplyFrame("c", 1, 0, -5, b"\0\0"),
        ReplyFrame("c", 1, 0, 0, bytes(16_000 * MAX_WAITING_S + 2)),
    ],
)
def test_what_is_out_of_bounds_is_refused(bad: ReplyFrame) -> None:
    reply = Reply(1)
    assert not reply.add(bad, 0)
    assert reply.waiting_samples == 0


def test_half_a_sample_at_the_end_is_left_out() -> None:
    reply = Reply(1)
    assert reply.add(ReplyFrame("c", 1, 0, 0, b"\1\0\2", last=True), 0)
    assert joined(take_all(reply), 0) == [1]


def test_a_sentence_that_is_over_takes_nothing_more() -> None:
    reply = Reply(1)
    reply.add(frame(0, 0, 10, ends=True), 0)
    assert not reply.add(frame(0, 10, 20), 0)
    take_all(reply)
    assert not reply.add(frame(0, 0, 10), 0)


def test_a_sentence_may_be_ended_by_an_empty_piece() -> None:
    reply = Reply(1)
    reply.add(frame(0, 0, 10), 0)
    assert [ends for _, _, ends in take_all(reply)] == [False]
    reply.add(frame(0, 10, 10, ends=True), 0)
    assert take_all(reply) == [(0, [], True)]


def test_a_reply_is_done_when_its_last_sentence_was_played() -> None:
    reply = Reply(1)
    assert not reply.done
    reply.end(2, hangup=True)
    reply.played(0)
    assert not reply.done
    reply.played(1)
    assert reply.done
    assert reply.hangup


def test_an_empty_reply_is_done_at_once() -> None:
    reply = Reply(1)
    reply.end(0, hangup=False)
    assert reply.done


def test_the_length_of_a_sentence_is_known_once_it_is_complete() -> None:
    reply = Reply(1)
    reply.add(frame(0, 0, 10), 0)
    assert reply.length(0) == 0
    reply.add(frame(0, 10, 25, ends=True), 0)
    take_all(reply)
    assert reply.length(0) == 25


def test_a_sentence_that_never_comes_is_passed_over_after_a_while() -> None:
    reply = Reply(1)
    reply.end(2, hangup=False)
    reply.add(frame(0, 0, 10), 0)
    reply.add(frame(1, 0, 20, ends=True), 5)
    assert not reply.pass_over(STALL_NS)
    assert reply.pass_over(5 + STALL_NS)
    assert joined(take_all(reply), 1) == SPOKEN[:20].tolist()
    assert reply.waiting_samples == 0, "what was left of the first one is gone"
    reply.played(1)
    assert reply.done


def test_nothing_is_passed_over_where_nothing_waits() -> None:
    reply = Reply(1)
    reply.add(frame(0, 0, 10), 0)
    assert not reply.pass_over(10 * STALL_NS)


def test_sentence_at_the_rate_of_a_wideband_leg_is_taken_as_it_is() -> None:
    reply = Reply(1, 16_000)
    assert reply.add(frame(0, 0, 320), 0, 16_000)
    assert reply.add(frame(0, 320, 640, ends=True), 0, 16_000)
    assert joined(take_all(reply), 0) == SPOKEN[:640].tolist()
    assert reply.length(0) == 320  # counted at 8 kHz


@pytest.mark.parametrize(("leg_hz", "speech_hz"), [(16_000, 8_000), (8_000, 16_000)])
def test_speech_at_another_rate_than_the_leg_is_converted(leg_hz: int, speech_hz: int) -> None:
    reply = Reply(1, leg_hz)
    size = speech_hz // 50
    assert reply.add(frame(0, 0, size), 0, speech_hz)
    assert reply.add(frame(0, size, 3 * size), 0, speech_hz)
    assert reply.add(frame(0, size, 3 * size, ends=True), 0, speech_hz)  # a repetition
    assert reply.waiting_samples == 3 * leg_hz // 50
    assert len(joined(take_all(reply), 0)) == 3 * leg_hz // 50
    assert reply.length(0) == 480


def test_sentence_does_not_change_its_rate_in_the_middle() -> None:
    reply = Reply(1, 16_000)
    assert reply.add(frame(0, 0, 160), 0, 8_000)
    assert not reply.add(frame(0, 160, 320), 0, 16_000)
    assert reply.add(frame(1, 0, 320), 0, 16_000)


def test_what_waits_is_converted_when_the_leg_changes_its_rate() -> None:
    reply = Reply(1, 16_000)
    reply.add(frame(0, 0, 320), 0, 16_000)
    reply.retune(8_000)
    assert reply.waiting_samples == 160
    reply.add(frame(0, 320, 640, ends=True), 0, 16_000)
    assert len(joined(take_all(reply), 0)) == 320
    assert reply.waiting_samples == 0
    reply.retune(8_000)
    assert reply.length(0) == 320
