from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mediaworker.core import codecs
from mediaworker.core.codecs import Codec
from mediaworker.core.codecs.l16 import L16Decoder
from mediaworker.core.inbound.coded import KEPT_PACKETS, STALE_FRAMES, CodedLegs
from mediaworker.core.inbound.timeline import Act
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Rows
from shared.contracts import MediaFormat, OpusSettings
from tests.support.listening import level_db, tones, voice

pytestmark = pytest.mark.unit


def found(name: str, clock_rate_hz: int) -> Codec:
    codec = codecs.find(MediaFormat(codec=name, payload_type=96, clock_rate_hz=clock_rate_hz))  # type: ignore[arg-type]
    assert codec
    return codec


NARROW, WIDE, FAST, G722, OPUS = (
    found("L16", 8_000), found("L16", 16_000), found("L16", 44_100), found("G722", 8_000), found("OPUS", 48_000),
)  # fmt: skip


class Bench:
    """One coded leg, of L16 unless told otherwise: what goes in can be seen in what comes out."""

    def __init__(self, codec: Codec = WIDE) -> None:
        self.rows = Rows(4, 1)
        self.rejected: Counter[str] = Counter()
        self.coded = CodedLegs(self.rows, self.rejected)
        self.codec = codec
        self.row = self.rows.take(0)
        self.set(codec)
        self.ext = 0

    def set(self, codec: Codec) -> None:
        self.codec = codec
        self.rows.coded[self.row], self.rows.wide[self.row], self.rows.clock[self.row] = (
            True,
            codec.wide,
            codec.clock,
        )
        self.coded.set_format(self.row, codec)

    def store(self, position: int, payload: bytes) -> int:
        self.ext += 1
        return self.coded.store(self.row, position, self.ext, 0, np.frombuffer(payload, np.uint8))

    def samples(self, position: int, values: np.ndarray) -> int:
        """A packet of L16."""
        return self.store(position, values.astype(">i2").tobytes())

    def play(self, frame: int, act: Act = Act.PLAY) -> np.ndarray:
        self.coded.play(np.array([self.row]), np.array([frame]), np.array([int(act)]))
        return (self.rows.caller_wide if self.codec.wide else self.rows.caller_pcm)[self.row].copy()


def ramp(frame: int, size: int = 320) -> np.ndarray:
    return np.arange(frame * size, (frame + 1) * size, dtype=np.int16)


def test_each_frame_is_what_its_packet_says():
    bench = Bench()
    for frame in (5, 6, 7):
        assert bench.samples(frame * 320, ramp(frame)) == 320
    for frame in (5, 6, 7):
        assert np.array_equal(bench.play(frame), ramp(frame))


def test_a_packet_that_came_early_waits_for_its_place():
    bench = Bench()
    for frame in (3, 1, 2):
        bench.samples(frame * 320, ramp(frame))
    assert [int(bench.play(frame)[0]) for frame in (1, 2, 3)] == [320, 640, 960]


@pytest.mark.parametrize("size", [80, 160, 240, 480, 700, 960])
def test_packets_of_any_length_give_whole_frames(size: int):
    bench = Bench()
    wave = np.arange(9_600, dtype=np.int16)
    for at in range(0, 9_600 - size + 1, size):
        bench.samples(at, wave[at : at + size])
    heard = np.concatenate([bench.play(frame) for frame in range(20)])
    assert np.array_equal(heard, wave[: 20 * 320])


def test_packets_between_the_frames_are_cut_where_the_frame_begins():
    bench = Bench()
    bench.samples(100, np.full(320, 7))
    bench.samples(420, np.full(320, 8))
    heard = bench.play(1)
    assert (heard[:100] == 7).all()
    assert (heard[100:] == 8).all()


def test_what_two_packets_both_have_is_heard_once():
    bench = Bench()
    bench.samples(0, np.arange(320))
    bench.samples(160, np.arange(160, 480))
    bench.samples(200, np.arange(200, 300))
    bench.samples(480, np.arange(480, 640))
    heard = np.concatenate([bench.play(0), bench.play(1)])
    assert np.array_equal(heard, np.arange(640))


