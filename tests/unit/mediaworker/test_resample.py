import numpy as np
import pytest

from mediaworker.core.resample import HALF_BAND_DELAY, HalfBand, Rational, to_samples

pytestmark = pytest.mark.unit

LEVEL = 10_000


def tone(hz: float, rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    return (LEVEL * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def gain_db(wave: np.ndarray, skip: int = 400) -> float:
    """Against the tone that went in."""
    power = np.mean(wave[skip:-skip].astype(np.float64) ** 2)
    return float(10 * np.log10(power / (LEVEL**2 / 2) + 1e-12))


def down(wave: np.ndarray) -> np.ndarray:
    band = HalfBand(3)
    row = np.array([2])
    return np.concatenate([band.down(row, wave[None, at : at + 320])[0] for at in range(0, len(wave), 320)])


def up(wave: np.ndarray) -> np.ndarray:
    band = HalfBand(3)
    row = np.array([2])
    return np.concatenate([band.up(row, wave[None, at : at + 160])[0] for at in range(0, len(wave), 160)])


@pytest.mark.parametrize("hz", [200, 1_000, 3_400])
def test_what_a_telephone_hears_passes_both_ways_at_its_level(hz: int):
    assert abs(gain_db(down(tone(hz, 16_000)))) < 0.05
    assert abs(gain_db(up(tone(hz, 8_000)))) < 0.05


@pytest.mark.parametrize("hz", [4_600, 6_000, 7_900])
def test_what_8_khz_cannot_hold_is_not_folded_into_it(hz: int):
    assert gain_db(down(tone(hz, 16_000))) < -55


def test_nothing_is_heard_above_4_khz_of_what_has_nothing_there():
    wave = up(tone(1_000, 8_000))[800:].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    above = spectrum[int(4_500 / 16_000 * len(wave)) :].max()
    assert 20 * np.log10(above / spectrum.max()) < -55


def test_the_delay_is_what_it_says():
    click = np.zeros(640, np.int16)
    click[100] = LEVEL
    assert int(np.argmax(down(click))) * 2 in {100 + HALF_BAND_DELAY - 1, 100 + HALF_BAND_DELAY + 1}
    assert int(np.argmax(up(click[:320]))) == 2 * 100 + HALF_BAND_DELAY


def test_rows_do_not_hear_each_other():
    band = HalfBand(4)
    wide = np.stack([tone(700, 16_000)[:320], np.zeros(320, np.int16), tone(900, 16_000)[:320]])
    narrow = band.down(np.array([0, 1, 3]), wide)
    assert not narrow[1].any()
    assert np.array_equal(narrow[0], HalfBand(1).down(np.array([0]), wide[:1])[0])
    assert np.array_equal(narrow[2], HalfBand(1).down(np.array([0]), wide[2:])[0])
    assert not band.up(np.array([1]), np.zeros((1, 160), np.int16)).any()


def test_a_forgotten_row_begins_in_silence():
    band = HalfBand(1)
    row = np.array([0])
    band.down(row, np.full((1, 320), LEVEL, np.int16))
    band.up(row, np.full((1, 160), LEVEL, np.int16))
    band.forget(0)
    assert not band.down(row, np.zeros((1, 320), np.int16)).any()
    assert not band.up(row, np.zeros((1, 160), np.int16)).any()


def test_the_loudest_sound_is_clipped_and_does_not_wrap():
    loud = np.tile(np.repeat(np.array([32_767, -32_768], np.int16), 20), 40)
    assert int(down(loud).max()) == 32_767
    assert int(up(loud[:800]).min()) == -32_768
    assert to_samples(np.array([40_000.0, -40_000.0, 0.6], np.float32)).tolist() == [32_767, -32_768, 1]


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44_100, 16_000), (16_000, 44_100), (44_100, 8_000)])
def test_twenty_ms_stay_twenty_ms(rate_in: int, rate_out: int):
    stream = Rational(rate_in, rate_out)
    block = np.zeros(rate_in // 50, np.int16)
    assert {len(stream.feed(block)) for _ in range(50)} == {rate_out // 50}


@pytest.mark.parametrize("size", [1, 7, 441, 700, 882, 3_000])
def test_the_cut_of_the_blocks_is_not_heard(size: int):
    wave = tone(1_000, 44_100)[:6_001]
    whole = Rational(44_100, 16_000).feed(wave)
    stream = Rational(44_100, 16_000)
    pieces = [stream.feed(wave[at : at + size]) for at in range(0, len(wave), size)]
    heard = np.concatenate(pieces)
    assert len(heard) == len(whole)
    assert np.abs(heard.astype(np.int64) - whole).max() <= 1, "another order of summing"


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44_100, 16_000), (16_000, 44_100)])
def test_speech_passes_between_odd_rates(rate_in: int, rate_out: int):
    for hz in (200, 3_000, 6_500):
        assert abs(gain_db(Rational(rate_in, rate_out).feed(tone(hz, rate_in)))) < 0.1


def test_what_16_khz_cannot_hold_is_not_folded_into_it():
    for hz in (9_000, 12_000, 20_000):
        assert gain_db(Rational(44_100, 16_000).feed(tone(hz, 44_100))) < -60


def test_the_delay_of_odd_rates_is_what_it_says():
    stream = Rational(44_100, 16_000)
    click = np.zeros(8_820, np.int16)
    click[4_410] = LEVEL
    assert abs(int(np.argmax(stream.feed(click))) - (0.1 + stream.delay_s) * 16_000) < 2
