"""Digits out of the engine, packet by packet."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest

from mediaworker.core.dtmf.events import SEGMENT
from mediaworker.core.dtmf.sender import KEYS_MAX, Style
from mediaworker.core.dtmf.tones import PAIRS
from mediaworker.core.engine import Engine
from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.playing.media_source import Pcm
from shared.contracts import MediaFormat
from tests.support.engine_caller import Caller, leg_setup, tone

pytestmark = pytest.mark.unit

EVENTS = 101


@dataclass(frozen=True)
class Packet:
    seq: int
    stamp: int
    ssrc: int
    kind: int
    marker: bool
    payload: bytes

    @property
    def report(self) -> tuple[int, int, bool]:
        """Event, duration, end bit."""
        event, second, duration = struct.unpack("!BBH", self.payload)
        return event, duration, bool(second & 0x80)


def read(data: bytes) -> Packet:
    _, second, seq, stamp, ssrc = struct.unpack_from("!BBHII", data)
    return Packet(seq, stamp, ssrc, second & 0x7F, bool(second & 0x80), data[12:])


def a_leg(**changes: object) -> Caller:
    return Caller(Engine(2, seed=3, phases=1), leg_setup(**({"dtmf_payload_type": EVENTS} | changes)))


def ticks(leg: Caller, count: int) -> list[list[Packet]]:
    """What leaves the socket in each tick."""
    out = []
    for _ in range(count):
        before = len(leg.sent)
        leg.tick()
        out.append([read(data) for data in leg.sent[before:]] + [read(p.data) for p in leg.engine.loose()])
    return out


def flat(sent: Iterable[list[Packet]]) -> list[Packet]:
    return [packet for tick in sent for packet in tick]


def press(leg: Caller, digits: str, **style: object) -> bool:
    return leg.engine.keys.press(leg.row, digits, Style(**style))  # type: ignore[arg-type]


def test_a_key_is_reported_every_20_ms_and_ends_three_times():
    leg = a_leg()
    (before,) = flat(ticks(leg, 1))
    assert press(leg, "5", duration_ms=100, gap_ms=60)
    sent = ticks(leg, 12)
    events = [packet for packet in flat(sent) if packet.kind == EVENTS]
    assert [packet.report for packet in events] == [
        (5, 160, False), (5, 320, False), (5, 480, False), (5, 640, False),
        (5, 800, True), (5, 800, True), (5, 800, True),
    ]  # fmt: skip
    assert [packet.marker for packet in events] == [True] + 6 * [False]
    assert {packet.stamp for packet in events} == {before.stamp + 160}, "frozen at its beginning"
    assert {packet.payload[1] & 0x3F for packet in events} == {10}
    assert all(packet.kind == EVENTS for packet in flat(sent[:7])), "no audio meanwhile"
    assert [len(tick) for tick in sent] == [1] * 12


def test_the_stream_goes_on_as_one():
    leg = a_leg()
    first = flat(ticks(leg, 2))
    press(leg, "12", duration_ms=60, gap_ms=80)
    stream = first + flat(ticks(leg, 20))
    assert len({packet.ssrc for packet in stream}) == 1
    steps = np.diff([packet.seq for packet in stream]) & 0xFFFF
    assert set(steps.tolist()) == {1}
    audio = [packet for packet in stream if packet.kind == 0]
    for packet in audio:
        tick = stream.index(packet)
        assert (packet.stamp - first[0].stamp) & 0xFFFF_FFFF == tick * 160, "its clock never stopped"


def test_keys_follow_each_other_after_the_gap():
    leg = a_leg()
    press(leg, "19", duration_ms=40, gap_ms=100)
    starts = [tick for tick, sent in enumerate(ticks(leg, 30)) if sent[0].marker and sent[0].kind == EVENTS]
    assert starts == [0, 7]


def test_a_pause_is_a_second():
    leg = a_leg()
    press(leg, "1,2", duration_ms=40, gap_ms=40)
    starts = [tick for tick, sent in enumerate(ticks(leg, 80)) if sent[0].marker and sent[0].kind == EVENTS]
    assert starts == [0, 4 + 50]


def test_the_shortest_gap_still_has_all_end_packets():
    leg = a_leg()
    press(leg, "11", duration_ms=40, gap_ms=40)
    events = [packet.report for packet in flat(ticks(leg, 12)) if packet.kind == EVENTS]
    assert events == 2 * [(1, 160, False), (1, 320, True), (1, 320, True), (1, 320, True)]


def test_the_agent_waits_while_digits_are_sent():
    leg = a_leg()
    leg.engine.queue(leg.row, 1, 0, tone(440, 1_600), last=True)
    leg.tick()
    press(leg, "5", duration_ms=100, gap_ms=60)
    sent = ticks(leg, 8)
    assert leg.engine.heard(leg.row).samples == 160, "nothing was played into the void"
    silence = bytes([MU_LAW.silence]) * 160
    assert [packet.payload for packet in flat(sent[7:8])] == [silence]
    leg.tick(12)
    played = [event.heard.samples for result in leg.results for event in result.playout if not event.started]
    assert played == [1_600]


def test_an_echo_is_silent_while_digits_are_sent():
    leg = a_leg(echo=True)
    leg.say(tone(440, 1_600))
    press(leg, "5", via="inband", duration_ms=40, gap_ms=200)
    for _ in range(10):
        leg.arrive(leg.packet(tone(440, 160)))
        leg.tick()
    assert not np.any(leg.heard[-6])
    leg.say(tone(440, 800))
    assert np.any(leg.heard[-1])


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_without_events_keys_are_tones(codec: str):
    leg = a_leg(codec=codec, dtmf_payload_type=None)
    assert press(leg, "7", duration_ms=100, gap_ms=60, level_dbm0=-8)
    sent = flat(ticks(leg, 8))
    law = A_LAW if codec == "PCMA" else MU_LAW
    pcm = law.decoder[np.frombuffer(b"".join(packet.payload for packet in sent), np.uint8)]
    spectrum = np.abs(np.fft.rfft(pcm[:800] * np.hanning(800)))
    peaks = sorted(10 * np.argsort(spectrum)[-2:])
    assert np.abs(np.array(peaks) - PAIRS["7"]).max() <= 10
    rms_dbm0 = 20 * np.log10(np.sqrt(np.mean(pcm[80:720].astype(np.float64) ** 2)) / 16_019)
    assert rms_dbm0 == pytest.approx(-8, abs=0.4)
    assert np.abs(pcm[800:]).max() < 10


def test_tones_can_be_asked_for_where_events_were_agreed():
    leg = a_leg()
    assert press(leg, "7", via="inband", duration_ms=60)
    assert all(packet.kind == 0 for packet in flat(ticks(leg, 10)))
    assert np.abs(leg.heard[1].astype(np.int32)).max() > 3_000


@pytest.mark.parametrize("clock_hz", [8_000, 16_000, 48_000])
def test_durations_count_the_agreed_clock(clock_hz: int):
    leg = a_leg()
    leg.engine.keys.set_format(
        leg.row,
        MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=EVENTS, dtmf_clock_rate_hz=clock_hz),
    )
    press(leg, "5", duration_ms=100)
    durations = [packet.report[1] for packet in flat(ticks(leg, 7))]
    step = clock_hz // 50
    assert durations == [step, 2 * step, 3 * step, 4 * step, 5 * step, 5 * step, 5 * step]


def test_a_long_key_goes_on_in_segments():
    """RFC 4733 section 2.5.1.3: 0xFFFF is the longest; the next segment's time stamp is later by as much."""
    leg = a_leg()
    leg.engine.keys.sender.set_clock(leg.row, 48_000)
    press(leg, "5", duration_ms=3_000, gap_ms=60)
    events = [packet for packet in flat(ticks(leg, 155)) if packet.kind == EVENTS]
    start = events[0].stamp
    segments = sorted({(packet.stamp - start) & 0xFFFF_FFFF for packet in events})
    assert segments == [0, SEGMENT, 2 * SEGMENT]
    for offset in segments[:-1]:
        last = [packet for packet in events if (packet.stamp - start) & 0xFFFF_FFFF == offset][-1]
        assert last.report == (5, SEGMENT, False)
    ends = [packet for packet in events if packet.report[2]]
    assert [packet.report[1] for packet in ends] == 3 * [3_000 * 48 - 2 * SEGMENT]
    assert [packet.marker for packet in events].count(True) == 1


