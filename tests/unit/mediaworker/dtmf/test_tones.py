import numpy as np
import pytest

from mediaworker.core.dtmf.tones import HIGH_HZ, LOW_HZ, PAIRS, RAMP_MS, ZERO_DBM0_PEAK, amplitude, tone
from mediaworker.core.g711 import MU_LAW

pytestmark = pytest.mark.unit

KEYPAD = {
    "1": (697, 1209), "2": (697, 1336), "3": (697, 1477), "A": (697, 1633),
    "4": (770, 1209), "5": (770, 1336), "6": (770, 1477), "B": (770, 1633),
    "7": (852, 1209), "8": (852, 1336), "9": (852, 1477), "C": (852, 1633),
    "*": (941, 1209), "0": (941, 1336), "#": (941, 1477), "D": (941, 1633),
}  # fmt: skip
"""ITU-T Q.23."""


def level_dbm0(pcm: np.ndarray, hz: float, rate_hz: int) -> float:
    turn = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / rate_hz)
    window = np.blackman(len(pcm))
    peak = 2 * abs(np.sum(pcm * turn * window)) / window.sum()
    return float(20 * np.log10(peak / ZERO_DBM0_PEAK))


def test_frequencies_are_those_of_the_recommendation():
    assert PAIRS == KEYPAD
    assert (len(LOW_HZ), len(HIGH_HZ)) == (4, 4)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
@pytest.mark.parametrize("digit", KEYPAD)
def test_both_tones_have_their_level_and_nothing_else_is_there(digit: str, rate_hz: int):
    pcm = tone(digit, 200, -10, rate_hz).astype(np.float64)
    low, high = (level_dbm0(pcm, hz, rate_hz) for hz in KEYPAD[digit])
    assert high - low == pytest.approx(2, abs=0.1)
    assert 10 * np.log10(10 ** (low / 10) + 10 ** (high / 10)) == pytest.approx(-10, abs=0.1)
    for hz in (*LOW_HZ, *HIGH_HZ):
        if hz not in KEYPAD[digit]:
            assert level_dbm0(pcm, hz, rate_hz) < -45


def test_a_sine_at_3_17_dbm0_just_reaches_the_highest_code():
    assert amplitude(3.17) == pytest.approx(32_636)
    loud = np.array([round(amplitude(3.17))]).clip(max=32_767).astype(np.int16)
    assert MU_LAW.encoder[loud.view(np.uint16)][0] == 0x80


def test_a_tone_begins_and_ends_softly():
    pcm = np.abs(tone("5", 100, -3).astype(np.int32))
    ramp = RAMP_MS * 8
    assert pcm[0] < pcm.max() / 50
    assert pcm[-1] < pcm.max() / 10
    assert pcm[: ramp // 2].max() < pcm.max() / 2
    assert len(pcm) == 800


@pytest.mark.parametrize("ms", [0, 1, 3])
def test_a_tone_may_be_shorter_than_its_ramps(ms: int):
    assert len(tone("5", ms, -10)) == 8 * ms


def test_the_loudest_tone_is_not_clipped():
    assert np.abs(tone("D", 500, 0).astype(np.int32)).max() < 32_000
