"""Every codec of the media worker passes one suite; what only one has is at the end."""

import ctypes
import importlib.util
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mediaworker.core import codecs
from mediaworker.core.codecs import BadPayload, Codec, Decoder, Encoder, opus
from mediaworker.core.legs import Samples
from shared.contracts import MediaFormat, OpusSettings
from shared.errors import ConfigError, Refused
from tests.support.listening import level_db, loudest, purity_db, share_above, tones, voice

pytestmark = pytest.mark.conformance


@dataclass(frozen=True)
class Kind:
    name: str
    clock_rate_hz: int
    rate_hz: int
    purity_db: float
    """Of a tone, at least."""

    def format(self, ptime_ms: int = 20, **changes: object) -> MediaFormat:
        return MediaFormat(
            codec=self.name, payload_type=96, clock_rate_hz=self.clock_rate_hz, ptime_ms=ptime_ms, **changes  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def codec(self) -> Codec:
        codec = codecs.find(self.format())
        assert codec
        return codec

    def decoder(self) -> Decoder:
        return self.codec.decoder()

    def encoder(self, ptime_ms: int = 20, **changes: object) -> Encoder:
        return self.codec.encoder(self.format(ptime_ms, **changes), codecs.COMPLEXITY)

    def packets(self, wave: Samples, ptime_ms: int = 20, **changes: object) -> list[bytes]:
        encoder = self.encoder(ptime_ms, **changes)
        size = self.rate_hz * ptime_ms // 1_000
        return [encoder.encode(wave[at : at + size]) for at in range(0, len(wave) - size + 1, size)]


KINDS = [
    Kind("G722", 8_000, 16_000, 18),
    Kind("OPUS", 48_000, 16_000, 8),
    Kind("L16", 8_000, 8_000, 60),
    Kind("L16", 16_000, 16_000, 60),
    Kind("L16", 44_100, 16_000, 55),
]
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.name}-{kind.clock_rate_hz}")
WIDE = [kind for kind in KINDS if kind.rate_hz == 16_000]
every_wide = pytest.mark.parametrize("kind", WIDE, ids=lambda kind: f"{kind.name}-{kind.clock_rate_hz}")


def decoded(decoder: Decoder, packets: list[bytes]) -> Samples:
    return np.concatenate([decoder.decode(packet) for packet in packets])


def test_all_codecs_are_here():
    assert codecs.available() == ("PCMU", "PCMA", "G722", "OPUS", "L16")