@pytest.mark.parametrize(
    ("digits", "style"),
    [
        ("", {}),
        ("X", {}),
        ("5a", {}),
        ("5", {"duration_ms": 39}),
        ("5", {"duration_ms": 6_001}),
        ("5", {"gap_ms": 20}),
        ("5", {"level_dbm0": 1}),
        ("5", {"level_dbm0": -37}),
        ("!", {"via": "inband"}),
        ("5" * (KEYS_MAX + 1), {}),
    ],
)
def test_what_cannot_be_sent_is_refused_whole(digits: str, style: dict[str, object]):
    leg = a_leg()
    assert not press(leg, digits, **style)
    assert not leg.engine.keys.sender
    assert flat(ticks(leg, 1))[0].kind == 0


def test_events_are_refused_where_none_were_agreed():
    leg = a_leg(dtmf_payload_type=None)
    assert not press(leg, "5", via="rfc4733")
    assert not press(leg, "!")


def test_keys_that_do_not_fit_behind_those_waiting_are_refused():
    leg = a_leg()
    assert press(leg, "1" * KEYS_MAX)
    assert not press(leg, "2")
    leg.tick()
    assert press(leg, "2"), "one went"


def test_flash_is_event_16():
    leg = a_leg()
    assert press(leg, "!")
    assert flat(ticks(leg, 1))[0].report[0] == 16


