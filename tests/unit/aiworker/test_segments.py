"""Where a reply is cut for speaking."""

import pytest

from aiworker.core.segments import MAX_CHARS, Segmenter, speakable, split

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("...", []),
        ("Yes.", ["Yes."]),
        (
            "Certainly sir, I will do that. Just a second!",
            ["Certainly sir,", "I will do that.", "Just a second!"],
        ),
        ("Yes, I will, for you.", ["Yes, I will,", "for you."]),
        (
            "A first sentence. With a clause, that stays. End.",
            ["A first sentence.", "With a clause, that stays.", "End."],
        ),
        ("That is 3.50 dollars, or 1,200 yen. Fine?", ["That is 3.50 dollars,", "or 1,200 yen.", "Fine?"]),
        (
            "Please see Dr. Smith at 9 a.m. tomorrow. He is in.",
            ["Please see Dr. Smith at 9 a.m. tomorrow.", "He is in."],
        ),
        ("It was J. R. R. Tolkien. He wrote it.", ["It was J. R. R. Tolkien.", "He wrote it."]),
        ("She said “come here.” Then she left.", ["She said “come here.”", "Then she left."]),
        ("Here is a list\n- one thing\n- another thing", ["Here is a list", "one thing", "another thing"]),
        ("**Very** important: `no`.", ["Very important:", "no."]),
        ("Wait for it… and then it came.", ["Wait for it…", "and then it came."]),
        (
            "今日はとても良い天気ですね。明日も晴れるでしょう。",
            ["今日はとても良い天気ですね。", "明日も晴れるでしょう。"],
        ),
        ("The year was 1999. 42 people came.", ["The year was 1999.", "42 people came."]),
    ],
)
def test_text_is_cut_where_a_speaker_would_pause(text: str, pieces: list[str]) -> None:
    assert split(text) == pieces


def test_first_clause_is_given_as_soon_as_it_is_sure() -> None:
    segmenter = Segmenter()
    assert segmenter.feed("Certainly, my") == []
    assert segmenter.feed(" friend,") == []
    assert segmenter.feed(" ") == ["Certainly, my friend,"]


def test_long_sentence_is_cut_at_a_clause_or_a_word() -> None:
    clauses = split("some words without an end, " * 20)
    words = split("word " * 100)
    letters = split("x" * 450)
    assert all(len(piece) <= MAX_CHARS for piece in clauses + words + letters)
    assert all(piece.endswith(",") for piece in clauses[:-1])
    assert all(piece.endswith("word") for piece in words)
    assert [len(piece) for piece in letters] == [200, 200, 50]


def test_markup_is_not_spoken() -> None:
    assert speakable("## Title\nwith `code` and **bold**") == "Title with code and bold"
    assert speakable("press * or #") == "press * or #"
