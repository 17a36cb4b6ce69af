import itertools

import numpy as np
import pytest

from mediaworker.core.engine import PHASE_FILL, Engine
from mediaworker.core.legs import DtmfEvent, Heard, Speech
from mediaworker.core.reporting.liveness import HOLD_TIMEOUT_NS, MUTE_TIMEOUT_NS
from shared.contracts import MediaFormat, RtpEndpoint
from shared.errors import Refused
from tests.support.engine_caller import (
    HOST,
    MS,
    PORT,
    TICK_NS,
    Caller,
    hand_over,
    leg_setup,
    loudest_hz,
    rtp,
    tone,
)

pytestmark = pytest.mark.unit


def engine(capacity: int = 4, **options: object) -> Engine:
    return Engine(capacity, seed=1, **({"phases": 1} | options))


# --- a leg's life


def test_a_full_engine_refuses_and_a_closed_leg_makes_room():
    media = engine(1)
    row = media.open(leg_setup(), 0)
    with pytest.raises(Refused) as refused:
        media.open(leg_setup(), 0)
    assert refused.value.reason == "full"
    media.close(row)
    assert media.open(leg_setup(), 0) == row


def test_a_leg_with_an_impossible_address_takes_no_row():
    media = engine(1)
    with pytest.raises(Refused):
        media.open(leg_setup(host="phone.example"), 0)
    with pytest.raises(Refused):
        media.open(leg_setup(media_cidrs=("nonsense",)), 0)
    assert media.snapshot().totals["legs"] == 0


def test_nothing_is_sent_and_nothing_heard_before_the_start():
    media = engine()
    row = media.open(leg_setup(echo=True), 0)
    hand_over(media, row, rtp(1, 0, b"\x80" * 160), 0)
    result = media.tick(TICK_NS)
    assert media.sending(0).size == 0
    assert not result.caller_pcm[row].any()
    assert media.stats(row).packets_in == 1


def test_legs_fill_one_phase_before_the_next_and_spread_then():
    media = engine(700, phases=2)
    phases = [media.rows.phase_of(media.open(leg_setup(), 0)) for _ in range(600)]
    assert phases[:PHASE_FILL] == [0] * PHASE_FILL
    assert phases[PHASE_FILL : 2 * PHASE_FILL] == [1] * PHASE_FILL
    assert (phases.count(0), phases.count(1)) == (300, 300)


def test_the_round_is_over_with_the_last_phase_that_has_legs():
    media = engine(700, phases=2)
    for _ in range(PHASE_FILL):
        media.open(leg_setup(), 0)
    over = [media.round_over for tick in range(3) if media.tick(tick * 10_000_000)]
    assert over == [True, True, True]
    media.tick(30_000_000)
    media.open(leg_setup(), 0)
    over = [media.round_over for tick in range(4, 8) if media.tick(tick * 10_000_000)]
    assert over == [False, True, False, True]


def test_the_legs_of_a_room_share_a_phase():
    media = engine(300, phases=2)
    rows = [media.open(leg_setup(room=5 if number % 10 == 0 else -1), 0) for number in range(150)]
    assert {media.rows.phase_of(row) for row in rows[::10]} == {0}
    for row in rows[::10]:
        media.close(row)
    assert media.rows.phase_of(media.open(leg_setup(room=5), 0)) == 0


# --- caller to engine and back


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_an_echo_comes_back_as_it_was_said(codec: str):
    caller = Caller(engine(), leg_setup(echo=True, codec=codec))
    caller.say(tone(440, 8_000))
    back = np.concatenate(caller.heard[5:])
    assert loudest_hz(back) == pytest.approx(440, abs=5)
    assert np.array_equal(back[160:], caller.said()[6 * 160 :])
    assert caller.sent[10][1] & 0x7F == caller.kind


