import numpy as np
import pytest

from mediaworker.core.codecs.wave import WaveConcealer
from tests.support.listening import level_db, tones, voice

pytestmark = pytest.mark.unit

rates = pytest.mark.parametrize("rate_hz", [8_000, 16_000])


def fed(rate_hz: int, wave: np.ndarray) -> WaveConcealer:
    concealer = WaveConcealer(rate_hz)
    for at in range(0, len(wave), rate_hz // 50):
        concealer.good(wave[at : at + rate_hz // 50])
    return concealer


@rates
def test_what_has_a_pitch_goes_on_as_if_nothing_happened(rate_hz: int):
    wave = tones(rate_hz, 0.32, 200, 400, 1_000)
    heard, lost = wave[: rate_hz * 3 // 10], wave[rate_hz * 3 // 10 :]
    made = fed(rate_hz, heard).conceal(len(lost))
    blend = rate_hz * 4 // 1_000
    steady = slice(0, rate_hz // 100 - blend)
    error = made[steady].astype(np.float64) - lost[steady]
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(lost.astype(np.float64) ** 2))


@rates
def test_it_fades_from_10_to_60_ms(rate_hz: int):
    made = fed(rate_hz, tones(rate_hz, 0.3, 250)).conceal(rate_hz // 10)
    step = rate_hz // 100
    levels = [level_db(made[at : at + step]) for at in range(0, len(made), step)]
    assert levels[0] == pytest.approx(level_db(tones(rate_hz, 0.3, 250)), abs=1)
    assert levels[3] == pytest.approx(levels[0] + 20 * np.log10(0.5), abs=1.5)
    assert level_db(made[rate_hz * 6 // 100 :]) < -100


@rates
def test_a_hole_is_the_same_in_one_piece_or_in_many(rate_hz: int):
    wave = voice(rate_hz, 0.3)
    whole = fed(rate_hz, wave).conceal(960)
    concealer = fed(rate_hz, wave)
    assert np.array_equal(np.concatenate([concealer.conceal(size) for size in (1, 79, 240, 320, 320)]), whole)


@rates
def test_what_follows_is_blended_in_for_4_ms_and_then_left_alone(rate_hz: int):
    concealer = fed(rate_hz, tones(rate_hz, 0.3, 300))
    concealer.conceal(rate_hz // 50)
    following = np.full(rate_hz // 50, -5_000, np.int16)
    heard = concealer.good(following)
    blend = rate_hz * 4 // 1_000
    assert np.array_equal(heard[blend:], following[blend:])
    assert heard[0] != following[0]
    assert (following == -5_000).all(), "what was given is not written to"
    assert np.array_equal(concealer.good(following), following), "once only"


@rates
def test_a_blend_is_no_longer_than_what_follows(rate_hz: int):
    concealer = fed(rate_hz, tones(rate_hz, 0.3, 300))
    concealer.conceal(160)
    assert len(concealer.good(np.zeros(3, np.int16))) == 3
    assert len(concealer.good(np.zeros(0, np.int16))) == 0


@rates
def test_silence_and_the_very_beginning_are_silent(rate_hz: int):
    assert not WaveConcealer(rate_hz).conceal(320).any()
    assert not fed(rate_hz, np.zeros(rate_hz // 5, np.int16)).conceal(320).any()


@rates
def test_the_loudest_sound_does_not_wrap(rate_hz: int):
    wave = np.repeat(np.array([32_767, -32_768], np.int16), 40)
    made = fed(rate_hz, np.tile(wave, 20)).conceal(rate_hz // 50)
    assert made.max() <= 32_767
    assert level_db(made) > -1.5


@rates
def test_it_is_nearer_to_a_voice_than_the_last_frame_again(rate_hz: int):
    """Segmental error over a voice with every tenth frame lost."""
    wave, frame = voice(rate_hz, 4), rate_hz // 50
    concealer = WaveConcealer(rate_hz)
    errors = {"made": 0.0, "again": 0.0}
    before = wave[:frame]
    for number, at in enumerate(range(0, len(wave) - frame + 1, frame)):
        true = wave[at : at + frame]
        if number % 10 != 9:
            concealer.good(true)
            before = true
            continue
        power = float(np.mean(true.astype(np.float64) ** 2)) + 100
        for name, made in (("made", concealer.conceal(frame)), ("again", before)):
            errors[name] += float(np.log10(np.mean((made - true.astype(np.float64)) ** 2) / power + 1e-3))
    assert errors["made"] < errors["again"]
