"""What an engine gets to see of a dialogue."""

import pytest

from aiworker.core.history import ChatMessage, History, Pace, heard_part

pytestmark = pytest.mark.unit


def test_messages_are_prompt_and_newest_entries() -> None:
    history = History(prompt="Be kind.")
    for turn in range(5):
        history.user(turn, f"question {turn}")
        history.agent(turn).text = f"answer {turn}"
    assert history.messages(3) == [
        ChatMessage("system", "Be kind."),
        ChatMessage("assistant", "answer 3"),
        ChatMessage("user", "question 4"),
        ChatMessage("assistant", "answer 4"),
    ]
    assert history.messages(1, "and?")[-1] == ChatMessage("user", "and?")
    assert history.user_turns() == 5


def test_empty_sides_are_left_out() -> None:
    history = History()
    history.user(1, "  ")
    history.agent(1)
    assert history.messages(10) == []
    assert not history.pending()


def test_interrupted_reply_is_marked() -> None:
    history = History()
    entry = history.agent(1)
    entry.text, entry.interrupted = "I was going to", True
    assert history.messages(10) == [ChatMessage("assistant", "I was going to…")]


def test_question_is_pending_until_something_was_heard() -> None:
    history = History()
    history.user(1, "hello")
    entry = history.agent(1)
    assert history.pending()
    entry.text = "hi"
    assert not history.pending()


def test_history_is_bounded() -> None:
    history = History()
    for turn in range(2_000):
        history.user(turn, "again")
    assert len(history.entries) == 400


@pytest.mark.parametrize(
    ("played", "total", "heard"),
    [
        (0, 1_000, ""),
        (100, 1_000, ""),
        (300, 1_000, "hello"),
        (700, 1_000, "hello there"),
        (1_000, 1_000, "hello there"),
        (9_000, 1_000, "hello there"),
        (500, 0, ""),
    ],
)
def test_sentence_is_cut_after_the_last_whole_word_played(played: int, total: int, heard: str) -> None:
    assert heard_part("hello there world", played, total) == heard


def test_single_word_is_never_half_heard() -> None:
    assert heard_part("hello", 900, 1_000) == ""


def test_pace_is_learned_from_what_was_played() -> None:
    pace = Pace()
    for _ in range(30):
        pace.learn("ten chars!", 10_000)
    assert pace.samples("ten chars!") == pytest.approx(10_000, rel=0.01)
    before = pace.samples_per_char
    pace.learn("no", 10_000)
    pace.learn("nothing was played", 0)
    assert pace.samples_per_char == before
