"""Sources by themselves: loops, cadences without seams, streams, other rates."""

import numpy as np
import pytest

from mediaworker.core.playing.media_source import NOTHING, Louder, Pcm, Retuned, Silence, Source, Stream, Tone
from shared.contracts import ToneStep

pytestmark = pytest.mark.unit


def drain(
    source: Source, sizes: tuple[int, ...] = (7, 160, 1, 333)
) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Everything, in pieces of odd sizes."""
    parts, turn = [], 0
    while not source.ended:
        part = source.read(sizes[turn % len(sizes)])
        assert len(part) <= sizes[turn % len(sizes)]
        parts.append(part)
        turn += 1
    return np.concatenate(parts) if parts else NOTHING


def amplitude(dbm0: float) -> float:
    return 32_767 * 10 ** ((dbm0 - 3.14) / 20)


def test_pcm_is_looped_without_a_seam():
    assert drain(Pcm(np.arange(100).astype(np.int16), 5)).tolist() == list(range(100)) * 5
    assert Pcm(np.arange(3).astype(np.int16), 0).read(10).tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("loops", [0, 1, 3])
def test_nothing_is_over_at_once(loops: int):
    assert Pcm(NOTHING, loops).ended
    assert Pcm(NOTHING, loops).read(10).tolist() == []


def test_silence_has_a_length():
    assert drain(Silence(500)).tolist() == [0] * 500


def test_a_steady_tone_has_no_seam_between_its_rounds():
    """350 + 440 Hz for ever, 250 ms a round: neither is a whole number of turns in a round."""
    step = ToneStep(ms=250, frequencies_hz=[350.3, 440.7], level_dbm0=-13.0)
    heard = Tone([step], 0, 8_000).read(16_000)
    time = np.arange(16_000) / 8_000
    whole = amplitude(-13.0) * (np.sin(2 * np.pi * 350.3 * time) + np.sin(2 * np.pi * 440.7 * time))
    assert np.abs(heard[40:] - whole[40:]).max() <= 1, "only its very beginning is a ramp"


def test_a_cadence_has_the_lengths_it_was_given_and_soft_edges():
    steps = [ToneStep(ms=100, frequencies_hz=[425.0], level_dbm0=-10.0), ToneStep(ms=50)]
    heard = drain(Tone(steps, 2, 16_000))
    assert len(heard) == 2 * 150 * 16
    rounds = heard.reshape(2, 2_400)
    assert np.all(rounds[:, 1_600:] == 0)
    assert np.abs(rounds[:, 200:1_400]).max() == pytest.approx(amplitude(-10.0), rel=0.01)
    assert np.abs(np.diff(heard.astype(int))).max() < 1_500, "no click"


@pytest.mark.parametrize("sizes", [(1,), (160,), (3_000,)])
def test_a_tone_is_the_same_in_pieces_of_any_size(sizes: tuple[int, ...]):
    steps = [
        ToneStep(ms=31, frequencies_hz=[700.0]),
        ToneStep(ms=13),
        ToneStep(ms=20, frequencies_hz=[900.0]),
    ]
    assert np.array_equal(drain(Tone(steps, 3, 8_000), sizes), drain(Tone(steps, 3, 8_000), (10_000,)))


def test_too_many_loud_frequencies_are_clipped_and_do_not_wrap():
    step = ToneStep(ms=100, frequencies_hz=[500.0] * 8, level_dbm0=3.0)
    heard = drain(Tone([step], 1, 8_000)).astype(int)
    assert (heard.max(), heard.min()) == (32_767, -32_768)


def test_a_stream_gives_what_was_brought_and_ends_when_told():
    stream = Stream()
    assert stream.read(10).tolist() == []
    stream.feed(np.array([1, 2, 3], np.int16))
    stream.feed(NOTHING)
    stream.feed(np.array([4, 5], np.int16))
    assert stream.waiting_samples == 5
    assert stream.read(2).tolist() == [1, 2]
    assert stream.read(9).tolist() == [3, 4, 5]
    assert not stream.ended
    assert not stream.complete
    stream.finish()
    assert stream.ended
    assert stream.complete


def test_a_stream_may_be_brought_whole():
    stream = Stream()
    stream.bring(np.array([1, 2], np.int16), 2)
    assert stream.complete
    assert drain(stream).tolist() == [1, 2, 1, 2]


def test_louder_is_louder_and_clips():
    source = Louder(Pcm(np.array([100, 20_000, -20_000], np.int16)), 2.0)
    assert drain(source).tolist() == [200, 32_767, -32_768]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("ahead", [0, 1, 333])
def test_another_rate_has_the_same_length_and_sound(*, up: bool, ahead: int):
    rate = 8_000 if up else 16_000
    wave = (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(8_000) / rate)).astype(np.int16)
    heard = drain(Retuned(wave[:ahead], Pcm(wave[ahead:]), up=up))
    assert len(heard) == (16_000 if up else 4_000)
    there = 2 * rate if up else rate // 2
    # The filter delays by half a sample of 8 kHz: the tone is fitted, and nothing else may be left.
    turn = np.exp(2j * np.pi * 1_000 * np.arange(500, 3_000) / there)
    fitted = 2 * np.mean(heard[500:3_000] * turn.conj())
    assert abs(fitted) == pytest.approx(8_000, rel=0.005)
    assert np.abs(heard[500:3_000] - (fitted * turn).real).max() < 40


def test_what_comes_bit_by_bit_at_half_the_rate_loses_no_odd_sample():
    stream = Stream()
    source = Retuned(NOTHING, stream, up=False)
    heard = []
    for value in range(99):
        stream.feed(np.full(3, value, np.int16))
        heard.append(source.read(2))
    stream.finish()
    heard.append(drain(source))
    assert len(np.concatenate(heard)) == 99 * 3 // 2
