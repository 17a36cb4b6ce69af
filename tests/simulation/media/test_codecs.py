"""Legs of every codec through the whole engine, in virtual time: what a phone says, hears, and changes in mid-call."""

import msgspec
import numpy as np
import pytest

from mediaworker.core.codecs import PTIMES_MS
from mediaworker.core.engine import Engine
from mediaworker.core.legs import Samples
from shared.contracts import MediaFormat, OpusSettings, RtpEndpoint, SrtpSuite
from shared.errors import Refused
from tests.support.coded_caller import KINDS, CodedCaller, hand_over_long
from tests.support.engine_caller import HOST, PORT
from tests.support.listening import level_db, loudest, purity_db, share_above, tones, voice
from tests.support.srtp_peer import keys

pytestmark = pytest.mark.simulation

WIDE = ["G722", "OPUS", "L16/16000", "L16/44100"]
every = pytest.mark.parametrize("name", list(KINDS))
every_wide = pytest.mark.parametrize("name", WIDE)


def call(name: str, *, ptime_ms: int = 20, **options: object) -> CodedCaller:
    """A call of its own engine; `ptime_ms` is of what the engine sends."""
    wanted = msgspec.structs.replace(KINDS[name], ptime_ms=ptime_ms)
    return CodedCaller(Engine(2, seed=1), wanted, **options)  # type: ignore[arg-type]


