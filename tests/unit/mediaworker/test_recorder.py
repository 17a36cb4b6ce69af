"""Recordings: both sides in time, a header that is always true, a disk that does not keep up."""

import os
import resource
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from mediaworker.io import recorder
from mediaworker.io.recorder import CLOSE_S, FRAME_BYTES, HEADER_BYTES, Recorder, wav_header

pytestmark = pytest.mark.unit

SILENT = np.zeros((4, 160), np.int16)


class Desk:
    """A recorder whose writer runs only when the test says so: `settle` does what its thread would."""

    def __init__(self, directory: Path, queue_frames: int = recorder.QUEUE_FRAMES) -> None:
        self.done: list[tuple[str, str]] = []
        self.recorder = Recorder(
            str(directory), lambda call_id, path: self.done.append((call_id, path)), queue_frames
        )

    def frame(self, *rows: int, caller: int = 0, sent: int = 0) -> None:
        self.recorder.frames(np.array(rows, np.int32), SILENT + np.int16(caller), SILENT + np.int16(sent))

    def settle(self) -> None:
        """Everything queued is written and every file finished."""
        self.recorder.start()
        self.recorder.close()


def samples(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8_000)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)


def test_the_caller_is_left_and_what_they_were_sent_is_right(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(2, "c")
    desk.frame(2, caller=5, sent=7)
    desk.frame(2, caller=6, sent=8)
    desk.recorder.finish(2)
    desk.settle()
    pcm = samples(tmp_path / "c.wav")
    assert pcm[:160].tolist() == [[5, 7]] * 160
    assert pcm[160:].tolist() == [[6, 8]] * 160
    assert desk.done == [("c", str(tmp_path / "c.wav"))]


def test_calls_are_kept_apart_also_when_a_row_is_used_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "a")
    desk.recorder.begin(1, "b")
    desk.frame(0, 1, caller=1)
    desk.recorder.finish(0)
    desk.recorder.begin(0, "c")
    desk.frame(0, caller=3)
    desk.settle()
    assert [len(samples(tmp_path / f"{name}.wav")) for name in "abc"] == [160, 160, 160]
    assert samples(tmp_path / "c.wav")[0, 0] == 3
    assert sorted(call_id for call_id, _ in desk.done) == ["a", "b", "c"]


def test_a_frame_of_a_leg_that_is_not_recorded_goes_nowhere(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.frame(3)
    desk.frame()
    desk.settle()
    assert list(tmp_path.iterdir()) == []


def test_frames_that_the_queue_could_not_take_are_counted_and_leave_silence(tmp_path: Path) -> None:
    desk = Desk(tmp_path, queue_frames=2)
    desk.recorder.begin(0, "c")
    for _ in range(5):
        desk.frame(0, caller=9)
    assert desk.recorder.dropped_frames == 2
    # The disk caught up: the next frame stands where it belongs.
    desk.recorder._taken_frames = 3
    desk.frame(0, caller=4)
    desk.recorder.finish(0)
    desk.settle()
    assert samples(tmp_path / "c.wav")[::160, 0].tolist() == [9, 9, 9, 0, 0, 4]


def test_a_file_that_cannot_be_opened_costs_its_frames_only(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").mkdir()
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "bad")
    desk.recorder.begin(1, "good")
    desk.frame(0, 1)
    desk.recorder.finish(0)
    desk.recorder.finish(1)
    desk.settle()
    assert desk.done == [("bad", ""), ("good", str(tmp_path / "good.wav"))]
    assert desk.recorder.dropped_frames == 1


def test_a_file_that_takes_no_header_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "c.wav").symlink_to("/dev/full")
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    for _ in range(60):
        desk.frame(0)
    desk.recorder.finish(0)
    desk.settle()
    assert desk.done == [("c", "")]
    assert desk.recorder.dropped_frames == 60


def test_a_disk_that_is_full_for_a_while_costs_what_it_did_not_take(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    for number in range(150):
        desk.frame(0, caller=number + 1)
    desk.recorder.finish(0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER_BYTES + 60 * FRAME_BYTES, before[1]))
    try:
        desk.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert desk.recorder.dropped_frames == 100
    assert samples(tmp_path / "c.wav")[::160, 0].tolist() == list(range(1, 51)), (
        "the header claims what is there"
    )


@pytest.mark.parametrize("frames", [0, 1, 50])
def test_the_header_says_how_much_there_is(frames: int) -> None:
    header = wav_header(frames * FRAME_BYTES)
    assert len(header) == HEADER_BYTES
    assert int.from_bytes(header[4:8], "little") == frames * FRAME_BYTES + 36
    assert int.from_bytes(header[40:44], "little") == frames * FRAME_BYTES


def test_finishing_what_was_never_begun_is_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.finish(1)
    desk.settle()
    assert desk.done == []


def test_a_disk_that_stands_still_is_not_waited_for_and_gets_no_more_than_the_bound(tmp_path: Path) -> None:
    done: list[tuple[str, str]] = []
    stalled = Recorder(str(tmp_path), lambda call_id, path: done.append((call_id, path)), queue_items=3)
    for number in range(1_000):
        stalled.begin(number % 4, f"c{number}")
        stalled.frames(np.array([number % 4], np.int32), SILENT, SILENT)
        if number >= 4:
            stalled.finish(number % 4)
    assert len(stalled._queue) <= 3 + 4, "the ends of what was begun always fit"
    assert done[-1] == ("c999", ""), "a call that is not recorded is not waited for"


def test_a_directory_that_cannot_be_made_costs_the_recording_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = Desk(tmp_path / "file" / "recordings")
    desk.recorder.begin(0, "c")
    desk.frame(0)
    desk.recorder.finish(0)
    desk.settle()
    assert desk.done == [("c", "")]


def test_closing_gives_up_on_a_disk_that_stands_still(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.wav")  # opening it for writing waits for a reader
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    desk.recorder.start()
    begun = time.monotonic()
    desk.recorder.close()
    assert time.monotonic() - begun < CLOSE_S + 2.0
    with open(tmp_path / "c.wav", "rb"):
        desk.recorder._thread.join(10)
    assert not desk.recorder._thread.is_alive()
