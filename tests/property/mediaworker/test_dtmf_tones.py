"""The tone detector of all legs against the plain one of one leg."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.dtmf.detector import ToneDetector
from tests.support.reference_dtmf import HIGH, KEYS, LOW, Detector, goertzel

pytestmark = pytest.mark.property

FRAME = 160
Pcm = npt.NDArray[np.int16]

tones = st.tuples(
    st.sampled_from(KEYS),
    st.sampled_from([12, 45, 63, 110]),
    st.sampled_from([-0.045, -0.015, 0.0, 0.01, 0.015, 0.045]),
    st.sampled_from([300, 3_000, 12_000]),
    st.sampled_from([5, 41, 77]),
)
"""Key, ms, how far off its frequencies are, amplitude, ms of pause after it."""


def sound(parts: list[tuple[str, int, float, int, int]], noise: int, seed: int) -> Pcm:
    random = np.random.default_rng(seed)
    pieces = [np.zeros(233)]
    for key, ms, off, amplitude, pause in parts:
        low, high = LOW[KEYS.index(key) // 4], HIGH[KEYS.index(key) % 4]
        time = np.arange(8 * ms) / 8_000
        pieces.append(amplitude * sum(np.sin(2 * np.pi * hz * (1 + off) * time) for hz in (low, high)))
        pieces.append(np.zeros(8 * pause))
    whole = np.concatenate([*pieces, np.zeros(800)])
    whole = np.concatenate([whole, np.zeros(-len(whole) % FRAME)])
    return np.rint(whole + random.uniform(-noise, noise, len(whole))).astype(np.int16)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.lists(tones, max_size=3), st.sampled_from([0, 30, 200])), min_size=1, max_size=3),
    st.integers(0, 1_000),
)
def test_legs_hear_what_one_leg_alone_hears(
    legs: list[tuple[list[tuple[str, int, float, int, int]], int]], seed: int
):
    said = [sound(parts, noise, seed + row) for row, (parts, noise) in enumerate(legs)]
    count = max(map(len, said))
    pcm = np.stack([np.concatenate([one, np.zeros(count - len(one), np.int16)]) for one in said])
    together, alone = ToneDetector(len(legs) + 1), [Detector() for _ in legs]
    rows = np.arange(1, len(legs) + 1)
    for start in range(0, count, FRAME):
        frame = pcm[:, start : start + FRAME]
        apart = 1 + start // FRAME % len(legs)  # as two phases of the 20 ms, split anywhere
        found = together.step(rows[:apart], frame[:apart])
        if apart < len(legs):
            found += together.step(rows[apart:], frame[apart:])
        wanted = [
            (row + 1, digit, ms)
            for row, one in enumerate(alone)
            for digit, ms in one.frame(frame[row].tolist())
        ]
        assert sorted(found) == sorted(wanted)
        assert sorted(together.held()) == [row + 1 for row, one in enumerate(alone) if one.digit]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_filters_give_what_goertzel_gives(seed: int, legs: int):
    pcm = np.random.default_rng(seed).integers(-32_768, 32_768, (legs, 3 * FRAME)).astype(np.int16)
    detector = ToneDetector(legs)
    for start in range(0, 3 * FRAME, FRAME):
        detector.step(np.arange(legs), pcm[:, start : start + FRAME])
    for row in range(legs):
        wanted = [goertzel(pcm[row, -FRAME:].tolist(), hz) for hz in LOW + HIGH]
        assert np.allclose(detector._block[row], wanted, rtol=1e-3, atol=64)
        assert detector._block_energy[row] == pytest.approx(
            np.sum(pcm[row, -FRAME:].astype(np.float64) ** 2), rel=1e-5
        )
