"""The caller's audio: packets on the grid, key presses, what was heard placed and measured."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.units import FRAME_SAMPLES, NS_PER_MS
from voicefarm.core.offer import Remote
from voicefarm.core.rtp_stream import TICK_NS, Ear, Mouth, Samples, is_loud, law_of, stereo

pytestmark = pytest.mark.unit

REMOTE = Remote("192.0.2.1", 20_000, "PCMU", 0, 101, "sendrecv")


def tone(samples: int, amplitude: float = 8_000.0) -> Samples:
    return (amplitude * np.sin(np.arange(samples) * 0.4)).astype(np.int16)


def head(packet: bytes) -> tuple[bool, int, int, int, int]:
    """marker, payload type, sequence, timestamp, ssrc"""
    first, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", packet[:12])
    assert first == 0x80
    return bool(second & 0x80), second & 0x7F, sequence, timestamp, ssrc


def packet(sequence: int, timestamp: int, pcm: Samples, *, ssrc: int = 9, payload_type: int = 0) -> bytes:
    payload = law_of("PCMU").encoder[pcm.view(np.uint16)].tobytes()
    return struct.pack("!BBHII", 0x80, payload_type, sequence % 65_536, timestamp % 2**32, ssrc) + payload


@pytest.mark.parametrize("sequence", [0, 65_530])
@pytest.mark.parametrize("timestamp", [0, 2**32 - 480])
def test_packets_follow_each_other_also_over_the_wrap(sequence: int, timestamp: int) -> None:
    mouth = Mouth(5, sequence, timestamp)
    heads = [head(packet) for _ in range(10) for packet in mouth.packets(REMOTE)]
    assert [h[2] for h in heads] == [(sequence + n) % 65_536 for n in range(10)]
    assert [h[3] for h in heads] == [(timestamp + n * FRAME_SAMPLES) % 2**32 for n in range(10)]
    assert {(h[0], h[1], h[4]) for h in heads} == {(False, 0, 5)}


def test_speech_is_sent_whole_and_its_beginning_marked() -> None:
    mouth = Mouth(1, 0, 0)
    speech = tone(FRAME_SAMPLES * 2 + 40)
    mouth.packets(REMOTE)
    mouth.say(speech)
    packets = []
    while mouth.busy:
        packets += mouth.packets(REMOTE)
    assert len(packets) == 3
    assert [head(p)[0] for p in packets] == [True, False, False]
    law = law_of("PCMU")
    got = np.concatenate([law.decoder[np.frombuffer(p, np.uint8, offset=12)] for p in packets])
    assert np.abs(got[: len(speech)].astype(int) - speech).max() < 300
    assert not got[len(speech) :].any()
    assert np.array_equal(np.concatenate(mouth.sent)[160 : 160 + len(speech)], speech)


def test_a_shut_mouth_says_no_more() -> None:
    mouth = Mouth(1, 0, 0)
    mouth.say(tone(1_600))
    mouth.shut()
    assert not mouth.busy


def test_keys_are_sent_as_events_with_their_ends_repeated() -> None:
    mouth = Mouth(1, 0, 1_000)
    mouth.press("5#")
    events = []
    while mouth.busy:
        events += [p for p in mouth.packets(REMOTE) if head(p)[1] == 101]
    presses = [list(group) for _, group in itertools.groupby(events, key=lambda p: head(p)[3])]
    assert len(presses) == 2
    for digit, press in zip((5, 11), presses, strict=True):
        fields = [struct.unpack("!BBH", p[12:]) for p in press]
        assert {f[0] for f in fields} == {digit}
        assert [bool(f[1] & 0x80) for f in fields] == [False] * 4 + [True] * 3
        assert [f[2] for f in fields] == [160, 320, 480, 640, 800, 800, 800]
        assert [head(p)[0] for p in press] == [True] + [False] * 6
    sequences = [head(p)[2] for p in events]
    assert len(set(sequences)) == len(sequences)


def test_without_a_negotiated_event_nothing_is_pressed_and_audio_goes_on() -> None:
    mouth = Mouth(1, 0, 0)
    mouth.press("1")
    mute = Remote("h", 1, "PCMA", 8, None, "sendrecv")
    assert [head(p)[1] for _ in range(3) for p in mouth.packets(mute)] == [8, 8, 8]


def test_what_is_heard_lies_where_it_arrived() -> None:
    ear = Ear(0)
    for n in range(5):
        assert ear.receive(packet(n, 700 + n * 160, tone(160)), REMOTE, 40 * NS_PER_MS + n * TICK_NS)
    track = ear.samples()
    assert len(track) == 320 + 800
    assert not track[:320].any()
    assert is_loud(track[320:480])
    heard = ear.heard
    assert (heard.packets, heard.lost, heard.loud_frames, heard.ssrcs) == (5, 0, 5, {9})
    assert heard.first_loud_ns == 40 * NS_PER_MS
    assert heard.last_loud_ns == 120 * NS_PER_MS
    assert heard.max_delta_ms == pytest.approx(20)
    assert heard.jitter_ms == pytest.approx(0, abs=1e-6)


@given(start=st.sampled_from([0, 1, 32_767, 65_533, 65_535]), base=st.sampled_from([0, 2**31, 2**32 - 320]),
       gone=st.sets(st.integers(1, 18)), seed=st.randoms(use_true_random=False))  # fmt: skip
def test_loss_and_order_over_the_wrap(start: int, base: int, gone: set[int], seed: object) -> None:
    order = [n for n in range(20) if n not in gone]
    middle = order[1:-1]
    seed.shuffle(middle)  # type: ignore[attr-defined]
    ear = Ear(0)
    for at, n in enumerate([0, *middle, 19]):
        ear.receive(packet(start + n, base + n * 160, tone(160)), REMOTE, at * TICK_NS)
    assert ear.heard.lost == len(gone)
    track = ear.samples().reshape(-1, 160)
    assert [is_loud(track[n]) for n in range(20)] == [n not in gone for n in range(20)]


def test_jitter_is_that_of_rfc_3550() -> None:
    ear = Ear(0)
    expected = 0.0
    late_ms = [0, 7, 2, 11, 0, 5]
    for n, late in enumerate(late_ms):
        ear.receive(packet(n, n * 160, tone(160)), REMOTE, n * TICK_NS + late * NS_PER_MS)
        if n:
            expected += (abs(late - late_ms[n - 1]) - expected) / 16
    assert ear.heard.jitter_ms == pytest.approx(expected)


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x00short", packet(0, 0, tone(160), payload_type=8), b"\x90" + bytes(171)]
)
def test_what_is_no_audio_of_ours_is_counted_and_dropped(data: bytes) -> None:
    ear = Ear(0)
    assert not ear.receive(data, REMOTE, 0)
    assert (ear.heard.refused, ear.heard.packets) == (1, 0)
    assert len(ear.samples()) == 0


def test_a_timestamp_far_in_the_future_makes_no_huge_track() -> None:
    ear = Ear(0)
    ear.receive(packet(0, 0, tone(160)), REMOTE, 0)
    ear.receive(packet(1, 2**31 - 1, tone(160)), REMOTE, TICK_NS)
    assert len(ear.samples()) == 160


def test_stereo_has_the_caller_left_and_the_farm_right() -> None:
    mouth, ear = Mouth(1, 0, 0), Ear(0)
    mouth.say(tone(160))
    mouth.packets(REMOTE)
    ear.receive(packet(0, 0, tone(160)), REMOTE, 2 * TICK_NS)
    both = stereo(mouth, ear)
    assert both.shape == (480, 2)
    assert is_loud(both[:160, 0])
    assert not both[160:, 0].any()
    assert not both[:320, 1].any()
    assert is_loud(both[320:, 1])


@pytest.mark.parametrize(
    ("amplitude", "loud"), [(0.0, False), (150.0, False), (400.0, True), (30_000.0, True)]
)
def test_loudness_has_the_farms_threshold(amplitude: float, loud: bool) -> None:
    assert is_loud(tone(160, amplitude)) is loud
