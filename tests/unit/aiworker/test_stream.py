"""One stream of an engine."""

import pytest

from aiworker.core.stream import MAX_PIECES, Stream, same_words

pytestmark = pytest.mark.unit


def test_pieces_are_given_once() -> None:
    stream = Stream(1, 0, "", gated=False)
    stream.feed("A first sentence. And")
    assert stream.taken() == ["A first sentence."]
    assert stream.taken() == []
    stream.finish("Bye.")
    assert stream.taken() == ["And"]
    assert stream.done
    assert not stream.empty()


def test_stream_without_words_is_empty_unless_it_hangs_up() -> None:
    stream = Stream(1, 0, "", gated=False)
    stream.feed(" \n")
    stream.finish("Bye.")
    assert stream.empty()
    stream.hangup = True
    stream.finish("Bye.")
    assert not stream.empty()
    assert stream.taken() == ["Bye."]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello, there!", "hello there", True),
        ("hello", "hello there", False),
        ("", "", True),
        ("Ja, ü", "ja Ü", True),
    ],
)
def test_case_and_punctuation_are_not_words(one: str, other: str, same: bool) -> None:
    assert same_words(one, other) is same


def test_a_model_that_does_not_stop_is_kept_within_a_bound() -> None:
    stream = Stream(1, 0, "", gated=True)
    for _ in range(2 * MAX_PIECES):
        stream.feed("And another sentence. ")
    stream.finish("")
    assert len(stream.taken()) == MAX_PIECES