def middle(wave: Samples) -> Samples:
    return wave[len(wave) // 3 : 2 * len(wave) // 3]


def seq_and_time(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")


@every
@pytest.mark.parametrize(
    ("from_phone_ms", "to_phone_ms"), list(zip(PTIMES_MS, reversed(PTIMES_MS), strict=True))
)
def test_an_echo_is_whole_at_every_packet_time(name: str, from_phone_ms: int, to_phone_ms: int):
    phone = call(name, ptime_ms=to_phone_ms, echo=True)
    phone.ptime_ms = from_phone_ms
    phone.say(tones(phone.rate_hz, 1.5, 1_000))
    phone.tick(3)
    for wave in (phone.said(), phone.heard()):
        assert loudest(middle(wave), phone.rate_hz) == pytest.approx(1_000, abs=3)
        assert purity_db(middle(wave), phone.rate_hz, 1_000) > 25
        assert level_db(middle(wave)) == pytest.approx(level_db(tones(8_000, 1, 1_000)), abs=0.7)
    assert level_db(middle(np.concatenate(phone.narrow))) == pytest.approx(
        level_db(middle(phone.said())), abs=0.3
    )


@every
@pytest.mark.parametrize("ptime_ms", PTIMES_MS)
def test_our_stream_is_one_in_number_and_time(name: str, ptime_ms: int):
    phone = call(name, ptime_ms=ptime_ms)
    phone.tick(30)
    assert len(phone.sent) == 600 // ptime_ms
    numbers, times = zip(*map(seq_and_time, phone.sent), strict=True)
    assert set(np.diff(np.array(numbers)) % 65_536) == {1}
    assert set(np.diff(np.array(times)) % 2**32) == {phone.clock * ptime_ms // 20}
    assert [data[1] >> 7 for data in phone.sent] == [1] + [0] * (len(phone.sent) - 1)
    assert {data[8:12] for data in phone.sent} == {phone.sent[0][8:12]}
    stats = phone.engine.stats(phone.row)
    assert stats.packets_out == len(phone.sent)
    rows = phone.engine.rows
    if rows.loose_packets[phone.row]:
        assert rows.loose_octets[phone.row] == sum(len(data) - 12 for data in phone.sent)


@every_wide
def test_a_wideband_leg_has_what_is_above_4_khz_both_ways(name: str):
    phone = call(name, echo=True)
    phone.say(tones(16_000, 1.2, 1_000, 6_000))
    phone.tick(3)
    for wave in (phone.said(), phone.heard()):
        assert 0.3 < share_above(middle(wave), 16_000, 4_000) < 0.7
    assert loudest(middle(np.concatenate(phone.narrow)), 8_000) == pytest.approx(1_000, abs=5)


@every
def test_what_the_farm_says_is_heard_at_the_legs_rate(name: str):
    phone = call(name)
    rate = phone.engine.rate_hz(phone.row)
    assert rate == phone.rate_hz
    wave = tones(rate, 1, 900)
    assert phone.engine.queue(phone.row, 1, 0, wave, last=True) == len(wave)
    phone.tick(60)
    heard = phone.heard()[rate // 10 : rate * 8 // 10]
    assert loudest(heard, rate) == pytest.approx(900, abs=5)
    assert level_db(heard) == pytest.approx(level_db(wave), abs=0.7)
    assert level_db(phone.heard()[-rate // 10 :]) < -60, "silence is sent when nothing is said"


@every
def test_lost_packets_are_made_up(name: str):
    phone = call(name)
    wave = tones(phone.rate_hz, 3, 200, 300, 500)
    phone.say(wave, lost=range(20, 140, 10))
    stats = phone.engine.stats(phone.row)
    assert stats.lost_in == 12
    said = phone.said()[phone.rate_hz // 2 : -phone.rate_hz // 2]
    assert level_db(said) == pytest.approx(level_db(wave), abs=1.5)
    frames = said[: len(said) // 320 * 320].reshape(-1, 320).astype(np.float64)
    assert np.sqrt((frames**2).mean(axis=1)).min() > 0.3 * np.sqrt((frames**2).mean()), "there is no hole"


def test_damaged_payloads_are_counted_and_the_call_goes_on():
    phone = call("OPUS")
    wave = tones(16_000, 2, 500)
    packets = phone.packets(wave)
    for number, data in enumerate(packets):
        phone.tick()
        damaged = data[:12] + b"\x03" if number % 10 == 5 else data
        hand_over_long(phone.engine, phone.row, damaged, phone.now_ns)
    assert phone.engine.rejected["payload"] == 10
    assert loudest(middle(phone.said()), 16_000) == pytest.approx(500, abs=5)


# --- changes in mid-call


@pytest.mark.parametrize(
    ("before", "after"), [("PCMU", "G722"), ("G722", "PCMU"), ("PCMU", "OPUS"), ("OPUS", "L16/44100")]
)
def test_a_codec_may_change_in_mid_call(before: str, after: str):
    phone = call(before, echo=True)
    phone.say(tones(phone.rate_hz, 1, 700))
    ssrc, same_clock = phone.sent[-1][8:12], KINDS[before].clock_rate_hz == KINDS[after].clock_rate_hz
    last = seq_and_time(phone.sent[-1])
    phone.engine.update(phone.row, RtpEndpoint(host=HOST, rtp_port=PORT), KINDS[after])
    phone.speak(KINDS[after])
    phone.sent.clear()
    phone.caller.clear()
    phone.say(tones(phone.rate_hz, 1.5, 1_100))
    phone.tick(3)
    assert {data[1] & 0x7F for data in phone.sent} == {KINDS[after].payload_type}
    assert (phone.sent[0][8:12] == ssrc) is same_clock
    if same_clock:
        number, time = seq_and_time(phone.sent[0])
        assert (number - last[0]) & 0xFFFF == 1
        assert (time - last[1]) & 0xFFFF_FFFF == 160
    for wave in (phone.said(), phone.heard()):
        assert loudest(middle(wave), phone.rate_hz) == pytest.approx(1_100, abs=5)


def test_a_hold_is_no_change_of_codec_and_the_clock_runs_on():
    phone = call("G722", ptime_ms=40)
    phone.tick(7)
    before = seq_and_time(phone.sent[-1])
    held = msgspec.structs.replace(phone.format, direction="inactive")
    phone.engine.update(phone.row, RtpEndpoint(host=HOST, rtp_port=PORT), held)
    phone.tick(10)
    count = len(phone.sent)
    phone.engine.update(phone.row, RtpEndpoint(host=HOST, rtp_port=PORT), phone.format)
    phone.tick(4)
    assert count == 3
    number, time = seq_and_time(phone.sent[count])
    assert (number - before[0]) & 0xFFFF == 1
    # One frame was waiting for its packet when the hold began: it is void. 40 ms were sent, 20 lost, 200 held.
    assert (time - before[1]) & 0xFFFF_FFFF == 160 * (2 + 1 + 10)
    assert phone.sent[count][1] >> 7 == 1


def test_a_codec_that_is_not_there_is_refused_and_the_call_goes_on():
    phone = call("G722")
    impossible = MediaFormat(codec="OPUS", payload_type=111, clock_rate_hz=8_000)
    with pytest.raises(Refused):
        phone.engine.update(phone.row, RtpEndpoint(host=HOST, rtp_port=PORT), impossible)
    live = phone.engine.rows.live[:]
    with pytest.raises(Refused):
        CodedCaller(phone.engine, impossible, port=PORT + 2)
    assert phone.engine.rows.live == live
    phone.tick(3)
    assert {data[1] & 0x7F for data in phone.sent} == {9}


# --- silence that is not sent


@pytest.mark.parametrize("name", ["PCMU", "G722", "L16/8000"])
def test_comfort_noise_stands_for_silence_where_it_was_agreed(name: str):
    wanted = msgspec.structs.replace(KINDS[name], comfort_noise_payload_type=13)
    phone = CodedCaller(Engine(2, seed=1), wanted)
    phone.tick(200)
    audio = [data for data in phone.sent if data[1] & 0x7F == wanted.payload_type]
    noise = [data for data in phone.sent if data[1] & 0x7F == 13]
    assert len(audio) == 10
    assert 3 <= len(noise) <= 5
    assert all(data[12:] == bytes([127]) for data in noise)
    phone.sent.clear()
    phone.engine.queue(phone.row, 1, 0, tones(phone.rate_hz, 0.5, 800), last=True)
    phone.tick(15)
    assert [data[1] >> 7 for data in phone.sent] == [1] + [0] * 14, "a talkspurt begins"
    assert len(phone.sent) == 15
    numbers = [seq_and_time(data)[0] for data in audio + noise + phone.sent]
    assert set(np.diff(np.array(numbers)) % 65_536) == {1}, "one stream, whatever it carries"
    assert (seq_and_time(phone.sent[0])[1] - seq_and_time(audio[0])[1]) & 0xFFFF_FFFF == 200 * 160


def test_opus_rests_when_the_peer_wants_it():
    wanted = msgspec.structs.replace(KINDS["OPUS"], opus=OpusSettings(use_dtx=True))
    phone = CodedCaller(Engine(2, seed=1), wanted)
    phone.engine.queue(phone.row, 1, 0, voice(16_000, 0.5), last=True)
    phone.tick(100)
    assert len(phone.sent) < 50
    phone.sent.clear()
    phone.engine.queue(phone.row, 1, 1, voice(16_000, 0.5), last=True)
    phone.tick(20)
    assert phone.sent[0][1] >> 7 == 1
    assert len(phone.sent) >= 19


@pytest.mark.parametrize("name", ["PCMU", "G722", "OPUS"])
def test_a_phone_that_rests_is_no_loss(name: str):
    phone = call(name)
    phone.say(tones(phone.rate_hz, 0.6, 400))
    gap = 50
    phone.tick(gap)
    phone.stamp += phone.clock * gap
    phone.say(tones(phone.rate_hz, 0.6, 400))
    stats = phone.engine.stats(phone.row)
    assert stats.lost_in == 0
    assert level_db(phone.said()[-phone.rate_hz // 4 :]) == pytest.approx(
        level_db(tones(8_000, 1, 400)), abs=0.7
    )


# --- together


def test_a_room_of_all_codecs_hears_what_each_can():
    engine = Engine(8, seed=1)
    names = ["PCMU", "G722", "OPUS"]
    phones = [
        CodedCaller(engine, KINDS[name], port=PORT + 2 * index, room=1) for index, name in enumerate(names)
    ]
    speaker, wave = phones[1], tones(16_000, 1, 1_000, 6_000)
    for data in speaker.packets(wave):
        now_ns = speaker.now_ns
        hand_over_long(engine, speaker.row, data, now_ns, port=speaker.port)
        for phone in phones:
            phone.now_ns = now_ns + 20_000_000
        for _ in range(engine.phases):
            result = engine.tick(now_ns + 20_000_000)
            if engine.last_phase == engine.rows.phase_of(phones[0].row):
                loose = engine.loose()
                for phone in phones:
                    if phone.row in engine.sending(engine.last_phase):
                        phone.sent.append(engine.packets[phone.row].tobytes())
                    phone.sent += [data for row, data in loose if row == phone.row]
        del result
    narrow, itself, wide = (middle(phone.heard()) for phone in phones)
    assert loudest(narrow, 8_000) == pytest.approx(1_000, abs=5)
    assert level_db(itself) < -60, "nobody hears himself"
    assert 0.25 < share_above(wide, 16_000, 4_000) < 0.75


def test_plain_legs_beside_coded_ones_send_what_they_would_alone():
    def packets_of(*others: str) -> list[bytes]:
        engine = Engine(8, seed=1)
        phone = CodedCaller(engine, KINDS["PCMU"], echo=True)
        for index, name in enumerate(others):
            CodedCaller(engine, KINDS[name], port=PORT + 2 + 2 * index)
        phone.say(voice(8_000, 0.5))
        return [data[12:] for data in phone.sent]

    assert packets_of() == packets_of("G722", "OPUS", "L16/44100")


@every_wide
def test_the_next_leg_of_a_row_hears_nothing_of_the_last_one(name: str):
    phone = call(name, echo=True)
    phone.say(tones(16_000, 0.5, 900))
    phone.engine.queue(phone.row, 1, 0, tones(16_000, 2, 900), last=True)
    phone.tick(10)
    row = phone.row
    phone.engine.close(row)
    following = CodedCaller(phone.engine, KINDS[name], now_ns=phone.now_ns)
    assert following.row == row
    following.tick(20)
    assert level_db(following.heard()) < -70
    assert level_db(following.said()) < -90
    assert level_db(np.concatenate(following.narrow)) < -90


def test_what_is_played_goes_on_through_a_change_of_rate():
    phone = call("PCMU")
    phone.engine.queue(phone.row, 1, 0, tones(8_000, 4, 800), last=True)
    phone.tick(20)
    for name in ("G722", "PCMA", "L16/16000", "OPUS"):
        phone.engine.update(phone.row, RtpEndpoint(host=HOST, rtp_port=PORT), KINDS[name])
        phone.speak(KINDS[name])
        phone.sent.clear()
        phone.tick(40)
        heard = phone.heard()[phone.rate_hz // 5 :]
        assert loudest(heard, phone.rate_hz) == pytest.approx(800, abs=8), name
        assert level_db(heard) == pytest.approx(level_db(tones(8_000, 1, 800)), abs=1), name


def test_a_key_press_takes_the_place_of_audio_and_the_stream_goes_on():
    """Whoever sends the press takes the row over for it; the clock runs on under it."""
    phone = call("G722", ptime_ms=40)
    phone.tick(5)
    transmitter = phone.engine._transmitter
    transmitter.take_over(phone.row)
    count = len(phone.sent)
    phone.tick(6)
    assert len(phone.sent) == count
    transmitter.hand_back(phone.row)
    phone.tick(4)
    assert len(phone.sent) == count + 2
    (_, before), (_, after) = seq_and_time(phone.sent[count - 1]), seq_and_time(phone.sent[count])
    assert (after - before) & 0xFFFF_FFFF == 160 * (2 + 1 + 6), "the frame that waited is void"


def test_opus_carries_what_the_peers_reports_ask_for():
    """12 s without loss, then with it: RTCP's figure of the row is looked at each 5 s."""
    wanted = msgspec.structs.replace(KINDS["OPUS"], opus=OpusSettings(use_inband_fec=True))
    phone = CodedCaller(Engine(2, seed=1), wanted)
    phone.engine.queue(phone.row, 1, 0, voice(16_000, 25), last=True)

    def octets() -> int:
        phone.sent.clear()
        phone.tick(250)
        return sum(map(len, phone.sent))

    unknown = octets()
    phone.engine.rows.loss_out[phone.row] = 0.0
    octets()
    clean = octets()
    phone.engine.rows.loss_out[phone.row] = 0.1
    octets()
    lossy = octets()
    assert clean < 0.85 * unknown
    assert lossy > 1.15 * clean


@every
@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"])
def test_every_codec_goes_through_srtp(name: str, suite: SrtpSuite):
    ptime_ms = 10 if name == "L16/44100" else 20  # what libsrtp takes is one datagram of an Ethernet
    wanted = msgspec.structs.replace(KINDS[name], ptime_ms=ptime_ms, comfort_noise_payload_type=None)
    phone = CodedCaller(Engine(2, seed=1), wanted, ptime_ms=ptime_ms, echo=True, keys=keys(suite))
    phone.say(tones(phone.rate_hz, 1.2, 1_000))
    phone.tick(3)
    assert not phone.engine.rejected
    assert not phone.engine.sending(phone.engine.rows.phase_of(phone.row)).size, (
        "nothing goes out unprotected"
    )
    for wave in (phone.said(), phone.heard()):
        assert loudest(middle(wave), phone.rate_hz) == pytest.approx(1_000, abs=3)
        assert purity_db(middle(wave), phone.rate_hz, 1_000) > 25


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_to_legs_of_all_codecs_their_streams_are_whole(seed: int):
    """Losses, damage, changes of codec, holds, key presses, hang-ups: numbers go on by one as long as the SSRC stays."""
    random, engine = np.random.default_rng(seed), Engine(8, seed=seed)
    waves = {rate: voice(rate, 0.12) for rate in (8_000, 16_000)}

    def chance(share: float) -> bool:
        return bool(random.random() < share)

    def some_format() -> MediaFormat:
        wanted = KINDS[str(random.choice(list(KINDS)))]
        return msgspec.structs.replace(
            wanted, ptime_ms=int(random.choice(PTIMES_MS)), comfort_noise_payload_type=13 if chance(0.3) else None,
            direction=str(random.choice(["sendrecv", "sendrecv", "sendonly", "inactive"])),
            opus=OpusSettings(use_inband_fec=chance(0.5), use_dtx=chance(0.5)),
        )  # fmt: skip

    def some_phone(port: int, now_ns: int) -> CodedCaller:
        room = 1 if chance(0.4) else -1
        return CodedCaller(engine, some_format(), port=port, echo=room < 0, room=room, now_ns=now_ns)

    phones = [some_phone(PORT + 2 * index, 0) for index in range(8)]
    streams: dict[tuple[int, bytes], int] = {}
    for tick in range(120):
        now_ns = tick * 20_000_000
        for index, phone in enumerate(phones):
            count = int(random.choice([0, 1, 1, 2]))
            for data in phone.packets(waves[phone.rate_hz][: count * phone.rate_hz // 50]):
                damaged = bytearray(data)
                damaged[int(random.integers(12, len(data)))] ^= 255 * chance(0.1)
                hand_over_long(engine, phone.row, bytes(damaged), now_ns, port=phone.port)
            if chance(0.02):
                wanted = some_format()
                engine.update(phone.row, RtpEndpoint(host=HOST, rtp_port=phone.port), wanted)
                phone.speak(wanted)
            if chance(0.03):
                rate = engine.rate_hz(phone.row)
                engine.queue(phone.row, tick, 0, waves[rate], last=True)
            if chance(0.02):
                engine._transmitter.take_over(phone.row)
            elif chance(0.2):
                engine._transmitter.hand_back(phone.row)
            if chance(0.005):
                engine.close(phone.row, now_ns)
                phones[index] = some_phone(phone.port, now_ns)
        for _ in range(engine.phases):
            engine.tick(now_ns)
            sent = [
                (row, engine.packets[row].tobytes()) for row in engine.sending(engine.last_phase).tolist()
            ]
            for row, data in sent + [tuple(packet) for packet in engine.loose()]:
                number, _ = seq_and_time(data)
                key = (row, data[8:12])
                assert streams.setdefault(key, number) == number
                streams[key] = (number + 1) & 0xFFFF
    assert len(streams) > 10
