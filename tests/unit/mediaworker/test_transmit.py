import numpy as np
import pytest

from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.rows import Rows
from mediaworker.core.transmit import Transmitter

pytestmark = pytest.mark.unit

SPAN = slice(0, 3)


def three(*, sends: tuple[bool, ...] = (True, True, True), alaw: tuple[bool, ...] = (False, True, False)):
    rows = Rows(3, 1)
    transmitter = Transmitter(rows, np.random.default_rng(1))
    for row in range(3):
        rows.take(0)
        rows.started[row], rows.sends[row], rows.alaw[row] = True, sends[row], alaw[row]
        transmitter.open(row, 8 if alaw[row] else 0)
    transmitter.changed(0)
    return rows, transmitter


def header(transmitter: Transmitter, row: int) -> tuple[int, int, int, int]:
    data = transmitter.packets[row].tobytes()
    return data[0], data[1], int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")


def test_every_stream_has_numbers_of_its_own():
    rows, transmitter = three()
    assert len(set(rows.out_ssrc.tolist())) == 3
    transmitter.stamp(0, SPAN)
    assert transmitter.packets[1].tobytes()[8:12] == int(rows.out_ssrc[1]).to_bytes(4, "big")
    assert header(transmitter, 1)[:2] == (0x80, 8)


def test_numbers_and_times_wrap():
    rows, transmitter = three()
    rows.out_seq[:] = 65_535
    rows.out_time[:] = 2**32 - 160
    transmitter.stamp(0, SPAN)
    assert header(transmitter, 0)[2:] == (65_535, 2**32 - 160)
    transmitter.stamp(0, SPAN)
    assert header(transmitter, 0)[2:] == (0, 0)


def test_a_held_leg_keeps_its_number_and_its_clock_runs():
    rows, transmitter = three(sends=(True, False, True))
    before = (int(rows.out_seq[1]), int(rows.out_time[1]))
    transmitter.stamp(0, SPAN)
    assert transmitter.sending(0).tolist() == [0, 2]
    assert int(rows.out_seq[1]) == before[0]
    assert (int(rows.out_time[1]) - before[1]) & 0xFFFF_FFFF == 160
    assert transmitter.sent == 2
    assert rows.packets_out.tolist() == [1, 0, 1]


def test_a_marker_waits_for_its_packet_and_is_on_one_only():
    rows, transmitter = three(sends=(True, False, True))
    transmitter.mark(0)
    transmitter.mark(1)
    transmitter.stamp(0, SPAN)
    assert [header(transmitter, row)[1] for row in range(3)] == [0x80, 8, 0]
    transmitter.stamp(0, SPAN)
    assert header(transmitter, 0)[1] == 0
    rows.sends[1] = True
    transmitter.changed(0)
    transmitter.stamp(0, SPAN)
    assert header(transmitter, 1)[1] == 0x88


def test_the_list_of_senders_changes_its_version():
    rows, transmitter = three()
    version = transmitter.versions[0]
    rows.started[2] = False
    transmitter.changed(0)
    assert transmitter.versions[0] > version
    assert transmitter.sending(0).tolist() == [0, 1]


@pytest.mark.parametrize("sound", [(True, True, True), (True, True, False), (False, True, False)])
def test_sound_is_encoded_in_each_legs_law_and_silence_is_silence(sound: tuple[bool, ...]):
    rows, transmitter = three()
    rows.sent_pcm[:] = np.arange(160) * 100
    transmitter.encode(SPAN, np.array(sound))
    for row, law in enumerate((MU_LAW, A_LAW, MU_LAW)):
        wanted = law.encoder[rows.sent_pcm[row].view(np.uint16)] if sound[row] else np.full(160, law.silence)
        assert np.array_equal(transmitter.packets[row, 12:], wanted)


def test_what_falls_silent_sends_silence_and_says_so():
    rows, transmitter = three()
    rows.sent_pcm[:] = 5_000
    transmitter.encode(SPAN, np.array([True, True, True]))
    transmitter.encode(SPAN, np.array([True, False, False]))
    assert transmitter.packets[:, 12].tolist() == [MU_LAW.encoder[5_000], A_LAW.silence, MU_LAW.silence]
    assert not rows.sent_pcm[1:].any()


def test_a_closed_row_keeps_no_marker_for_the_next_leg():
    _, transmitter = three()
    transmitter.mark(0)
    transmitter.close(0)
    transmitter.stamp(0, SPAN)
    assert header(transmitter, 0)[1] == 0
