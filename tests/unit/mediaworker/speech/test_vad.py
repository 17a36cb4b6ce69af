import numpy as np
import pytest

from mediaworker.core.legs import Speech
from mediaworker.core.speech.vad import Detector, levels_dbfs
from shared.contracts import TurnSettings
from tests.support.engine_caller import TICK_NS, tone

pytestmark = pytest.mark.unit

QUIET = -70.0
LOUD = -20.0
ROW = np.array([2])


class Line:
    """One row of a detector, fed levels."""

    def __init__(self, **settings: int) -> None:
        self.detector = Detector(4)
        self.detector.open(2, TurnSettings(**settings), -45.0)
        self.frame = 0

    def feed(self, level: float, frames: int) -> list[tuple[int, str]]:
        found = []
        for _ in range(frames):
            events = self.detector.step(ROW, np.array([level]), np.array([self.frame * TICK_NS]))
            assert all(event.row == 2 for event in events)
            found += [(self.frame, event.kind.name) for event in events]
            self.events = events or getattr(self, "events", [])
            self.frame += 1
        return found


def test_levels_are_of_full_scale():
    assert levels_dbfs(np.full((1, 160), 32_767, np.int16))[0] == pytest.approx(0.0, abs=0.01)
    assert levels_dbfs(tone(1_000, 160, amplitude=32_767)[None])[0] == pytest.approx(-3.01, abs=0.05)
    assert levels_dbfs(np.zeros((1, 160), np.int16))[0] == -100.0


def test_an_utterance_goes_through_its_events_in_order():
    line = Line(onset_ms=60, barge_in_ms=200, pause_ms=200, endpoint_ms=500)
    assert line.feed(QUIET, 50) == []
    assert line.feed(LOUD, 20) == [(52, "ONSET"), (59, "LASTED")]
    assert line.feed(QUIET, 12) == [(79, "PAUSE")]
    assert line.feed(LOUD, 5) == [(83, "RESUME")]
    assert line.feed(QUIET, 40) == [(96, "PAUSE"), (111, "END")]


def test_times_are_those_of_the_first_and_the_latest_loud_frame():
    line = Line()
    line.feed(QUIET, 10)
    line.feed(LOUD, 7)
    line.feed(QUIET, 40)
    end = line.events[-1]
    assert (end.kind, end.first_loud_ns, end.last_loud_ns) == (Speech.END, 10 * TICK_NS, 16 * TICK_NS)


def test_a_click_starts_nothing_and_ends_no_pause():
    line = Line(onset_ms=60, pause_ms=100, endpoint_ms=300)
    line.feed(QUIET, 10)
    assert line.feed(LOUD, 2) == []
    line.feed(QUIET, 10)
    line.feed(LOUD, 10)
    line.feed(QUIET, 8)
    assert line.feed(LOUD, 1) == []
    assert line.feed(QUIET, 6) == [(46, "END")]


def test_speech_without_end_is_cut_and_begins_again():
    line = Line(max_utterance_ms=400)
    line.feed(QUIET, 5)
    kinds = [kind for _, kind in line.feed(LOUD, 60)]
    assert kinds[:4] == ["ONSET", "LASTED", "END", "ONSET"]
    assert kinds.count("END") == 3


def test_barge_in_of_0_is_never_told():
    line = Line(barge_in_ms=0)
    assert "LASTED" not in [kind for _, kind in line.feed(LOUD, 100)]


def test_steady_noise_is_learnt():
    line = Line(endpoint_ms=200)
    heard = line.feed(-40.0, 600)
    assert heard[-1][1] == "END"
    assert heard[-1][0] < 300
    assert line.feed(-28.0, 5)[0][1] == "ONSET"


def test_a_long_loud_sound_is_no_noise():
    line = Line(max_utterance_ms=28_000)
    assert [kind for _, kind in line.feed(-12.0, 1_300)] == ["ONSET", "LASTED"]


def test_a_row_opened_again_has_forgotten_the_call_before():
    line = Line()
    line.feed(LOUD, 20)
    line.detector.open(2, TurnSettings(), -45.0)
    assert line.feed(QUIET, 40) == []


def test_rows_do_not_touch_each_other():
    detector = Detector(3)
    for row in range(3):
        detector.open(row, TurnSettings(), -45.0)
    for frame in range(10):
        events = detector.step(np.array([0, 2]), np.array([LOUD, QUIET]), np.array([frame, frame]))
        assert all(event.row == 0 for event in events)
    assert detector.state.tolist() == [1, 0, 0]
