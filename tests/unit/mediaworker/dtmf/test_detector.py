"""Tones in the sound against the limits of ITU-T Q.24 (AT&T's column), coded with mu-law as on the line."""

import numpy as np
import numpy.typing as npt
import pytest

from mediaworker.core.dtmf.detector import Pressed, ToneDetector
from mediaworker.core.dtmf.tones import HIGH_HZ, LOW_HZ, PAIRS, amplitude
from mediaworker.core.g711 import MU_LAW

pytestmark = pytest.mark.unit

FRAME = 160
Sound = npt.NDArray[np.float64]
Found = list[list[Pressed]]


def wave(
    digit: str, ms: float, low_dbm0: float, high_dbm0: float, off: tuple[float, float], at: Sound
) -> Sound:
    """Two tones, switched hard; `at` are their phases."""
    time = np.arange(round(8 * ms)) / 8_000
    sound = np.zeros(len(time))
    for hz, dbm0, part, phase in zip(PAIRS[digit], (low_dbm0, high_dbm0), off, at, strict=True):
        sound += amplitude(dbm0) * np.sin(2 * np.pi * hz * (1 + part) * time + phase)
    return sound


def listen(sounds: list[Sound]) -> Found:
    """Every sound is a leg."""
    count = max(map(len, sounds)) // FRAME * FRAME + 5 * FRAME
    pcm = np.zeros((len(sounds), count))
    for row, sound in enumerate(sounds):
        pcm[row, : len(sound)] = sound
    line = np.rint(pcm).clip(-32_768, 32_767).astype(np.int16)
    line = MU_LAW.decoder[MU_LAW.encoder[line.view(np.uint16)]]
    detector, rows = ToneDetector(len(sounds)), np.arange(len(sounds))
    found: Found = [[] for _ in sounds]
    for start in range(0, count, FRAME):
        for press in detector.step(rows, line[:, start : start + FRAME]):
            found[press.row].append(press)
    assert detector.held() == []
    return found


def dial(
    *, ms: float = 40, low: float = -10, high: float = -10, off: tuple[float, float] = (0, 0), snr_db: float = 0,
    seed: int = 1, each: int = 10, pause: float = 0,
) -> tuple[list[str], Found]:  # fmt: skip
    """All digits, `each` times, at any place in a frame and any phase; twice with a `pause` of some ms between."""
    random = np.random.default_rng(seed)
    wanted = list(PAIRS) * each
    sounds = []
    for digit in wanted:
        sound = wave(digit, ms, low, high, off, random.uniform(0, 2 * np.pi, 2))
        if pause:
            sound = np.concatenate([sound, np.zeros(round(8 * pause)), sound])
        sound = np.concatenate([np.zeros(random.integers(320, 480)), sound, np.zeros(400)])
        if snr_db:
            rms = np.sqrt((amplitude(low) ** 2 + amplitude(high) ** 2) / 2)
            sound += random.normal(size=len(sound)) * rms * 10 ** (-snr_db / 20)
        sounds.append(sound)
    return wanted, listen(sounds)


def digits(found: Found) -> list[str]:
    return ["".join(press.digit for press in leg) for leg in found]


@pytest.mark.parametrize("off", [(a, b) for a in (-0.015, 0, 0.015) for b in (-0.015, 0, 0.015)])
@pytest.mark.parametrize(
    ("low", "high"), [(-25, -25), (-28, -28), (0, 0), (-25, -21), (-17, -25), (-4, 0), (0, -8), (-25, -33)]
)
def test_40_ms_are_found_at_every_level_and_twist_and_1_5_percent_off(
    low: float, high: float, off: tuple[float, float]
):
    wanted, found = dial(low=low, high=high, off=off)
    assert digits(found) == wanted


@pytest.mark.parametrize("snr_db", [30, 20, 15])
@pytest.mark.parametrize("off", [(0, 0), (0.015, -0.015)])
def test_noise_15_db_below_is_no_hindrance(snr_db: float, off: tuple[float, float]):
    wanted, found = dial(low=-25, high=-25, snr_db=snr_db, ms=45, off=off)
    assert digits(found) == wanted


@pytest.mark.parametrize(
    "off", [(0.035, 0), (-0.035, 0), (0, 0.035), (0, -0.035), (0.035, -0.035), (0.05, 0.05)]
)
def test_3_5_percent_off_is_no_digit(off: tuple[float, float]):
    _, found = dial(off=off, ms=120)
    assert digits(found) == [""] * len(found)


@pytest.mark.parametrize("ms", [5, 10, 15, 20, 23])
def test_what_is_too_short_is_no_digit(ms: float):
    _, found = dial(ms=ms)
    assert digits(found) == [""] * len(found)


@pytest.mark.parametrize("ms", [40, 65, 100, 400, 3_000])
def test_how_long_a_digit_sounded(ms: float):
    _, found = dial(ms=ms, each=3)
    assert all(abs(leg[0].duration_ms - ms) <= 10 for leg in found)


def test_40_ms_of_pause_make_two_digits():
    wanted, found = dial(pause=40, low=-25, high=-25, off=(0.015, -0.015))
    assert digits(found) == [2 * digit for digit in wanted]


@pytest.mark.parametrize("ms", [1, 5, 10])
def test_a_break_of_10_ms_does_not(ms: float):
    wanted, found = dial(pause=ms, ms=60)
    assert digits(found) == wanted


def test_digits_without_a_pause_are_told_apart():
    at = np.zeros(2)
    sound = np.concatenate([np.zeros(333)] + [wave(digit, 80, -10, -10, (0, 0), at) for digit in "1470"])
    assert digits(listen([sound])) == ["1470"]


@pytest.mark.parametrize(("low", "high"), [(-10, -3), (-3, -17), (-10, -50), (-50, -10), (-45, -45)])
def test_one_tone_alone_or_far_stronger_and_whispers_are_no_digit(low: float, high: float):
    _, found = dial(low=low, high=high, ms=120)
    assert digits(found) == [""] * len(found)


@pytest.mark.parametrize("third_hz", [350, 440, 620, 1_100, 2_000])
def test_a_third_tone_as_strong_makes_it_no_digit(third_hz: float):
    at = np.zeros(2)
    time = np.arange(1_600) / 8_000
    third = amplitude(-10) * np.sin(2 * np.pi * third_hz * time)
    sound = np.concatenate([np.zeros(400), wave("5", 200, -10, -10, (0, 0), at) + third])
    assert digits(listen([sound])) == [""]


def test_two_tones_of_one_group_are_no_digit():
    time = np.arange(1_600) / 8_000
    pairs = [(LOW_HZ[0], LOW_HZ[3]), (HIGH_HZ[0], HIGH_HZ[2])]
    sounds = [amplitude(-10) * sum(np.sin(2 * np.pi * hz * time) for hz in pair) for pair in pairs]
    assert digits(listen(sounds)) == ["", ""]


def test_a_leg_that_is_opened_again_knows_nothing_of_what_was():
    detector, row = ToneDetector(2), np.array([1])
    sound = np.rint(wave("5", 60, -10, -10, (0, 0), np.zeros(2))).astype(np.int16)
    for start in range(0, 480, FRAME):
        detector.step(row, sound[None, start : start + FRAME])
    assert detector.held() == [1]
    detector.open(1)
    assert detector.held() == []
    for _ in range(5):
        assert detector.step(row, np.zeros((1, FRAME), np.int16)) == []
