"""What the agent says within one turn."""

import pytest

from aiworker.core.history import History, Pace
from aiworker.core.reply import Reply

pytestmark = pytest.mark.unit


def begun(*pieces: str) -> tuple[Reply, History]:
    reply, history = Reply(1), History()
    reply.begin(list(pieces))
    return reply, history


def test_two_sentences_are_out_at_most() -> None:
    reply, history = begun("one", "two", "three")
    assert [reply.next(history) for _ in range(3)] == ["one", "two", None]
    assert reply.unplayed() == [(0, "one"), (1, "two")]
    assert reply.segment_played(0)
    assert not reply.segment_played(0)
    assert not reply.segment_played(7)
    assert reply.next(history) == "three"
    assert reply.is_last()
    assert not reply.finished()
    reply.segment_played(2)
    assert reply.finished()


def test_history_grows_with_what_was_handed_out() -> None:
    reply, history = begun("one", "two")
    assert not reply.said()
    reply.next(history)
    reply.next(history)
    assert [entry.text for entry in history.entries] == ["one two"]
    assert [entry.text for entry in reply.heard()] == ["one two"]
    assert reply.heard() == []


@pytest.mark.parametrize(
    ("segment", "samples", "heard"),
    [
        (-1, 0, ("", True)),
        (0, 400, ("a b", True)),
        (1, 0, ("a b c d.", True)),
        (1, 500, ("a b c d. e f", True)),
    ],
)
def test_reply_is_cut_where_the_caller_interrupted(
    segment: int, samples: int, heard: tuple[str, bool]
) -> None:
    reply, history = begun("a b c d.", "e f g h.")
    reply.next(history)
    reply.next(history)
    reply.cut(segment, samples, 800, Pace())
    entry = history.entries[0]
    text = entry.text if segment != 1 or not samples else " ".join(entry.text.split()[:6])
    assert (text, getattr(entry, "interrupted")) == heard  # noqa: B009  only the agent's side has it


def test_report_older_than_what_was_played_does_not_take_back() -> None:
    reply, history = begun("a b.", "c d.")
    reply.next(history)
    reply.next(history)
    reply.segment_played(0)
    reply.cut(0, 10, 1_000, Pace())
    assert history.entries[0].text == "a b."


def test_reply_that_was_not_complete_is_marked_though_all_of_it_was_played() -> None:
    reply, history = Reply(1), History()
    reply.begin()
    reply.waiting.append("a b.")
    reply.next(history)
    reply.segment_played(0)
    reply.cut(-1, 0, 0, Pace())
    assert (history.entries[0].text, reply.heard()[0].interrupted) == ("a b.", True)


def test_reports_are_awaited_longer_for_longer_sentences() -> None:
    short, history = begun("a")
    long, _ = begun("a" * 200)
    short.next(history)
    long.next(history)
    assert short.stall_ns(Pace(), 8_000) < long.stall_ns(Pace(), 8_000) < 60 * 10**9