def test_a_wide_leg_has_its_frame_at_8_khz_too():
    bench = Bench()
    wave = tones(16_000, 0.4, 700)
    for frame in range(20):
        bench.samples(frame * 320, wave[frame * 320 : (frame + 1) * 320])
    narrow = []
    for frame in range(20):
        bench.play(frame)
        narrow.append(bench.rows.caller_pcm[bench.row].copy())
    assert level_db(np.concatenate(narrow)[320:]) == pytest.approx(level_db(wave), abs=0.1)


def test_a_narrow_leg_has_only_8_khz():
    bench = Bench(NARROW)
    bench.samples(160, ramp(1, 160))
    assert np.array_equal(bench.play(1), ramp(1, 160))
    assert not bench.rows.caller_wide.any()


@pytest.mark.parametrize("size", [441, 882, 700, 1_323])
def test_44_1_khz_gives_20_ms_frames_for_ever(size: int):
    bench = Bench(FAST)
    wave = tones(44_100, 2, 1_000)
    for at in range(0, len(wave) - size + 1, size):
        if at >= KEPT_PACKETS * size:
            break
        bench.samples(at, wave[at : at + size])
    frames = min(len(wave) // size, KEPT_PACKETS) * size // 882 - 1
    heard = np.concatenate([bench.play(frame) for frame in range(frames)])
    steepest = 8_000 * 2 * np.pi * 1_000 / 16_000
    assert np.abs(np.diff(heard[320:].astype(np.int64))).max() < 1.3 * steepest, "no seam anywhere"
    assert level_db(heard[320:]) == pytest.approx(level_db(wave), abs=0.1)


def test_a_lost_frame_is_made_up_and_what_follows_is_in_place():
    bench = Bench()
    wave = tones(16_000, 0.4, 250)
    parts = [wave[at : at + 320] for at in range(0, 6_400, 320)]
    for frame in (*range(8), *range(9, 20)):
        bench.samples(frame * 320, parts[frame])
    heard = [bench.play(frame, Act.LOSS if frame == 8 else Act.PLAY) for frame in range(20)]
    assert level_db(heard[8]) > level_db(wave) - 3
    assert np.array_equal(heard[12], parts[12])


def test_the_end_of_a_frame_that_is_there_in_part_is_made_up():
    bench = Bench()
    wave = tones(16_000, 0.1, 250)
    for frame in range(4):
        bench.samples(frame * 320, wave[frame * 320 : (frame + 1) * 320])
        bench.play(frame)
    bench.samples(4 * 320, wave[1_280:1_440])
    heard = bench.play(4, Act.LOSS)
    # Behind a hole nothing is blended: the first half is as it was sent.
    assert np.array_equal(heard[:160], wave[1_280:1_440])
    assert level_db(heard[160:]) > level_db(wave) - 6
    bench.samples(4 * 320 + 160, wave[1_440:1_600])
    bench.samples(5 * 320, np.zeros(320))
    assert not bench.play(5)[64:].any(), "the other half came too late: the frame is over"


def test_a_hold_makes_up_20_ms_and_the_frame_is_still_to_come():
    bench = Bench()
    wave = tones(16_000, 0.1, 250)
    for frame in range(3):
        bench.samples(frame * 320, wave[frame * 320 : (frame + 1) * 320])
        bench.play(frame)
    assert level_db(bench.play(3, Act.HOLD)) > level_db(wave) - 3
    bench.play(3, Act.HOLD)
    bench.samples(3 * 320, wave[960:1_280])
    assert np.array_equal(bench.play(3)[64:], wave[1_024:1_280])


def test_two_frames_are_heard_as_one():
    bench = Bench()
    wave = tones(16_000, 0.2, 250)
    for frame in range(8):
        bench.samples(frame * 320, wave[frame * 320 : (frame + 1) * 320])
    bench.play(0)
    merged = bench.play(2, Act.MERGE)
    assert len(merged) == 320
    assert level_db(merged) == pytest.approx(level_db(wave), abs=3)
    assert np.array_equal(bench.play(3), wave[960:1_280])


def test_frames_that_are_left_out_are_not_heard_but_the_coder_hears_them():
    wave = voice(16_000, 0.6)
    encoder = G722.encoder(MediaFormat(codec="G722", payload_type=9), codecs.COMPLEXITY)
    packets = [encoder.encode(wave[at : at + 320]) for at in range(0, len(wave) - 319, 320)]
    straight, leaping = Bench(G722), Bench(G722)
    for frame, packet in enumerate(packets):
        straight.store(frame * 160, packet)
        leaping.store(frame * 160, packet)
    every = [straight.play(frame) for frame in range(len(packets))]
    some = {frame: leaping.play(frame) for frame in (0, 1, 2, 5, 6, 7, 8)}
    assert all(np.array_equal(some[frame], every[frame]) for frame in some)


def test_what_is_long_past_is_neither_decoded_nor_made_up():
    bench = Bench()
    for frame in range(30):
        bench.samples(frame * 320, ramp(frame))
    bench.play(0)
    assert np.array_equal(bench.play(20), ramp(20))
    bench.samples(100 * 320, ramp(100))
    assert np.array_equal(bench.play(100), ramp(100))


def test_a_time_line_that_begins_earlier_is_followed():
    bench = Bench()
    bench.samples(50 * 320, ramp(50))
    bench.play(50)
    bench.samples(10 * 320, ramp(10))
    assert np.array_equal(bench.play(10), ramp(10))


def test_quiet_is_silence_and_leaves_the_rest_in_place():
    bench = Bench()
    bench.samples(4 * 320, ramp(4))
    assert not bench.play(3, Act.QUIET).any()
    assert np.array_equal(bench.play(4), ramp(4))


def test_before_anything_came_there_is_silence():
    bench = Bench()
    assert not bench.play(0, Act.HOLD).any()
    assert not bench.play(0, Act.LOSS).any()


def test_a_restart_forgets_what_was_kept():
    bench = Bench()
    bench.samples(0, np.full(320, 9_000))
    bench.play(0)
    bench.samples(320, np.full(320, 9_000))
    bench.coded.restart(bench.row)
    assert not bench.play(1, Act.LOSS).any()
    bench.coded.restart(3)
    assert bench.coded.store(3, 0, 1, 0, np.zeros(4, np.uint8)) == 0, "a row without codec keeps nothing"


def test_a_row_without_codec_is_left_alone():
    bench = Bench()
    bench.rows.caller_pcm[3] = 5
    bench.coded.play(np.array([3]), np.array([0]), np.array([int(Act.PLAY)]))
    assert (bench.rows.caller_pcm[3] == 5).all()


def test_payloads_that_cannot_be_read_are_counted():
    bench = Bench()
    assert bench.store(0, b"\x01") == 0
    assert bench.rejected == {"payload": 1}
    bench.set(OPUS)
    assert bench.store(0, b"\x03") == 0
    assert bench.rejected == {"payload": 2}


def test_a_payload_that_fails_only_when_it_is_decoded_is_a_hole():
    """Its head says one frame of 20 ms, but its padding would be longer than the packet (RFC 6716 section 3.2.5)."""
    bench = Bench(OPUS)
    broken = bytes([0x4B, 0x41, 0xFF, 0x00, 0x00])
    wave = tones(16_000, 0.4, 300)
    encoder = OPUS.encoder(
        MediaFormat(codec="OPUS", payload_type=96, clock_rate_hz=48_000), codecs.COMPLEXITY
    )
    for frame in range(10):
        bench.store(frame * 960, encoder.encode(wave[frame * 320 : (frame + 1) * 320]))
        bench.play(frame)
    assert bench.store(10 * 960, broken) == 960
    assert level_db(bench.play(10)) > level_db(wave) - 6
    assert bench.rejected == {"payload": 1}


def test_what_is_kept_of_a_leg_is_bounded():
    bench = Bench()
    for number in range(KEPT_PACKETS + 3):
        bench.samples(number * 16, np.zeros(16))
    assert bench.rejected == {"overflow": 3}


def test_a_lost_opus_packet_is_found_in_the_next_one():
    wave = voice(16_000, 2)
    wanted = MediaFormat(
        codec="OPUS", payload_type=96, clock_rate_hz=48_000, opus=OpusSettings(use_inband_fec=True)
    )
    for ptime_ms in (20, 40, 60):
        encoder, size, units = OPUS.encoder(wanted, codecs.COMPLEXITY), 16 * ptime_ms, 48 * ptime_ms
        packets = [encoder.encode(wave[at : at + size]) for at in range(0, len(wave) - size + 1, size)]
        whole, holed, blind = Bench(OPUS), Bench(OPUS), Bench(OPUS)
        lost = set(range(3, len(packets), 4))
        for number, packet in enumerate(packets):
            whole.store(number * units, packet)
            if number not in lost:
                holed.store(number * units, packet)
        frames = len(packets) * ptime_ms // 20 - 4
        true, found_again, guessed = [], [], []
        for frame in range(frames):
            true.append(whole.play(frame))
            number = frame * 20 // ptime_ms
            found_again.append(holed.play(frame, Act.LOSS if number in lost else Act.PLAY))
            if number not in lost and frame * 20 % ptime_ms == 0:
                blind.store(number * units, packets[number])
            guessed.append(blind.play(frame, Act.LOSS if number in lost else Act.PLAY))
        base = np.concatenate(true).astype(np.float64)
        with_fec = np.sum((np.concatenate(found_again) - base) ** 2)
        without = np.sum((np.concatenate(guessed) - base) ** 2)
        assert with_fec < 0.6 * without, ptime_ms


def test_a_closed_leg_leaves_nothing_for_the_next_one():
    bench = Bench()
    wave = tones(16_000, 0.02, 300)
    bench.samples(0, wave)
    bench.play(0)
    bench.samples(320, wave)
    bench.coded.close(bench.row)
    assert bench.coded.store(bench.row, 0, 1, 0, np.zeros(640, np.uint8)) == 0
    bench.set(WIDE)
    bench.samples(0, np.zeros(320))
    assert not bench.play(0).any()
    assert not bench.rows.caller_pcm[bench.row].any(), "nor in the filter"


def test_stale_is_less_than_what_opus_makes_up():
    assert STALE_FRAMES * 20 < 120


def test_a_payload_that_fails_between_frames_is_a_hole_too():
    bench = Bench(OPUS)
    encoder = OPUS.encoder(
        MediaFormat(codec="OPUS", payload_type=96, clock_rate_hz=48_000), codecs.COMPLEXITY
    )
    wave = tones(16_000, 0.4, 300)
    for number in range(24):
        payload = encoder.encode(wave[number * 160 : (number + 1) * 160])
        # One frame of 10 ms whose padding would be longer than the packet.
        bench.store(number * 480, bytes([0x43, 0x41, 0xFF, 0x00]) if number == 15 else payload)
    heard = np.concatenate([bench.play(frame) for frame in range(12)])
    assert bench.rejected == {"payload": 1}
    assert level_db(heard[7 * 320 : 8 * 320]) > level_db(wave) - 6
    assert level_db(heard[9 * 320 :]) == pytest.approx(level_db(wave), abs=2)


@pytest.mark.parametrize("size", [441, 700, 882])
def test_44_1_khz_with_losses_stays_in_its_frames(size: int):
    """Where a hole is no whole number of our samples the frames are still 320 samples, and hardly any is invented."""
    bench = Bench(FAST)
    wave = tones(44_100, 2, 300)
    count = min(len(wave) // size, KEPT_PACKETS)
    for number in range(count):
        if number % 7 != 3:
            bench.samples(number * size, wave[number * size : (number + 1) * size])
    frames = count * size // 882 - 1
    lost = [bench.play(frame, Act.LOSS) for frame in range(frames)]
    heard = np.concatenate(lost)[640:]
    assert len(heard) == (frames - 2) * 320
    assert level_db(heard) == pytest.approx(level_db(wave), abs=1)
    steepest = 8_000 * 2 * np.pi * 300 / 16_000
    assert np.abs(np.diff(heard.astype(np.int64))).max() < 3 * steepest


class _OneShort(L16Decoder):
    """A codec whose packets are one sample short of what their clock says, as rates that do not divide are."""

    def decode(self, payload: bytes) -> Samples:
        return super().decode(payload)[:-1]


def test_a_sample_that_rounding_left_out_is_no_hole():
    bench = Bench(replace(WIDE, decoder=lambda: _OneShort(16_000)))
    for frame in range(3):
        bench.samples(frame * 320, np.full(320, 1_000 + frame))
    for frame in range(3):
        heard = bench.play(frame)
        assert len(heard) == 320
        assert heard.min() >= 1_000
    assert not bench.rejected
