"""A recording against the call it is of, in virtual time: every 20 ms of both sides where it was, whatever happened."""

import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from mediaworker.io.recorder import Recorder
from shared.contracts import MediaFormat
from tests.support.engine_caller import Caller, leg_setup, tone

pytestmark = pytest.mark.simulation

FRAME = 160


@dataclass
class Take:
    """A recorded echo call, and what each 20 ms of it was."""

    directory: Path
    engine: Engine = field(default_factory=lambda: Engine(4, seed=1, phases=1))
    round: int = 500
    expected: dict[int, np.ndarray] = field(default_factory=dict)
    first: int = -1

    def __post_init__(self) -> None:
        self.recorder = Recorder(str(self.directory), lambda _call, _path: None)
        self.caller = Caller(self.engine, leg_setup(echo=True, record=True))
        self.recorder.begin(self.caller.row, "c")
        self.paused = False
        self.voice = tone(440, 60 * 8_000)
        self.said = 0

    def run(self, ticks: int) -> None:
        """The caller talks, the engine ticks, the recorder gets what there is."""
        row = self.caller.row
        for _ in range(ticks):
            self.caller.say(self.voice[self.said : self.said + FRAME])
            self.said += FRAME
            result = self.caller.results[-1]
            self.recorder.frames(result.record_rows, result.caller_pcm, result.sent_pcm, self.round)
            if self.first < 0:
                self.first = self.round
            if not self.paused:
                self.expected[self.round] = np.stack([result.caller_pcm[row], result.sent_pcm[row]], axis=1)
            self.round += 1

    def sleep(self, rounds: int) -> None:
        """The process slept: no tick, and the schedule gives the rounds up."""
        self.round += rounds

    def direct(self, direction: str) -> None:
        setup = self.caller.setup
        wanted = MediaFormat(codec="PCMU", payload_type=0, direction=direction)  # type: ignore[arg-type]
        self.engine.update(self.caller.row, setup.remote, wanted)

    def pause(self, *, on: bool) -> None:
        self.paused = on
        (self.recorder.pause if on else self.recorder.resume)(self.caller.row)

    def finish(self) -> np.ndarray:
        self.recorder.finish(self.caller.row)
        self.recorder.start()
        self.recorder.close()
        with wave.open(str(self.directory / "c.wav")) as file:
            return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, FRAME, 2)


def check(take: Take) -> np.ndarray:
    """The file is as long as the call and has every 20 ms in its place."""
    recorded = take.finish()
    assert len(recorded) == take.round - take.first
    for number, frame in enumerate(recorded):
        wanted = take.expected.get(take.first + number, np.zeros((FRAME, 2), np.int16))
        assert np.array_equal(frame, wanted), f"frame {number}"
    return recorded


def test_a_call_with_holds_pauses_and_sleeps_is_as_long_as_one_without(tmp_path: Path) -> None:
    reference = Take(tmp_path / "reference")
    reference.run(400)
    take = Take(tmp_path / "take")
    take.run(80)
    take.direct("recvonly")
    take.run(70)
    take.direct("sendrecv")
    take.run(30)
    take.pause(on=True)
    take.run(60)
    take.pause(on=False)
    take.run(40)
    take.sleep(77)
    take.run(43)
    whole, pieces = check(reference), check(take)
    assert len(whole) == len(pieces) == 400
    assert np.array_equal(whole[:80], pieces[:80])
    assert np.all(pieces[80:150, :, 1] == 0), "a caller who holds us is sent nothing"
    assert pieces[85:150, :, 0].any(axis=1).all(), "and is heard all the same"
    assert np.all(pieces[180:240] == 0)


def test_both_sides_of_an_echo_are_the_same_to_the_sample(tmp_path: Path) -> None:
    take = Take(tmp_path)
    take.run(120)
    recorded = check(take)
    assert np.array_equal(recorded[:, :, 0], recorded[:, :, 1])
    assert np.abs(recorded[20:, :, 0].astype(int)).max(axis=1).min() > 5_000
