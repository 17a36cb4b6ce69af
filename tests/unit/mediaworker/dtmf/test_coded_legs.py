"""Key presses on legs that are not plain G.711: other codecs, other clocks, other packet times, SRTP."""

import msgspec
import numpy as np
import pytest
import soxr

from mediaworker.core.dtmf.detector import ToneDetector
from mediaworker.core.dtmf.sender import Style
from mediaworker.core.dtmf.tones import tone
from mediaworker.core.engine import Engine
from mediaworker.core.legs import Samples
from mediaworker.core.rows import Rows
from tests.support.coded_caller import KINDS, CodedCaller
from tests.support.engine_caller import HOST, TICK_NS, hand_over, leg_setup

pytestmark = pytest.mark.unit

EVENTS = 101
STYLE = Style(duration_ms=80, gap_ms=80)


def keys_in(pcm: Samples, rate_hz: int) -> str:
    narrow = soxr.resample(pcm, rate_hz, 8_000) if rate_hz != 8_000 else pcm
    narrow = np.concatenate([narrow, np.zeros(800 - len(narrow) % 160, np.int16)])
    detector = ToneDetector(1)
    return "".join(
        press.digit
        for start in range(0, len(narrow), 160)
        for press in detector.step(np.zeros(1, np.int64), narrow[None, start : start + 160])
    )


def a_leg(kind: str, ptime_ms: int = 20, events: bool = False) -> CodedCaller:
    wanted = msgspec.structs.replace(KINDS[kind], ptime_ms=ptime_ms)
    if events:
        wanted = msgspec.structs.replace(
            wanted, dtmf_payload_type=EVENTS, dtmf_clock_rate_hz=wanted.clock_rate_hz
        )
    return CodedCaller(Engine(2, seed=3, phases=1), wanted, ptime_ms=ptime_ms)


@pytest.mark.parametrize("kind", KINDS)
def test_tones_in(kind: str):
    leg = a_leg(kind)
    leg.engine.rows.inband[leg.row] = 2
    leg.engine.take_part(leg.row)
    quiet = np.zeros(leg.rate_hz // 10, np.int16)
    parts = [part for digit in "159D" for part in (tone(digit, 80, -12, leg.rate_hz), quiet)]
    leg.say(np.concatenate([quiet, *parts, quiet, quiet]))
    assert "".join(key.digit for result in leg.results for key in result.dtmf) == "159D"
    loud = [np.count_nonzero(np.abs(frame.astype(np.int32)) > 1_000) > 0 for frame in leg.caller]
    assert sum(loud) <= 4 * 4, "a tone is taken out at the leg's own rate too"


@pytest.mark.parametrize("ptime_ms", [10, 20, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_tones_out(kind: str, ptime_ms: int):
    leg = a_leg(kind, ptime_ms)
    leg.tick(5)
    assert leg.engine.keys.press(leg.row, "147*", STYLE)
    leg.tick(45)
    heard = leg.heard()
    assert keys_in(heard, 16_000 if leg.engine.rows.wide[leg.row] else 8_000) == "147*"


@pytest.mark.parametrize("ptime_ms", [10, 20, 60])
@pytest.mark.parametrize("kind", ["PCMU", "G722", "OPUS", "L16/16000"])
def test_events_there_and_back(kind: str, ptime_ms: int):
    leg = a_leg(kind, ptime_ms, events=True)
    hears = Engine(1, seed=4, phases=1)
    row = hears.open(leg_setup(dtmf_payload_type=EVENTS), 0)
    hears.start(row, 0)
    hears.keys.set_format(row, leg.format)
    leg.tick(6)
    leg.engine.keys.press(leg.row, "73!", STYLE)
    leg.tick(30)
    stream = [data for data in leg.sent if data[1] & 0x7F == EVENTS]
    for tick, data in enumerate(stream):
        hand_over(hears, row, data, tick * TICK_NS, host=HOST)
    found = [(key.digit, key.duration_ms) for key in hears.tick(len(stream) * TICK_NS).dtmf]
    assert found == [("7", 80), ("3", 80), ("!", 80)]
    numbers = [int.from_bytes(data[2:4], "big") for data in leg.sent]
    assert set((np.diff(numbers) & 0xFFFF).tolist()) == {1}, "one stream"


def test_what_was_begun_before_a_key_is_not_glued_to_what_comes_after():
    """With packets of 60 ms, a key falls into the middle of one: the times of audio stay those of its samples."""
    leg = a_leg("PCMU", 60, events=True)
    leg.tick(7)
    leg.engine.keys.press(leg.row, "5", STYLE)
    leg.tick(30)
    audio = [int.from_bytes(data[4:8], "big") for data in leg.sent if data[1] & 0x7F == 0]
    (start,) = {int.from_bytes(data[4:8], "big") for data in leg.sent if data[1] & 0x7F == EVENTS}
    during = [stamp for stamp in audio if (stamp - start) & 0xFFFF_FFFF < 80 * 8]
    assert during == []


def test_events_are_sealed_like_everything_else():
    leg = a_leg("PCMU", events=True)
    leg.engine._transmitter.seal(leg.row, lambda packet: b"sealed" + packet)
    leg.tick(2)
    leg.engine.keys.press(leg.row, "5", STYLE)
    leg.tick(10)
    assert len(leg.sent) == 12
    assert all(data.startswith(b"sealed") for data in leg.sent)


def test_a_tone_is_taken_out_of_the_callers_own_time_too():
    leg = a_leg("PCMU")
    keys = leg.engine.keys
    leg.engine.rows.inband[leg.row] = 2
    leg.engine.take_part(leg.row)
    sound = tone("5", 100, -12)
    own = {leg.row: sound[:320].copy()}
    for start in range(0, 480, 160):
        leg.engine.rows.caller_pcm[leg.row] = sound[start : start + 160]
        keys.listen(0, own if start == 320 else {})
    assert not np.any(own[leg.row])
    assert len(own[leg.row]) == 320


def test_rows_know_who_is_listened_to_only_while_they_are_open():
    rows = Rows(1, 1)
    row = rows.take(0)
    rows.inband[row] = 2
    rows.give(row)
    assert rows.inband[rows.take(0)] == 0