@pytest.mark.parametrize("size", [80, 160, 240, 320, 480])
def test_packets_of_any_length_give_the_same_sound(size: int):
    caller = Caller(engine(), leg_setup())
    words = tone(300, 9_600)
    caller.say(words, size=size)
    said = caller.said()
    start = int(np.flatnonzero(np.abs(said) > 1_000)[0]) // 160 * 160
    assert loudest_hz(said[start : start + 4_000]) == pytest.approx(300, abs=5)
    assert caller.engine.stats(caller.row).late_in == 0
    assert caller.engine.stats(caller.row).lost_in == 0


@pytest.mark.parametrize("first", [(65_536 - 8 + step) & 0xFFFF for step in range(16)])
def test_the_wrap_of_numbers_and_time_is_not_heard(first: int):
    caller = Caller(engine(), leg_setup(), seq=first, stamp=2**32 - 1_600)
    caller.say(tone(400, 160 * 40))
    stats = caller.engine.stats(caller.row)
    assert (stats.lost_in, stats.late_in, stats.duplicate_in, stats.concealed) == (0, 0, 0, 0)
    assert loudest_hz(caller.said()[480:]) == pytest.approx(400, abs=5)


def test_a_lost_packet_is_concealed_and_counted():
    caller = Caller(engine(), leg_setup())
    words = tone(250, 160 * 30)
    for index in range(30):
        data = caller.packet(words[index * 160 : index * 160 + 160])
        if index != 15:
            caller.arrive(data)
        caller.tick()
    stats = caller.engine.stats(caller.row)
    assert (stats.lost_in, stats.concealed) == (1, 1)
    assert stats.loss_in_ratio == pytest.approx(1 / 30)
    assert min(int(np.abs(frame).max()) for frame in caller.caller[3:]) > 4_000


def test_duplicates_are_counted_and_not_heard_twice():
    caller = Caller(engine(), leg_setup())
    for _ in range(10):
        data = caller.packet(tone(250, 160))
        caller.arrive(data)
        caller.arrive(data)
        caller.tick()
    stats = caller.engine.stats(caller.row)
    assert (stats.duplicate_in, stats.lost_in, stats.packets_in) == (10, 0, 20)


def test_packets_in_the_wrong_order_are_put_right():
    caller = Caller(engine(), leg_setup())
    words = tone(250, 160 * 24)
    packets = [caller.packet(words[index * 160 : index * 160 + 160]) for index in range(24)]
    for index in range(0, 24, 2):
        caller.arrive(packets[index + 1])
        caller.arrive(packets[index])
        caller.tick(2)
    stats = caller.engine.stats(caller.row)
    assert stats.lost_in == 0
    assert stats.late_in <= 1
    assert loudest_hz(np.concatenate(caller.caller[4:])) == pytest.approx(250, abs=5)


def test_a_jump_of_the_time_stamp_is_followed():
    caller = Caller(engine(), leg_setup())
    caller.say(tone(250, 1_600))
    caller.stamp += 3_000_000
    caller.say(tone(500, 3_200))
    assert loudest_hz(np.concatenate(caller.caller[-15:])) == pytest.approx(500, abs=8)
    caller.stamp -= 2_000_000
    caller.say(tone(700, 3_200))
    assert loudest_hz(np.concatenate(caller.caller[-15:])) == pytest.approx(700, abs=8)


def test_a_time_stamp_off_the_frames_is_played_where_it_belongs():
    caller = Caller(engine(), leg_setup())
    caller.say(tone(250, 1_600))
    caller.stamp += 37
    caller.say(tone(500, 3_200))
    assert loudest_hz(np.concatenate(caller.caller[-15:])) == pytest.approx(500, abs=8)


def test_a_gap_of_a_silent_sender_is_silence_and_no_loss():
    caller = Caller(engine(), leg_setup())
    caller.say(tone(250, 1_600))
    caller.tick(100)
    caller.stamp += 100 * 160
    caller.say(tone(500, 3_200))
    assert not np.concatenate(caller.caller[30:100]).any()
    assert loudest_hz(np.concatenate(caller.caller[-15:])) == pytest.approx(500, abs=8)
    assert caller.engine.stats(caller.row).lost_in == 0


