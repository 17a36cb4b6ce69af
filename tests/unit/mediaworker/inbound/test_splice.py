import numpy as np
import pytest

from mediaworker.core.inbound import splice
from tests.support import reference_playout as reference
from tests.support.engine_caller import tone

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("size", [160, 320])
def test_two_frames_of_a_tone_become_one_without_a_step(size: int):
    rate = size * 50
    wave = (8_000 * np.sin(2 * np.pi * 150 * np.arange(2 * size) / rate)).astype(np.int16)[None]
    first, second = wave[:, :size], wave[:, size:]
    seam = splice.find(first, second)
    one = splice.splice(first, second, seam)[0].astype(int)
    assert one.shape == (size,)
    assert (one[0], one[-1]) == (first[0, 0], second[0, -1])
    assert np.abs(np.diff(one)).max() <= np.abs(np.diff(wave[0].astype(int))).max() * 1.3


def test_the_cut_is_where_the_frames_are_alike():
    rng = np.random.default_rng(5)
    first, second = rng.integers(-9_000, 9_000, (2, 1, 160)).astype(np.int16)
    second[0, 60:100] = first[0, 60:100]
    seam = splice.find(first, second)
    assert seam.start[0] == 60
    assert seam.likeness[0] == pytest.approx(1.0, abs=1e-6)
    one = splice.splice(first, second, seam)[0]
    assert one[:60].tolist() == first[0, :60].tolist()
    assert one[100:].tolist() == second[0, 100:].tolist()


def test_what_is_quiet_or_alike_may_go_and_what_is_neither_may_not():
    rng = np.random.default_rng(6)
    noise = rng.integers(-9_000, 9_000, (2, 160)).astype(np.int16)
    first = np.stack([noise[0], tone(200, 160), np.zeros(160, np.int16), noise[0]])
    second = np.stack([noise[1], tone(200, 160), noise[1] // 100, np.zeros(160, np.int16)])
    seam = splice.find(first, second)
    assert splice.harmless(first, second, seam).tolist() == [False, True, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_the_slow_version_gives_the_same(seed: int):
    first, second = np.random.default_rng(seed).integers(-32_768, 32_768, (2, 1, 160)).astype(np.int16)
    one = splice.splice(first, second)[0]
    assert one.tolist() == reference.splice(first[0].tolist(), second[0].tolist())
