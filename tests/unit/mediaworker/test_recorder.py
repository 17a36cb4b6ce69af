"""Recordings: both sides in time, a header that is always true, a disk that does not keep up."""

import os
import resource
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from mediaworker.io import recorder
from mediaworker.io.recorder import CLOSE_S, FRAME_BYTES, Recorder
from mediaworker.io.wav import HEADER_BYTES

pytestmark = pytest.mark.unit

SILENT = np.zeros((4, 160), np.int16)


class Desk:
    """A recorder whose writer runs only when the test says so: `settle` does what its thread would."""

    def __init__(self, directory: Path, queue_frames: int = recorder.QUEUE_FRAMES) -> None:
        self.done: list[tuple[str, str]] = []
        self.recorder = Recorder(
            str(directory), lambda call_id, path: self.done.append((call_id, path)), queue_frames
        )

        self.round = 99
        """The schedule has run for a while when a call begins."""
        self._rows: dict[tuple[int, ...], np.ndarray[tuple[int], np.dtype[np.int32]]] = {}

    def frame(self, *rows: int, caller: int = 0, sent: int = 0, wide: bool = False) -> None:
        """The next 20 ms of the rows; like the engine it gives the same list until the rows are others."""
        self.round += 1
        listed = self._rows.setdefault(rows, np.array(rows, np.int32))
        silent = np.zeros((4, 320 if wide else 160), np.int16)
        self.recorder.frames(listed, silent + np.int16(caller), silent + np.int16(sent), self.round)

    def frames(self, count: int, *rows: int, caller: int = 0, wide: bool = False) -> None:
        for _ in range(count):
            self.frame(*rows, caller=caller, wide=wide)

    def settle(self) -> None:
        """Everything queued is written and every file finished."""
        self.recorder.start()
        self.recorder.close()


def samples_at(path: Path, rate_hz: int) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, rate_hz)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)


def samples(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return samples_at(path, 8_000)


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
        stalled.frames(np.array([number % 4], np.int32), SILENT, SILENT, number)
        if number >= 4:
            stalled.finish(number % 4)
    assert len(stalled._queue) <= 3 + 2 * 4, "the ends of what was begun always fit"
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


def test_ticks_that_the_process_slept_through_keep_their_time_however_many(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(1, "c")
    desk.frame(1, caller=5)
    desk.round += 1_500
    desk.frame(1, caller=6)
    desk.recorder.finish(1)
    desk.settle()
    pcm = samples(tmp_path / "c.wav")
    assert len(pcm) == 1_502 * 160
    assert np.flatnonzero(pcm[::160, 0]).tolist() == [0, 1_501]


def test_a_pause_is_silence_of_the_same_length(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    desk.recorder.begin(1, "d")
    desk.frames(3, 0, 1, caller=1)
    desk.recorder.pause(0)
    desk.frames(70, 0, 1, caller=2)
    desk.recorder.resume(0)
    desk.frames(2, 0, 1, caller=3)
    desk.recorder.finish(0)
    desk.recorder.finish(1)
    desk.settle()
    assert samples(tmp_path / "c.wav")[::160, 0].tolist() == [1] * 3 + [0] * 70 + [3] * 2
    assert samples(tmp_path / "d.wav")[::160, 0].tolist() == [1] * 3 + [2] * 70 + [3] * 2


def test_a_recording_that_ends_in_a_pause_is_as_long_as_the_call(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    desk.recorder.pause(0)
    desk.frames(4, 0, caller=1)
    desk.recorder.resume(0)
    desk.frame(0, caller=2)
    desk.recorder.pause(0)
    desk.frames(6, 0, caller=3)
    desk.recorder.finish(0)
    desk.settle()
    assert samples(tmp_path / "c.wav")[::160, 0].tolist() == [0] * 4 + [2] + [0] * 6


def test_pausing_what_is_not_recorded_is_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.pause(1)
    desk.recorder.resume(1)
    desk.settle()
    assert list(tmp_path.iterdir()) == []


def test_a_wideband_leg_is_recorded_at_16_khz(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    desk.frames(60, 0, caller=7, wide=True)
    desk.recorder.finish(0)
    desk.settle()
    assert samples_at(tmp_path / "c.wav", 16_000)[:, 0].tolist() == [7] * 60 * 320


@pytest.mark.parametrize("wide_first", [True, False])
def test_a_leg_that_changes_its_rate_keeps_its_file_and_its_time(tmp_path: Path, *, wide_first: bool) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    desk.frames(30, 0, caller=1_000, wide=wide_first)
    desk.frames(70, 0, caller=2_000, wide=not wide_first)
    desk.frames(20, 0, caller=3_000, wide=wide_first)
    desk.recorder.finish(0)
    desk.settle()
    rate = 16_000 if wide_first else 8_000
    pcm = samples_at(tmp_path / "c.wav", rate)[:, 0]
    frame = rate // 50
    assert len(pcm) == 120 * frame
    assert set(pcm[: 30 * frame].tolist()) == {1_000}
    settled = pcm[30 * frame + frame // 4 : 100 * frame].astype(int)
    assert np.abs(settled - 2_000).max() < 20
    assert set(pcm[100 * frame :].tolist()) == {3_000}


def test_files_are_written_a_second_at_a_time_whoever_comes_and_goes(tmp_path: Path) -> None:
    """A row that leaves takes its part along; the rest of its batch goes on, and nobody's frames go to the next one."""
    desk = Desk(tmp_path)
    for row in range(3):
        desk.recorder.begin(row, f"c{row}")
    desk.frames(20, 0, 1, 2, caller=1)
    desk.recorder.finish(1)
    desk.recorder.begin(1, "next")
    desk.frames(20, 0, 2, caller=2)
    desk.frames(40, 0, 1, 2, caller=3)
    for row in range(3):
        desk.recorder.finish(row)
    desk.settle()
    assert samples(tmp_path / "c0.wav")[::160, 0].tolist() == [1] * 20 + [2] * 20 + [3] * 40
    assert samples(tmp_path / "c1.wav")[::160, 0].tolist() == [1] * 20
    assert samples(tmp_path / "c2.wav")[::160, 0].tolist() == [1] * 20 + [2] * 20 + [3] * 40
    assert samples(tmp_path / "next.wav")[::160, 0].tolist() == [3] * 40
    assert desk.recorder.dropped_frames == 0


def test_every_full_second_is_on_disk_before_the_recording_ends(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.recorder.begin(0, "c")
    desk.frames(120, 0, caller=8)
    while desk.recorder._queue:
        desk.recorder._act(desk.recorder._queue.popleft())
    assert samples(tmp_path / "c.wav")[::160, 0].tolist() == [8] * 100
    desk.recorder.finish(0)
    desk.settle()
    assert len(samples(tmp_path / "c.wav")) == 120 * 160


def test_a_disk_that_stays_full_is_said_once_for_a_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path)
    desk.recorder._bulk = None
    desk.recorder.begin(0, "c")
    desk.frames(200, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER_BYTES, before[1]))
    try:
        desk.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert desk.recorder.dropped_frames == 200
    assert [record.message for record in caplog.records].count("recording not written") == 1
