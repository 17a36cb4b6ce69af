import numpy as np
import pytest

from mediaworker.core.rooms.mix import clip, mix_minus

pytestmark = pytest.mark.unit


def test_three_in_a_room_hear_the_other_two():
    pcm = np.array([[1, 10], [2, 20], [4, 40]], np.int16)
    heard = mix_minus(pcm, np.array([0]), np.array([0, 0, 0]))
    assert heard.tolist() == [[6, 60], [5, 50], [3, 30]]


def test_rooms_do_not_hear_each_other_and_one_alone_hears_nothing():
    pcm = np.array([[1], [2], [100]], np.int16)
    assert mix_minus(pcm, np.array([0, 2]), np.array([0, 0, 1])).tolist() == [[2], [1], [0]]


def test_sums_are_clipped_at_the_end_only():
    pcm = np.array([[30_000], [30_000], [-30_000]], np.int16)
    heard = mix_minus(pcm, np.array([0]), np.array([0, 0, 0]))
    assert clip(heard).tolist() == [[0], [0], [32_767]]
    assert clip(-heard - 40_000).tolist() == [[-32_768], [-32_768], [-32_768]]