@every
@pytest.mark.parametrize("ptime_ms", codecs.PTIMES_MS)
def test_a_tone_comes_back_whole_at_every_packet_time(kind: Kind, ptime_ms: int):
    wave = tones(kind.rate_hz, 1.2, 1_000)
    packets = kind.packets(wave, ptime_ms)
    decoder = kind.decoder()
    units = kind.codec.clock * ptime_ms // 20
    assert {decoder.duration(packet) for packet in packets} == {units}
    parts = [decoder.decode(packet) for packet in packets]
    assert {len(part) for part in parts} == {kind.rate_hz * ptime_ms // 1_000}
    heard = np.concatenate(parts)
    assert loudest(heard[2_000:], kind.rate_hz) == pytest.approx(1_000, abs=2)
    assert level_db(heard[2_000:]) == pytest.approx(level_db(wave), abs=0.5)
    assert purity_db(heard[3_000:], kind.rate_hz, 1_000) > kind.purity_db


@every
def test_speech_keeps_its_level_and_its_octets_fit_a_datagram(kind: Kind):
    wave = voice(kind.rate_hz, 2)
    packets = kind.packets(wave)
    assert max(map(len, packets)) <= 1_764
    assert level_db(decoded(kind.decoder(), packets)) == pytest.approx(level_db(wave), abs=1.5)


@every_wide
def test_a_wideband_codec_carries_what_is_above_4_khz(kind: Kind):
    wave = tones(16_000, 1, 6_000)
    heard = decoded(kind.decoder(), kind.packets(wave))[4_000:]
    assert share_above(heard, 16_000, 4_000) > 0.95
    assert level_db(heard) == pytest.approx(level_db(wave), abs=3)


@every
def test_silence_stays_silence(kind: Kind):
    packets = kind.packets(np.zeros(kind.rate_hz, np.int16))
    assert level_db(decoded(kind.decoder(), packets)) < -70


@every
def test_the_loudest_sound_does_not_wrap(kind: Kind):
    wave = tones(kind.rate_hz, 0.5, 400, level=32_767)
    heard = decoded(kind.decoder(), kind.packets(wave)).astype(np.int64)
    assert np.abs(np.diff(heard)).max() < 20_000


@every
def test_two_streams_do_not_share_anything(kind: Kind):
    wave = voice(kind.rate_hz, 0.6)
    alone = kind.packets(wave)
    first, second = kind.encoder(), kind.encoder()
    ear, other = kind.decoder(), kind.decoder()
    size = kind.rate_hz // 50
    both = []
    for number, at in enumerate(range(0, len(wave) - size + 1, size)):
        both.append(first.encode(wave[at : at + size]))
        other.decode(second.encode(tones(kind.rate_hz, 0.02, 700 + number)))
    assert both == alone
    assert np.array_equal(decoded(ear, both), decoded(kind.decoder(), alone))


@every
@pytest.mark.parametrize("samples", [1, 80, 160, 320, 960])
def test_any_hole_is_made_up_to_the_sample(kind: Kind, samples: int):
    decoder = kind.decoder()
    assert len(decoder.conceal(samples)) == samples, "before anything came"
    decoded(decoder, kind.packets(voice(kind.rate_hz, 0.4)))
    assert len(decoder.conceal(samples)) == samples
    assert decoder.conceal(samples).dtype == np.int16


@every
def test_a_short_hole_in_a_voice_goes_on_and_a_long_one_fades(kind: Kind):
    wave = tones(kind.rate_hz, 0.4, 200, 400, 600)
    decoder = kind.decoder()
    decoded(decoder, kind.packets(wave))
    frame = kind.rate_hz // 50
    first = decoder.conceal(frame)
    assert level_db(first) > level_db(wave) - 4
    for _ in range(24):
        last = decoder.conceal(frame)
    assert level_db(last) < level_db(wave) - 20


@every
def test_sound_goes_on_after_a_hole(kind: Kind):
    wave = tones(kind.rate_hz, 1, 300)
    packets = kind.packets(wave)
    decoder = kind.decoder()
    parts = []
    for number, packet in enumerate(packets):
        lost = number % 10 == 5
        part = decoder.conceal(kind.rate_hz // 50) if lost else decoder.decode(packet)
        parts.append(part)
    heard = np.concatenate(parts)[kind.rate_hz // 10 :].astype(np.int64)
    steepest = 8_000 * 2 * np.pi * 300 / kind.rate_hz
    assert np.abs(np.diff(heard)).max() < 2.5 * steepest, "no click where a hole begins or ends"
    assert level_db(heard.astype(np.int16)) == pytest.approx(level_db(wave), abs=2)


@every
def test_octets_that_are_nothing_are_refused(kind: Kind):
    decoder = kind.decoder()
    assert decoder.duration(b"") == 0
    with pytest.raises(BadPayload):
        decoder.decode(b"")


@every
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
@example(data=b"\xff")
@example(data=b"\x03\x00")
@example(data=b"\x03\xbf" + bytes(300))
def test_whatever_comes_is_samples_or_a_bad_payload(kind: Kind, data: bytes):
    decoder = kind.decoder()
    units = decoder.duration(data)
    assert units >= 0
    try:
        heard = decoder.decode(data)
    except BadPayload:
        return
    assert heard.dtype == np.int16
    assert abs(len(heard) - units * kind.rate_hz / (kind.codec.clock * 50)) <= 1


@every
def test_a_hundred_thousand_random_payloads_do_not_harm_a_decoder(kind: Kind):
    """Half of them are real packets with bits flipped or their end cut off, which go deeper than noise does."""
    random = np.random.default_rng(3)
    real = kind.packets(voice(kind.rate_hz, 1))
    decoder = kind.decoder()
    noise = random.bytes(64 * 1_024)
    sizes = random.integers(1, 48, 100_000)
    places = random.integers(0, len(noise) - 48, 100_000)
    heard = bad = 0
    for number, (size, place) in enumerate(zip(sizes.tolist(), places.tolist(), strict=True)):
        if number % 2:
            data = noise[place : place + size]
        else:
            whole = real[place % len(real)][: size * 3]
            data = bytes([whole[0] ^ (1 << place % 8 if size % 3 == 0 else 0)]) + whole[1:]
        try:
            heard += len(decoder.decode(data))
        except BadPayload:
            bad += 1
        if number % 97 == 0:
            decoder.conceal(80, data)
    assert heard > 100_000
    wave = tones(kind.rate_hz, 0.5, 500)
    after = decoded(decoder, kind.packets(wave))
    assert loudest(after[len(after) // 2 :], kind.rate_hz) == pytest.approx(500, abs=5), "and it decodes on"


# --- what is found


@pytest.mark.parametrize(
    ("name", "clock_rate_hz"), [("G722", 16_000), ("OPUS", 8_000), ("L16", 48_000), ("PCMU", 16_000)]
)
def test_a_codec_at_a_clock_it_does_not_have_is_refused(name: str, clock_rate_hz: int):
    with pytest.raises(Refused, match="codec"):
        codecs.find(MediaFormat(codec=name, payload_type=96, clock_rate_hz=clock_rate_hz))  # type: ignore[arg-type]


@pytest.mark.parametrize("ptime_ms", [0, 5, 15, 50, 120])
def test_a_packet_time_that_is_none_of_ours_is_refused(ptime_ms: int):
    with pytest.raises(Refused, match="codec"):
        codecs.find(MediaFormat(codec="PCMU", payload_type=0, ptime_ms=ptime_ms))


def test_g711_is_no_codec_of_its_own():
    assert codecs.find(MediaFormat(codec="PCMA", payload_type=8)) is None
    assert codecs.clock_of(None) == 160
    assert codecs.clock_of(KINDS[1].codec) == 960


def test_an_operator_who_names_what_is_not_here_is_told():
    codecs.require(codecs.available())
    with pytest.raises(ConfigError, match=r"^media.codecs: no library for SPEEX, EVS here"):
        codecs.require(("PCMU", "SPEEX", "EVS"))


# --- G.722


def test_g722_has_two_samples_in_an_octet():
    packets = KINDS[0].packets(tones(16_000, 0.1, 1_000))
    assert {len(packet) for packet in packets} == {160}


# --- L16


def test_l16_is_big_endian():
    assert KINDS[2].encoder().encode(np.array([1, -2] * 80, np.int16))[:4] == b"\x00\x01\xff\xfe"
    assert KINDS[3].decoder().decode(b"\x01\x02\x80\x00").tolist() == [258, -32_768]
    assert KINDS[4].packets(tones(16_000, 0.1, 1_000), 10)[3].__len__() == 882


def test_half_a_sample_of_l16_is_refused():
    decoder = KINDS[2].decoder()
    assert decoder.duration(b"abc") == 0
    with pytest.raises(BadPayload):
        decoder.decode(b"abc")


# --- Opus

OPUS = KINDS[1]


def test_opus_keeps_to_the_bit_rate_and_the_bandwidth_it_is_asked_for():
    wave = voice(16_000, 3)
    usual = sum(map(len, OPUS.packets(wave)))
    slow = sum(map(len, OPUS.packets(wave, opus=OpusSettings(max_average_bitrate=12_000))))
    assert 12_000 < usual * 8 / 3 < 26_000
    assert 6_000 < slow * 8 / 3 < 13_000
    narrow = OPUS.packets(tones(16_000, 1, 1_000, 6_000), opus=OpusSettings(max_playback_hz=8_000))
    heard = decoded(OPUS.decoder(), narrow)[4_000:]
    assert share_above(heard, 16_000, 4_500) < 0.01
    medium = OPUS.packets(tones(16_000, 1, 1_000, 7_000), opus=OpusSettings(max_playback_hz=12_000))
    assert share_above(decoded(OPUS.decoder(), medium)[4_000:], 16_000, 6_500) < 0.01


def test_opus_finds_a_lost_packet_in_the_next_one():
    """In-band FEC against the decoder's own guess, both against what would have been heard."""
    wave = voice(16_000, 4)
    packets = OPUS.packets(wave, opus=OpusSettings(use_inband_fec=True))
    whole = [OPUS.decoder()]
    true = [whole[0].decode(packet) for packet in packets]

    def error(*, with_fec: bool) -> float:
        decoder = OPUS.decoder()
        wrong = 0.0
        for number, packet in enumerate(packets):
            if number % 8 == 4:
                made = decoder.conceal(320, packets[number + 1] if with_fec else None)
                wrong += float(np.sum((made.astype(np.float64) - true[number]) ** 2))
            else:
                decoder.decode(packet)
        return wrong

    assert error(with_fec=True) < 0.5 * error(with_fec=False)


def test_opus_rests_in_silence_when_the_peer_wants_it():
    wave = np.concatenate([voice(16_000, 1), np.zeros(32_000, np.int16), voice(16_000, 0.2)])
    for ptime_ms in (20, 30):
        packets = OPUS.packets(wave, ptime_ms, opus=OpusSettings(use_dtx=True))
        quiet = packets[1_500 // ptime_ms : 2_900 // ptime_ms]
        assert sum(not packet for packet in quiet) > 0.8 * len(quiet)
        assert all(packets[-3:])
    assert all(OPUS.packets(wave)), "nobody asked for it"


def test_thirty_ms_of_opus_are_three_frames_in_one_packet_whatever_sounds():
    random = np.random.default_rng(2)
    noise = random.normal(0, 4_000, 16_000).astype(np.int16)
    wave = np.concatenate(
        [noise, np.zeros(8_000, np.int16), tones(16_000, 1, 300), tones(16_000, 1, 6_000), voice(16_000, 1)]
    )
    decoder = OPUS.decoder()
    packets = OPUS.packets(wave, 30)
    assert {decoder.duration(packet) for packet in packets} == {1_440}
    assert {packet[0] & 3 for packet in packets} <= {1, 2, 3}
    assert {packet[1] & 63 for packet in packets} == {3}


def test_a_stereo_sender_at_48_khz_is_heard_as_one():
    library = opus._OPUS
    state = ctypes.create_string_buffer(library.opus_encoder_get_size(2))
    library.opus_encoder_init(state, 48_000, 2, 2_048)
    library.opus_encoder_ctl(state, 4_002, ctypes.c_int(96_000))
    left, right = tones(48_000, 1, 700), tones(48_000, 1, 3_000)
    wave = np.stack([left, right], axis=1).copy()
    out = ctypes.create_string_buffer(1_275)
    decoder = OPUS.decoder()
    parts = []
    for at in range(0, 48_000, 960):
        frame = np.ascontiguousarray(wave[at : at + 960])
        size = library.opus_encode(state, frame.ctypes.data, 960, out, 1_275)
        packet = out.raw[:size]
        assert packet[0] & 4, "a stereo packet"
        assert decoder.duration(packet) == 960
        parts.append(decoder.decode(packet))
    heard = np.concatenate(parts)[4_000:]
    spectrum = np.abs(np.fft.rfft(heard.astype(np.float64) * np.hanning(len(heard))))
    hz = np.arange(len(spectrum)) * 16_000 / len(heard)
    loud = hz[spectrum > 0.25 * spectrum.max()]
    assert np.abs(loud - 700).min() < 10
    assert np.abs(loud - 3_000).min() < 10


def test_where_no_wheel_carries_it_the_systems_library_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    library = opus._load()
    assert library is None or library.opus_encoder_get_size(1) > 0


def test_more_work_is_another_stream_of_the_same_length():
    wave = voice(16_000, 0.5)
    lazy, keen = (OPUS.codec.encoder(OPUS.format(), complexity) for complexity in (0, 10))
    first = [lazy.encode(wave[at : at + 320]) for at in range(0, 8_000, 320)]
    second = [keen.encode(wave[at : at + 320]) for at in range(0, 8_000, 320)]
    assert first != second
    assert len(decoded(OPUS.decoder(), first)) == len(decoded(OPUS.decoder(), second)) == 8_000


def test_fec_is_not_paid_for_with_what_is_above_4_khz():
    wave = tones(16_000, 1, 1_000, 6_000)
    heard = decoded(OPUS.decoder(), OPUS.packets(wave, opus=OpusSettings(use_inband_fec=True)))[4_000:]
    assert share_above(heard, 16_000, 4_000) > 0.3


def test_opus_corrects_as_much_as_the_peer_loses_and_no_more():
    wave = voice(16_000, 3)
    size = 320

    def octets(encoder: Encoder) -> int:
        return sum(len(encoder.encode(wave[at : at + size])) for at in range(0, len(wave) - size + 1, size))

    encoder = OPUS.encoder(opus=OpusSettings(use_inband_fec=True))
    unknown = octets(encoder)
    encoder.adapt(0.0)
    none = octets(encoder)
    encoder.adapt(0.005)
    assert octets(encoder) == pytest.approx(none, rel=0.05), "between the two limits it stays as it is"
    encoder.adapt(0.25)
    much = octets(encoder)
    assert none < 0.8 * unknown
    assert much > 1.2 * none
    limited = OPUS.encoder(opus=OpusSettings(use_inband_fec=True, max_average_bitrate=16_000))
    limited.adapt(0.3)
    assert octets(limited) * 8 / 3 < 17_500


@every
def test_what_the_peer_loses_does_not_disturb_a_codec_without_correction(kind: Kind):
    steady, told = kind.encoder(), kind.encoder()
    wave = voice(kind.rate_hz, 0.4)
    size = kind.rate_hz // 50
    for at in range(0, len(wave) - size + 1, size):
        told.adapt(0.3)
        assert told.encode(wave[at : at + size]) == steady.encode(wave[at : at + size])
