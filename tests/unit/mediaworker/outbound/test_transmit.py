import struct

import numpy as np
import pytest

from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows

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


def test_a_loose_row_is_not_in_the_array_and_its_packets_go_on_in_its_stream():
    rows, transmitter = three()
    transmitter.stamp(0, SPAN)
    seq, time, ssrc = int(rows.out_seq[1]), int(rows.out_time[1]), int(rows.out_ssrc[1])
    rows.first_word[1] = 0x80 | 96 << 8
    rows.loose[1] = True
    transmitter.changed(0)
    assert transmitter.sending(0).tolist() == [0, 2]
    assert transmitter.loose_rows == [[1]]
    transmitter.write(1, b"one")
    transmitter.write(1, b"two", payload_type=101, timestamp=2**32 + 5, marker=True)
    transmitter.stamp(0, SPAN)
    first, second = transmitter.take_loose()
    assert transmitter.take_loose() == []
    assert first.row == second.row == 1
    assert struct.unpack("!BBHII", first.data[:12]) == (0x80, 96, seq, time, ssrc)
    assert struct.unpack("!BBHII", second.data[:12]) == (0x80, 0x80 | 101, (seq + 1) & 0xFFFF, 5, ssrc)
    assert (first.data[12:], second.data[12:]) == (b"one", b"two")
    assert (int(rows.packets_out[1]), int(rows.loose_packets[1]), int(rows.loose_octets[1])) == (3, 2, 6)
    assert transmitter.sent == 3 + 2 + 2


def test_a_loose_rows_number_wraps():
    rows, transmitter = three()
    rows.out_seq[0] = 65_535
    transmitter.write(0, b"")
    assert int(rows.out_seq[0]) == 0


def test_the_marker_of_a_loose_row_goes_with_its_audio():
    rows, transmitter = three()
    rows.loose[0] = True
    transmitter.changed(0)
    transmitter.mark(0)
    transmitter.stamp(0, SPAN)
    transmitter.write(0, b"", payload_type=101)
    transmitter.write(0, b"")
    transmitter.write(0, b"")
    assert [packet.data[1] >> 7 for packet in transmitter.take_loose()] == [0, 1, 0]


def test_a_row_that_is_taken_over_sends_no_audio_until_it_is_handed_back():
    _, transmitter = three()
    version = transmitter.versions[0]
    transmitter.take_over(2)
    assert transmitter.taken_over(2)
    assert transmitter.sending(0).tolist() == [0, 1]
    assert transmitter.loose_rows == [[]]
    assert transmitter.versions[0] > version
    transmitter.hand_back(2)
    assert not transmitter.taken_over(2)
    assert transmitter.sending(0).tolist() == [0, 1, 2]


def test_every_packet_of_a_sealed_row_goes_through_its_seal():
    rows, transmitter = three()
    transmitter.seal(0, lambda packet: packet[:12] + b"sealed")
    assert transmitter.sending(0).tolist() == [1, 2]
    assert transmitter.loose_rows == [[0]]
    transmitter.write(0, transmitter.octets(0).tobytes())
    transmitter.write(1, b"open")
    assert [packet.data[12:] for packet in transmitter.take_loose()] == [b"sealed", b"open"]
    assert int(rows.loose_octets[0]) == 160, "what SRTP adds is no payload"
    transmitter.seal(0, None)
    assert transmitter.sending(0).tolist() == [0, 1, 2]


def test_a_closed_row_keeps_no_seal_and_is_nobodys():
    _, transmitter = three()
    transmitter.seal(0, lambda packet: packet)
    transmitter.take_over(1)
    transmitter.close(0)
    transmitter.close(1)
    transmitter.changed(0)
    assert transmitter.sending(0).tolist() == [0, 1, 2]


def test_each_row_counts_in_units_of_its_own_clock():
    rows, transmitter = three()
    rows.clock[1] = 960
    transmitter.changed(0)
    before = rows.out_time.copy()
    transmitter.stamp(0, SPAN)
    assert (rows.out_time - before).tolist() == [160, 960, 160]


def test_who_is_spoken_to_is_known():
    _, transmitter = three()
    transmitter.encode(SPAN, np.array([True, False, False]))
    assert [transmitter.sounding(row) for row in range(3)] == [True, False, False]


def test_a_packet_that_its_seal_refuses_is_not_sent_and_its_number_is_not_used_again():
    """A seal takes every number once: what it refused would be refused for ever, and the leg be silent."""
    rows, transmitter = three()
    spent = int(rows.out_seq[0]).to_bytes(2, "big")
    transmitter.seal(0, lambda packet: b"" if packet[2:4] == spent else packet)
    for _ in range(3):
        transmitter.write(0, bytes(160))
    sent = [packet.data[2:4] for packet in transmitter.take_loose()]
    assert sent == [((int.from_bytes(spent, "big") + more) & 0xFFFF).to_bytes(2, "big") for more in (1, 2)]
    assert int(rows.packets_out[0]) == 2


def test_numbering_begins_in_the_lower_half():
    """RFC 3711 section 3.3.1: a first packet of 65,535 that is lost would leave the peer a rollover behind."""
    rows, transmitter = three()
    firsts = []
    for _ in range(200):
        transmitter.open(0, 0)
        firsts.append(int(rows.out_seq[0]))
    assert max(firsts) < 1 << 15
    assert len(set(firsts)) > 150
