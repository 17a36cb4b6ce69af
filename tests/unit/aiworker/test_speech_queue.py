"""Whose sentence is spoken next."""

import pytest

from aiworker.core.speech_queue import MAX_CHARS, SpeechQueue
from shared.contracts import Speak

pytestmark = pytest.mark.unit


def speak(call: str, segment: int = 0, turn: int = 1, epoch: int = 1, text: str = "hello") -> Speak:
    return Speak(call_id=call, epoch=epoch, turn=turn, segment=segment, text=text, media="m")


def order(queue: SpeechQueue) -> list[tuple[str, int]]:
    """Everything that waits, in the order in which one engine speaks it."""
    out = []
    while (job := queue.next()) is not None:
        out.append((job.speak.call_id, job.speak.segment))
        queue.done(job)
    return out


def test_first_sentence_of_a_call_goes_before_anothers_second() -> None:
    queue = SpeechQueue()
    for segment in range(3):
        queue.put(speak("long", segment), 0)
    first = queue.next()
    assert first is not None
    queue.put(speak("new"), 0)
    queue.done(first)
    assert order(queue) == [("new", 0), ("long", 1), ("long", 2)]


def test_one_sentence_of_a_call_at_a_time() -> None:
    queue = SpeechQueue()
    queue.put(speak("a", 0), 0)
    queue.put(speak("a", 1), 0)
    assert queue.next() is not None
    assert queue.next() is None
    assert queue.active() == {"a"}
    assert len(queue) == 1


def test_newer_turn_voids_the_older_one() -> None:
    queue = SpeechQueue()
    queue.put(speak("a", 0), 0)
    running = queue.next()
    assert running is not None
    queue.put(speak("a", 1), 0)
    assert queue.cancel("a", 2) is running
    assert running.cancelled
    assert len(queue) == 0
    assert queue.cancel("a", 2) is None
    assert not queue.put(speak("a", 2, turn=1), 0)
    assert queue.put(speak("a", 0, turn=2), 0)
    queue.done(running)
    assert order(queue) == [("a", 0)]


def test_sentence_of_a_newer_turn_voids_what_waits() -> None:
    queue = SpeechQueue()
    queue.put(speak("a", 0), 0)
    queue.put(speak("a", 0, turn=2, text="new"), 0)
    job = queue.next()
    assert job is not None
    assert job.speak.text == "new"
    assert len(queue) == 0


def test_older_owner_of_a_call_is_not_heard() -> None:
    queue = SpeechQueue()
    queue.put(speak("a", 0, epoch=2), 0)
    assert not queue.put(speak("a", 1, epoch=1), 0)


def test_queue_is_bounded() -> None:
    queue = SpeechQueue(max_waiting=2)
    assert not queue.put(speak("a", text="x" * (MAX_CHARS + 1)), 0)
    assert [queue.put(speak("a", n), 0) for n in range(3)] == [True, True, False]


def test_calls_that_ended_are_forgotten() -> None:
    queue = SpeechQueue()
    for number in range(5_000):
        queue.cancel(f"c{number}", 1)
    assert len(queue._calls) == 4_096
    assert queue.active() == set()


def test_done_of_an_unknown_job_is_harmless() -> None:
    queue, other = SpeechQueue(), SpeechQueue()
    other.put(speak("a"), 0)
    job = other.next()
    assert job is not None
    queue.done(job)
    assert queue.next() is None
