"""Loudness: limiter, loudest talkers and ducking, over time."""

import numpy as np
import pytest

from mediaworker.core.rooms.gain import DUCK_STEP, FULL, TALKERS, Ducker, Limiter, Talkers, ramps

pytestmark = pytest.mark.unit

ONE = np.array([0])


def noise(
    random: np.random.Generator, legs: int, rms: float
) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return np.clip(random.normal(0, rms, (legs, 160)), -32_768, 32_767).astype(np.int16)


def test_the_gain_is_down_before_the_peak_comes():
    limiter = Limiter(1)
    frame = np.full((1, 160), 20_000, np.int32)
    frame[0, 100:110] = 60_000
    out = limiter.limit(ONE, frame)
    assert FULL - 1 <= out.max() <= FULL
    steps = np.abs(np.diff(out[0, :100].astype(int)))
    assert steps.max() < 1_500, "it goes down by a ramp, not by a step"
    assert out[0, 0] == 20_000


def test_it_lets_go_slowly_and_then_altogether():
    limiter = Limiter(1)
    limiter.limit(ONE, np.full((1, 160), 60_000, np.int32))
    quiet = np.full((1, 160), 10_000, np.int32)
    levels = [int(limiter.limit(ONE, quiet)[0, -1]) for _ in range(400)]
    assert levels == sorted(levels)
    assert levels[0] < 5_600
    assert levels[25] < 7_800, "half a second later it is still on its way"
    assert levels[-1] == 10_000


def test_many_talkers_at_once_do_not_make_it_pump():
    """Twelve people who all talk loudly: the gain of one second to the next stays within a decibel."""
    random = np.random.default_rng(1)
    limiter = Limiter(1)
    gains = []
    for _ in range(500):
        heard = noise(random, 12, 6_000).astype(np.int32).sum(axis=0, keepdims=True)
        out = limiter.limit(ONE, heard)
        assert np.abs(out.astype(int)).max() <= FULL + 1
        gains.append(float(np.abs(out.astype(float)).sum() / np.abs(heard.astype(float)).sum()))
    seconds = np.array(gains[50:]).reshape(-1, 50).mean(axis=1)
    assert 20 * np.log10(seconds.max() / seconds.min()) < 1.0
    assert np.array(20 * np.log10(gains[50:])).std() < 0.9, "dB, frame by frame"


def test_a_hundred_open_microphones_are_as_loud_as_a_few():
    random = np.random.default_rng(2)
    talkers = Talkers(100)
    rows, room, big = np.arange(100), np.zeros(100, np.int64), np.ones(100, np.bool_)
    for _ in range(50):
        weights = talkers.weigh(rows, noise(random, 100, 30), room, big)
    assert np.count_nonzero(weights == 1) == TALKERS
    assert np.count_nonzero(weights) <= TALKERS + 12, "the rest have faded, or are fading"


def test_who_begins_to_talk_is_heard_in_the_same_frame_and_stays_through_pauses():
    random = np.random.default_rng(3)
    talkers = Talkers(20)
    rows, room, big = np.arange(20), np.zeros(20, np.int64), np.ones(20, np.bool_)
    pcm = noise(random, 20, 30)
    for _ in range(50):
        talkers.weigh(rows, pcm, room, big)
    for row in (3, 17):
        pcm[row] = noise(random, 1, 3_000)[0]
    weights = talkers.weigh(rows, pcm, room, big)
    assert weights[[3, 17]].tolist() == [1, 1]
    quiet = noise(random, 20, 30)
    for _ in range(25):
        weights = talkers.weigh(rows, quiet, room, big)
    assert weights[[3, 17]].tolist() == [1, 1], "half a second of silence between two words"


def test_two_who_are_equally_loud_do_not_take_turns():
    random = np.random.default_rng(4)
    talkers = Talkers(TALKERS + 1)
    rows = np.arange(TALKERS + 1)
    room, big = np.zeros(TALKERS + 1, np.int64), np.ones(TALKERS + 1, np.bool_)
    heard = [talkers.weigh(rows, noise(random, TALKERS + 1, 3_000), room, big) == 1 for _ in range(200)]
    assert len({tuple(who) for who in heard[20:]}) == 1


def test_small_rooms_hear_everyone_and_rooms_do_not_compete():
    talkers = Talkers(30)
    room = np.array([0] * 4 + [1] * 26)
    pcm = np.zeros((30, 160), np.int16)
    pcm[4:] = 5_000
    for _ in range(20):
        weights = talkers.weigh(np.arange(30), pcm, room, room == 1)
    assert weights[:4].tolist() == [1] * 4
    assert np.count_nonzero(weights[4:] == 1) == TALKERS


def test_who_leaves_takes_the_level_along():
    talkers = Talkers(20)
    rows, room, big = np.arange(20), np.zeros(20, np.int64), np.ones(20, np.bool_)
    pcm = np.zeros((20, 160), np.int16)
    pcm[0] = 20_000
    talkers.weigh(rows, pcm, room, big)
    talkers.forget(0)
    pcm[0], pcm[1:] = 10, 100
    for _ in range(10):
        weights = talkers.weigh(rows, pcm, room, big)
    assert weights[0] == 0


def test_background_goes_down_fast_and_comes_back_slowly_without_a_step():
    ducker = Ducker(1)
    ducker.depth[0] = 0.25
    music = np.full((1, 160), 10_000, np.int16)
    before = ducker.apply(ONE, music, np.array([False]))
    assert before.tolist() == music.tolist()
    down = [ducker.apply(ONE, music, np.array([True]))[0] for _ in range(5)]
    assert down[3].tolist() == [2_500] * 160
    back = [ducker.apply(ONE, music, np.array([False]))[0] for _ in range(40)]
    assert back[-1].tolist() == [10_000] * 160
    assert back[5].max() < 6_000
    whole = np.concatenate([*down, *back])
    assert np.abs(np.diff(whole)).max() <= 10_000 * DUCK_STEP / 160 + 1


def test_a_ramp_ends_where_it_is_going():
    gains = ramps(np.array([0.0, 1.0]), np.array([1.0, 1.0]), 4)
    assert gains.tolist() == [[0.25, 0.5, 0.75, 1.0], [1.0] * 4]


def test_forgetting_a_limiter_or_ducker_begins_anew():
    limiter, ducker = Limiter(1), Ducker(1)
    limiter.limit(ONE, np.full((1, 160), 60_000, np.int32))
    limiter.forget(0)
    assert limiter.limit(ONE, np.full((1, 160), 10_000, np.int32)).tolist() == [[10_000] * 160]
    ducker.depth[0] = 0
    for _ in range(5):
        ducker.apply(ONE, np.zeros((1, 160), np.int16), np.array([True]))
    ducker.forget(0)
    music = np.full((1, 160), 7, np.int16)
    assert ducker.apply(ONE, music, np.array([True])).tolist() == music.tolist()
