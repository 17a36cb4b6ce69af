import numpy as np
import pytest

from mediaworker.core.outbound.comfort import REFRESH_TICKS, SILENT_TICKS, Silence, level, payload

pytestmark = pytest.mark.unit

ZERO = np.zeros(160, np.int16)


def noise(amplitude: int) -> np.ndarray:
    return np.tile(np.array([amplitude, -amplitude], np.int16), 80)


@pytest.mark.parametrize(("amplitude", "dbov"), [(32_767, 0), (3_277, 20), (33, 60), (1, 90), (0, 127)])
def test_the_level_is_in_db_below_overload(amplitude: int, dbov: int):
    assert level(noise(amplitude)) == dbov


def test_the_loudest_frame_is_at_overload():
    assert level(np.full(160, -32_768, np.int16)) == 0
    assert level(np.zeros(0, np.int16)) == 127


def test_a_packet_is_the_level_alone():
    assert payload(60) == bytes([60])


def test_silence_is_sent_as_audio_for_200_ms_then_told_once():
    silence = Silence()
    steps = [silence.step(ZERO) for _ in range(SILENT_TICKS + 5)]
    assert steps[:SILENT_TICKS] == [None] * SILENT_TICKS
    assert steps[SILENT_TICKS:] == [bytes([127]), b"", b"", b"", b""]
    assert silence.resting


def test_sound_ends_it_at_once_and_it_takes_200_ms_again():
    silence = Silence()
    for _ in range(SILENT_TICKS + 1):
        silence.step(ZERO)
    assert silence.step(noise(500)) is None
    assert not silence.resting
    assert [silence.step(ZERO) for _ in range(SILENT_TICKS)] == [None] * SILENT_TICKS
    assert silence.step(ZERO) == bytes([127])


def test_it_is_told_again_now_and_then():
    silence = Silence()
    told = [index for index in range(200) if silence.step(ZERO)]
    assert np.diff(told).tolist() == [REFRESH_TICKS] * (len(told) - 1)
    assert len(told) == 4


def test_it_is_told_at_once_when_the_background_changes():
    silence = Silence()
    for _ in range(SILENT_TICKS + 3):
        silence.step(noise(4))
    assert silence.step(noise(6)) == b"", "3.5 dB are nothing"
    assert silence.step(noise(9)) == bytes([level(noise(9))])
    assert silence.step(noise(9)) == b""