def test_comfort_noise_is_counted_and_not_played():
    caller = Caller(engine(), leg_setup())
    caller.say(tone(250, 800))
    caller.arrive(rtp(caller.seq, caller.stamp, b"\x40", ssrc=77, kind=13))
    assert caller.engine.rejected == {}
    assert caller.engine.stats(caller.row).packets_in == 6


def test_jitter_is_of_the_arrival_times_handed_over():
    caller = Caller(engine(), leg_setup())
    for index in range(40):
        late = 8 * MS if index % 2 else 0
        caller.arrive(caller.packet(tone(250, 160)), caller.now_ns + late)
        caller.tick()
    stats = caller.engine.stats(caller.row)
    assert stats.jitter_in_ms == pytest.approx(8 * (1 - (15 / 16) ** 39), abs=0.01)
    assert stats.jitter_max_ms == pytest.approx(stats.jitter_in_ms)
    assert 0 < stats.jitter_mean_ms < stats.jitter_max_ms


def test_hold_silences_both_ways_and_packets_still_count():
    caller = Caller(engine(), leg_setup(echo=True, direction="inactive"))
    caller.say(tone(250, 1_600))
    assert caller.sent == []
    assert not caller.said().any()
    assert caller.engine.stats(caller.row).packets_in == 10


def test_a_held_leg_sends_again_with_a_marker_and_time_that_went_on():
    caller = Caller(engine(), leg_setup(echo=True))
    caller.say(tone(250, 1_600))
    remote, kind = caller.setup.remote, caller.setup.format
    held = MediaFormat(codec="PCMU", payload_type=0, direction="inactive")
    caller.engine.update(caller.row, remote, held)
    caller.tick(10)
    caller.engine.update(caller.row, remote, kind)
    caller.tick()
    before, after = caller.sent[-2], caller.sent[-1]
    assert int.from_bytes(after[2:4], "big") == (int.from_bytes(before[2:4], "big") + 1) & 0xFFFF
    gap = int.from_bytes(after[4:8], "big") - int.from_bytes(before[4:8], "big")
    assert gap & 0xFFFF_FFFF == 11 * 160
    assert after[1] & 0x80


# --- strangers (I8)


def test_a_stranger_is_refused_before_and_after_the_pin():
    caller = Caller(engine(), leg_setup(echo=True))
    hand_over(caller.engine, caller.row, rtp(1, 0, b"\x80" * 160), 0, host="203.0.113.66")
    hand_over(caller.engine, caller.row, rtp(1, 0, b"\x80" * 160), 0, port=PORT + 2)
    caller.say(tone(250, 800))
    hand_over(caller.engine, caller.row, rtp(caller.seq, caller.stamp, b"\x80" * 160), 0, host="203.0.113.66")
    assert caller.engine.rejected == {"source": 3}
    assert caller.engine.stats(caller.row).packets_in == 5
    assert caller.engine.destinations[caller.row, 0].tobytes()[4:8] == bytes((192, 0, 2, 10))


def test_a_media_network_may_move_the_stream_once():
    media = engine()
    row = media.open(leg_setup(media_cidrs=("198.51.100.0/24",)), 0)
    media.start(row, 0)
    hand_over(media, row, rtp(1, 0, b"\x80" * 160), 0, host="198.51.100.9", port=7_000)
    assert media.take_moved() == {row}
    assert media.destinations[row, 0].tobytes()[:8] == b"\x02\x00" + (7_000).to_bytes(2, "big") + bytes(
        (198, 51, 100, 9)
    )
    hand_over(media, row, rtp(2, 160, b"\x80" * 160), 0, host="198.51.100.10", port=7_000)
    hand_over(media, row, rtp(2, 160, b"\x80" * 160), 0)
    assert media.rejected == {"source": 2}


def test_another_ssrc_is_believed_only_after_a_silence():
    caller = Caller(engine(), leg_setup())
    caller.say(tone(250, 1_600))
    caller.arrive(rtp(5, 5, b"\x80" * 160, ssrc=78))
    assert caller.engine.rejected == {"ssrc": 1}
    caller.tick(11)
    caller.ssrc, caller.seq, caller.stamp = 78, 9, 900
    caller.say(tone(500, 3_200))
    assert caller.engine.rejected == {"ssrc": 1}
    stats = caller.engine.stats(caller.row)
    assert (stats.packets_in, stats.lost_in) == (30, 0)
    assert loudest_hz(np.concatenate(caller.caller[-15:])) == pytest.approx(500, abs=8)


