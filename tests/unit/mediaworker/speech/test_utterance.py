"""Utterances on their way to STT, and the copy for a second worker."""

import pytest

from mediaworker.core.speech.utterance import Utterance
from shared.contracts import Mark

pytestmark = pytest.mark.unit

FRAME = bytes(range(32)) * 10  # 160 samples


def fresh(max_ms: int = 28_000) -> Utterance:
    return Utterance("c", max_ms, 200)


def test_offsets_count_samples_from_the_start() -> None:
    utterance = fresh()
    frames = [utterance.start(1, 4, FRAME * 3), utterance.audio(1, FRAME), utterance.audio(1, FRAME)]
    assert [(f.mark, f.offset, len(f.pcm)) for f in frames if f] == [
        (Mark.START, 0, 960), (Mark.AUDIO, 480, 320), (Mark.AUDIO, 640, 320),
    ]  # fmt: skip
    assert {f.turn for f in frames if f} == {4}


def test_marks_stand_at_the_end_of_the_audio_with_their_silence() -> None:
    utterance = fresh()
    utterance.start(1, 1, FRAME)
    pause = utterance.note(1, Mark.PAUSE, 200, 10)
    assert (pause.mark, pause.offset, pause.pcm, pause.silence_ms) == (Mark.PAUSE, 160, b"", 200)
    utterance.audio(1, FRAME)
    end = utterance.note(1, Mark.END, 500, 77)
    assert (end.offset, end.silence_ms, utterance.ended_ns) == (320, 500, 77)


@pytest.mark.parametrize("closing", [Mark.END, Mark.ABORT])
def test_nothing_is_added_to_a_closed_utterance(closing: Mark) -> None:
    utterance = fresh()
    assert utterance.audio(1, FRAME) is None, "before the first"
    utterance.start(1, 1, FRAME)
    utterance.note(1, closing, 0, 1)
    assert utterance.audio(1, FRAME) is None
    assert not utterance.is_open


def test_the_bound_holds_and_is_counted() -> None:
    utterance = fresh(max_ms=1_000)
    utterance.start(1, 1, b"")
    sent = [utterance.audio(1, FRAME) for _ in range(200)]
    kept = sum(frame is not None for frame in sent)
    assert kept == (1_000 + 200 + 1_000) // 20
    assert utterance.dropped == 200 - kept
    assert utterance.samples == kept * 160


def test_another_worker_gets_the_whole_from_the_start() -> None:
    utterance = fresh()
    utterance.start(1, 3, FRAME)
    utterance.audio(1, FRAME)
    (start,) = utterance.again(2)
    assert (start.epoch, start.turn, start.offset, start.mark, start.pcm) == (2, 3, 0, Mark.START, FRAME * 2)


@pytest.mark.parametrize("mark", [Mark.PAUSE, Mark.END])
def test_another_worker_is_told_of_the_silence_too(mark: Mark) -> None:
    utterance = fresh()
    utterance.start(1, 3, FRAME)
    utterance.note(1, mark, 240, 5)
    start, noted = utterance.again(2)
    assert (start.mark, noted.mark, noted.offset, noted.silence_ms) == (Mark.START, mark, 160, 240)


def test_a_resumed_utterance_is_sent_without_its_old_pause() -> None:
    utterance = fresh()
    utterance.start(1, 3, FRAME)
    utterance.note(1, Mark.PAUSE, 240, 5)
    utterance.note(1, Mark.RESUME, 0, 6)
    assert [frame.mark for frame in utterance.again(2)] == [Mark.START]


def test_what_was_aborted_or_answered_is_not_sent_again() -> None:
    utterance = fresh()
    utterance.start(1, 3, FRAME)
    utterance.note(1, Mark.ABORT, 0, 5)
    assert utterance.again(2) == []
    assert utterance.samples == 0
    utterance.start(1, 4, FRAME)
    utterance.note(1, Mark.END, 0, 5)
    utterance.forget()
    assert utterance.again(2) == []


def test_wideband_utterance_is_bounded_by_its_time_and_measured_in_it() -> None:
    utterance = fresh(max_ms=1_000)
    utterance.start(1, 1, b"", 16_000)
    kept = sum(utterance.listen(1, bytes(640), 16_000) is not None for _ in range(200))
    assert kept == (1_000 + 200 + 1_000) // 20
    assert utterance.samples == kept * 320
    assert (utterance.rate_hz, utterance.ms) == (16_000, 2_200)


def test_utterance_keeps_its_rate_when_the_leg_changes_its_own() -> None:
    utterance = fresh()
    utterance.start(1, 1, FRAME * 2, 16_000)
    frames = [utterance.listen(1, bytes(hz // 25), hz) for hz in (16_000, 8_000, 8_000, 16_000)]
    assert [(f.offset, len(f.pcm)) for f in frames if f] == [(320, 640), (640, 640), (960, 640), (1_280, 640)]
    (again,) = utterance.again(2)
    assert len(again.pcm) == 2 * 1_600
    utterance.note(1, Mark.END, 0, 1)
    assert utterance.listen(1, bytes(320), 8_000) is None
    utterance.start(1, 2, FRAME, 8_000)
    assert (utterance.rate_hz, utterance.ms) == (8_000, 20)