def test_a_held_leg_sends_its_digits_when_it_is_taken_off_hold():
    leg = a_leg()
    press(leg, "12", duration_ms=40, gap_ms=40)
    ticks(leg, 1)
    held = MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=EVENTS, direction="recvonly")
    leg.engine.update(leg.row, leg.setup.remote, held)
    assert flat(ticks(leg, 10)) == []
    leg.engine.update(leg.row, leg.setup.remote, leg.setup.format)
    reports = [packet.report for packet in flat(ticks(leg, 10)) if packet.kind == EVENTS]
    assert reports[0] == (1, 320, True), "where it stopped"
    assert reports[-1] == (2, 320, True)


def test_a_leg_that_closes_in_the_middle_leaves_nothing():
    leg = a_leg()
    press(leg, "12")
    ticks(leg, 1)
    leg.engine.close(leg.row)
    assert not leg.engine.keys.sender
    again = Caller(leg.engine, leg.setup)
    assert again.row == leg.row
    assert [packet.kind for packet in flat(ticks(again, 3))] == [0, 0, 0]


def test_legs_of_other_phases_are_not_touched():
    engine = Engine(2, seed=3, phases=2)
    legs = [Caller(engine, leg_setup(dtmf_payload_type=EVENTS)) for _ in range(2)]
    press(legs[0], "5", duration_ms=40)
    sent = flat(ticks(legs[0], 4))
    assert [packet.kind for packet in sent] == [EVENTS] * 4


def test_a_key_that_lost_its_event_becomes_a_tone_and_flash_a_silence():
    """A re-INVITE took the telephone events away while keys were waiting."""
    leg = a_leg()
    press(leg, "1!2", duration_ms=40, gap_ms=40)
    ticks(leg, 1)
    plain = MediaFormat(codec="PCMU", payload_type=0)
    leg.engine.update(leg.row, leg.setup.remote, plain)
    sent = flat(ticks(leg, 16))
    assert not leg.engine.keys.sender, "all were sent"
    loud = [np.abs(frame.astype(np.int32)).max() > 1_000 for frame in leg.heard[-16:]]
    assert loud.count(True) == 2, "the 2"
    assert [packet.kind for packet in sent[4:]] == [0] * len(sent[4:])


def test_nothing_is_played_into_the_void_while_digits_are_sent():
    leg = a_leg()
    lines = leg.engine.lines
    for line in ("foreground", "background"):
        lines.playback.add(lines.of_leg(leg.row, line), Pcm(tone(440, 1_600)), frame=160)
    leg.tick()
    press(leg, "5", duration_ms=100, gap_ms=60)
    leg.tick(8)
    for line in ("foreground", "background"):
        assert lines.playback.position(lines.of_leg(leg.row, line)) == 160
    leg.tick(2)
    assert lines.playback.position(leg.row) == 480


def test_a_key_ends_with_the_stream_that_its_time_belongs_to():
    """A re-INVITE brought a codec of another clock: new SSRC, new time."""
    leg = a_leg()
    press(leg, "1", duration_ms=400)
    ticks(leg, 3)
    opus = MediaFormat(codec="OPUS", payload_type=111, clock_rate_hz=48_000, dtmf_payload_type=EVENTS)
    leg.engine.update(leg.row, leg.setup.remote, opus)
    assert {packet.kind for packet in flat(ticks(leg, 30))} == {111}
    press(leg, "2", duration_ms=40, gap_ms=60)
    assert [packet.report[0] for packet in flat(ticks(leg, 6)) if packet.kind == EVENTS] == [2] * 4


@pytest.mark.parametrize("before", ["PCMU", "G722"])
def test_a_tone_keeps_its_pitch_where_the_codec_changes_under_it(before: str):
    kinds = {
        "PCMU": MediaFormat(codec="PCMU", payload_type=0),
        "G722": MediaFormat(codec="G722", payload_type=9),
    }
    after = "G722" if before == "PCMU" else "PCMU"
    leg = Caller(Engine(2, seed=3, phases=1), leg_setup(format=kinds[before]))
    press(leg, "5", duration_ms=400, via="inband")
    leg.tick(5)
    leg.engine.update(leg.row, leg.setup.remote, kinds[after])
    leg.tick(10)
    wave = np.concatenate(leg.heard[-8:]).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    loudest = sorted(np.fft.rfftfreq(len(wave), 1 / 8_000)[np.argsort(spectrum)[-6:]])
    assert abs(loudest[0] - PAIRS["5"][0]) < 20
    assert abs(loudest[-1] - PAIRS["5"][1]) < 20