def test_a_reinvite_pins_anew():
    caller = Caller(engine(), leg_setup())
    caller.say(tone(250, 800))
    caller.engine.take_moved()
    moved = RtpEndpoint(host="192.0.2.77", rtp_port=41_000)
    caller.engine.update(caller.row, moved, caller.setup.format)
    assert caller.engine.take_moved() == {caller.row}
    hand_over(caller.engine, caller.row, rtp(1, 1, b"\x80" * 160, ssrc=5), caller.now_ns)
    assert caller.engine.rejected == {"source": 1}
    hand_over(
        caller.engine,
        caller.row,
        rtp(1, 1, b"\x80" * 160, ssrc=5),
        caller.now_ns,
        host="192.0.2.77",
        port=41_000,
    )
    assert caller.engine.stats(caller.row).packets_in == 6


def test_keys_are_heard_after_the_stream_changed_whatever_its_time():
    caller = Caller(engine(), leg_setup(dtmf_payload_type=101))
    for ssrc, stamp in ((77, 0xC000_0000), (78, 0x4000_0000)):
        caller.ssrc, caller.stamp = ssrc, stamp
        caller.say(tone(250, 800))
        press = rtp(caller.seq, caller.stamp, b"\4\x8a\1\xe0", ssrc=ssrc, kind=101)
        caller.seq += 1
        caller.arrive(press)
        caller.tick(12)
    assert [key.digit for result in caller.results for key in result.dtmf] == ["4", "4"]


def test_what_is_refused_is_counted_by_reason():
    caller = Caller(engine(), leg_setup(dtmf_payload_type=101))
    caller.say(tone(250, 800))
    caller.arrive(b"")
    caller.arrive(b"\x80\x00\x00")
    caller.arrive(rtp(1, 1, b"", first=0x00))
    caller.arrive(rtp(1, 1, b"x" * 160, kind=8))
    caller.arrive(rtp(caller.seq, 1, b"\xff\x80\0\1", kind=101))
    caller.arrive(rtp(caller.seq + 20_000, 1, b"x" * 160))
    assert caller.engine.rejected == {"short": 2, "version": 1, "payload_type": 1, "dtmf": 1, "sequence": 1}


# --- what is said to a leg


def test_what_is_queued_is_heard_and_marked():
    caller = Caller(engine(), leg_setup())
    caller.tick(3)
    assert caller.sent[0][1] & 0x80
    assert not caller.sent[1][1] & 0x80
    assert caller.engine.queue(caller.row, 1, 0, tone(600, 1_600), last=True) == 1_600
    assert caller.engine.playing(caller.row)
    caller.tick(12)
    assert caller.sent[3][1] & 0x80
    assert not caller.sent[4][1] & 0x80
    assert loudest_hz(np.concatenate(caller.heard[3:13])) == pytest.approx(600, abs=8)
    assert not caller.heard[14].any()
    assert caller.sent[14][12:] == b"\xff" * 160
    events = [event for result in caller.results for event in result.playout]
    assert [(event.started, event.heard) for event in events] == [
        (True, Heard(1, 0, 0)), (False, Heard(1, 0, 1_600)),
    ]  # fmt: skip
    assert [event.at_ns // TICK_NS for event in events] == [4, 13]


def test_pause_flush_and_room_reach_the_leg():
    caller = Caller(engine(), leg_setup())
    room = caller.engine.room(caller.row)
    caller.engine.queue(caller.row, 1, 0, tone(600, 1_600), last=True)
    assert caller.engine.room(caller.row) == room - 1_600
    caller.tick(2)
    caller.engine.pause(caller.row)
    caller.tick(2)
    assert not caller.heard[-1].any()
    caller.engine.resume(caller.row)
    caller.tick()
    assert caller.heard[-1].any()
    assert caller.engine.heard(caller.row) == Heard(1, 0, 480)
    assert caller.engine.flush(caller.row) == Heard(1, 0, 480)
    caller.tick()
    assert not caller.heard[-1].any()


def test_our_stream_is_continuous_in_number_and_time():
    caller = Caller(engine(), leg_setup())
    caller.tick(50)
    caller.engine.queue(caller.row, 1, 0, tone(600, 1_600), last=True)
    caller.tick(50)
    numbers = [int.from_bytes(data[2:4], "big") for data in caller.sent]
    stamps = [int.from_bytes(data[4:8], "big") for data in caller.sent]
    assert len(caller.sent) == 100
    assert {(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)} == {1}
    assert {(b - a) & 0xFFFF_FFFF for a, b in itertools.pairwise(stamps)} == {160}
    assert len({data[8:12] for data in caller.sent}) == 1
    assert caller.engine.stats(caller.row).packets_out == 100


def test_in_a_room_everyone_hears_the_others_and_what_is_said_to_them():
    media = engine(8)
    callers = [Caller(media, leg_setup(PORT + 2 * number, room=3), ssrc=number) for number in range(3)]
    alone = Caller(media, leg_setup(PORT + 50, room=4))
    pitches = (300, 500, 800)
    media.queue(callers[2].row, 1, 0, tone(1_200, 8_000), last=True)
    heard = {caller.row: [] for caller in (*callers, alone)}
    for index in range(50):
        for caller, pitch in zip(callers, pitches, strict=True):
            caller.arrive(
                caller.packet(tone(pitch, 160, start=index * 160, amplitude=4_000)), index * TICK_NS
            )
        result = media.tick(index * TICK_NS)
        for row, frames in heard.items():
            frames.append(result.sent_pcm[row].copy())
    for caller, own in zip(callers, pitches, strict=True):
        spectrum = np.abs(np.fft.rfft(np.concatenate(heard[caller.row][10:]).astype(float)))
        level = {pitch: spectrum[round(pitch * 6_400 / 8_000)] for pitch in (*pitches, 1_200)}
        wanted = {pitch for pitch in pitches if pitch != own} | ({1_200} if caller is callers[2] else set())
        assert {pitch for pitch, value in level.items() if value > 100_000} == wanted
    assert not np.concatenate(heard[alone.row]).any()


# --- speech and keys


def test_speech_is_found_with_its_pre_roll():
    caller = Caller(engine(), leg_setup(detect_speech=True))
    caller.say(np.zeros(160 * 30, np.int16))
    quiet_until = len(caller.caller)
    caller.say(tone(300, 160 * 3))
    found = [event for result in caller.results for event in result.speech]
    while not found:
        caller.say(tone(300, 160))
        found = caller.results[-1].speech
    assert found[0].kind is Speech.ONSET
    assert found[0].first_loud_ns == quiet_until * TICK_NS
    before = caller.engine.pre_roll(caller.row)
    assert np.array_equal(before, np.concatenate(caller.caller[-13:-1]))
    assert np.abs(before[: 10 * 160]).max() < 10
    assert np.abs(before[10 * 160 :]).max() > 7_000
    assert caller.results[-1].utterance_rows.tolist() == [caller.row]


def test_utterance_rows_go_from_the_onset_to_the_end():
    caller = Caller(engine(), leg_setup(detect_speech=True))
    caller.say(np.zeros(160 * 10, np.int16))
    caller.say(tone(300, 160 * 20))
    caller.say(np.zeros(160 * 40, np.int16))
    inside = [index for index, result in enumerate(caller.results) if result.utterance_rows.size]
    kinds = {event.kind: index for index, result in enumerate(caller.results) for event in result.speech}
    assert inside == list(range(kinds[Speech.ONSET], kinds[Speech.END] + 1))


def test_a_key_is_told_once_and_does_not_disturb_the_sound():
    caller = Caller(engine(), leg_setup(dtmf_payload_type=101))
    caller.say(tone(300, 1_600))
    for duration, end in ((160, 0), (320, 0), (480, 0x80), (480, 0x80), (480, 0x80)):
        payload = bytes((4, end | 10)) + duration.to_bytes(2, "big")
        caller.arrive(rtp(caller.seq, caller.stamp, payload, kind=101))
        caller.seq += 1
        caller.tick()
    caller.stamp += 5 * 160
    caller.say(tone(300, 1_600))
    pressed = [event for result in caller.results for event in result.dtmf]
    assert pressed == [DtmfEvent(caller.row, "4", 60)]
    assert caller.engine.stats(caller.row).lost_in == 0


# --- legs that are gone


def test_a_leg_that_never_sent_and_one_that_stopped_are_told_once():
    media = engine(rtp_never_s=2.0, rtp_timeout_s=3.0)
    silent = Caller(media, leg_setup())
    stopped = Caller(media, leg_setup(PORT + 2))
    held = Caller(media, leg_setup(PORT + 4, direction="sendonly"))
    stopped.arrive(stopped.packet(tone(300, 160)))
    lost = []
    for index in range(400):
        lost += [(gone.row, gone.reason, index // 50) for gone in media.tick(index * TICK_NS).lost]
    assert lost == [(silent.row, "rtp_never", 2), (stopped.row, "rtp_timeout", 3)]
    assert held.row not in {row for row, _, _ in lost}


def test_a_caller_who_held_us_long_is_not_lost_for_it_and_owes_packets_once_back():
    media = engine(rtp_timeout_s=3.0)
    caller = Caller(media, leg_setup())
    caller.say(tone(300, 1_600))
    held = MediaFormat(codec="PCMU", payload_type=0, direction="recvonly")
    media.update(caller.row, caller.setup.remote, held)
    caller.tick(10 * 50)
    media.update(caller.row, caller.setup.remote, caller.setup.format)
    caller.tick(2 * 50)
    assert [gone for result in caller.results for gone in result.lost] == []
    caller.tick(2 * 50)
    assert [gone.reason for result in caller.results for gone in result.lost] == ["rtp_timeout"]


def test_a_caller_who_holds_us_for_ever_is_lost_at_last():
    media = engine(rtp_timeout_s=3.0)
    caller = Caller(media, leg_setup(direction="recvonly"))
    caller.now_ns += HOLD_TIMEOUT_NS
    caller.tick(50)
    assert [gone.reason for result in caller.results for gone in result.lost] == ["rtp_never"]


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_a_leg_that_owes_nothing_ends_when_no_front_can_be_left_to_end_it(direction: str):
    media = engine(rtp_timeout_s=3.0)
    caller = Caller(media, leg_setup(direction=direction))
    caller.now_ns += MUTE_TIMEOUT_NS - TICK_NS * 60
    caller.tick(50)
    assert [gone for result in caller.results for gone in result.lost] == []
    caller.tick(60)
    assert [gone.reason for result in caller.results for gone in result.lost] == ["rtp_never"]


# --- figures


def test_a_snapshot_holds_live_rows_and_totals_outlive_legs():
    caller = Caller(engine(), leg_setup(echo=True))
    words = tone(250, 160 * 30)
    for index in range(30):
        data = caller.packet(words[index * 160 : index * 160 + 160])
        if index != 15:
            caller.arrive(data)
        caller.tick()
    caller.engine.note_tick(3 * MS)
    live = caller.engine.snapshot()
    assert live.rows.tolist() == [caller.row]
    assert (live.packets_in[0], live.packets_out[0]) == (29, 30)
    assert live.histograms["tick"][1][3] == 1
    caller.engine.close(caller.row, caller.now_ns)
    after = caller.engine.snapshot()
    assert after.rows.size == 0
    for name in ("packets_in", "packets_out", "lost_in", "concealed"):
        assert after.totals[name] == live.totals[name] > 0


def test_the_same_seed_gives_the_same_stream():
    streams = []
    for _ in range(2):
        caller = Caller(engine(), leg_setup(host=HOST))
        caller.tick(3)
        streams.append(caller.sent)
    assert streams[0] == streams[1]
