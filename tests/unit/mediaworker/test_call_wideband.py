"""A call on a wideband leg: 16 kHz to speech recognition and from synthesis, counts at 8 kHz, and a codec that changes."""

import numpy as np
import pytest

from mediaworker.core.calls.effects import Assigned, Holding, LiveWorkers, SendAudio
from mediaworker.core.legs import Speech, TickResult
from shared.contracts import (
    DialogueAttach,
    DialogueUpdate,
    Mark,
    MediaFormat,
    MediaUpdate,
    RtpEndpoint,
    SegmentPlayed,
    SpeechStarted,
)
from tests.support.exchange_bench import Bench, frames, notes, sent

pytestmark = pytest.mark.unit

G722 = MediaFormat(codec="G722", payload_type=9)
PCMU = MediaFormat(codec="PCMU", payload_type=0)
REMOTE = RtpEndpoint(host="127.0.0.1", rtp_port=40_000)


def update(bench: Bench, wanted: MediaFormat, number: int = 1):
    message = MediaUpdate(msg_id=f"u{number}", reply_to="front.1", call_id="c1", remote=REMOTE, format=wanted)
    return bench.do(message)


def rates(effects) -> list[int]:
    """Of the messages to STT workers, in order."""
    return [effect.message.rate_hz for effect in effects if isinstance(effect, SendAudio)]


def test_dialogue_is_told_the_rate_of_the_leg() -> None:
    bench = Bench()
    bench.open(format=G722)
    bench.open("c2", port=20_002)
    assert {m.call_id: m.rate_hz for m in sent(bench.effects, DialogueAttach)} == {"c1": 16_000, "c2": 8_000}


def test_utterance_goes_to_speech_recognition_at_16_khz_from_its_pre_roll_on() -> None:
    bench = Bench()
    row = bench.open(kind="transcribe", format=G722)
    bench.tick(30)
    bench.engine.rows.caller_wide[row] = np.arange(320)
    effects = bench.speech(row, Speech.ONSET, inside=True)
    start, first = frames(effects)
    assert rates(effects) == [16_000]
    assert (start.mark, len(start.pcm) % 640) == (Mark.START, 0)
    assert len(start.pcm) >= 10 * 640  # 200 ms at 16 kHz
    assert first.offset == len(start.pcm) // 2
    assert np.frombuffer(first.pcm, np.int16).tolist() == list(range(320))
    end = frames(bench.speech(row, Speech.END, inside=True))[-1]
    assert (end.mark, end.offset) == (Mark.END, first.offset + 320)
    (ended,) = notes(bench.effects, "speech.ended")
    assert ended["audio_ms"] == end.offset // 16


def test_legs_of_both_kinds_in_one_tick_are_a_message_per_rate() -> None:
    bench = Bench()
    wide = bench.open(kind="transcribe", format=G722)
    narrow = bench.open("c2", kind="transcribe", port=20_002)
    bench.speech(wide, Speech.ONSET)
    bench.speech(narrow, Speech.ONSET)
    effects = bench.tick(1, inside=(wide, narrow))
    assert sorted(rates(effects)) == [8_000, 16_000]
    lengths = {frame.call_id: len(frame.pcm) for frame in frames(effects)}
    assert lengths == {"c1": 640, "c2": 320}


def test_own_time_of_a_caller_goes_into_the_utterance_instead() -> None:
    bench = Bench()
    row = bench.open(kind="transcribe", format=G722)
    bench.speech(row, Speech.ONSET)
    result = TickResult(
        caller_pcm=bench.engine.rows.caller_pcm,
        caller_wide=bench.engine.rows.caller_wide,
        utterance_rows=np.array([row], np.int32),
        own_time={row: np.ones(960, np.int16)},
    )
    bench.exchange.after_tick(result, bench.now_ns)
    (frame,) = frames(bench.exchange.take())
    assert len(frame.pcm) == 1_920
    result.own_time = {row: np.zeros(0, np.int16)}
    bench.exchange.after_tick(result, bench.now_ns)
    assert not frames(bench.exchange.take())  # a frame that was made up is nothing the caller said


@pytest.mark.parametrize("speech_hz", [8_000, 16_000])
def test_agent_is_played_and_counted_alike_whatever_rate_its_speech_has(speech_hz: int) -> None:
    bench = Bench()
    bench.open(format=G722)
    bench.reply(0, ms=200, rate_hz=speech_hz)
    bench.tick(20)
    (played,) = sent(bench.effects, SegmentPlayed)
    assert played.samples == 1_600  # at 8 kHz


def test_wideband_speech_is_played_on_a_narrowband_leg() -> None:
    bench = Bench()
    bench.open()
    bench.reply(0, ms=200, rate_hz=16_000)
    bench.tick(20)
    (played,) = sent(bench.effects, SegmentPlayed)
    assert played.samples == 1_600


def test_speech_at_a_rate_of_nobodys_is_refused() -> None:
    bench = Bench()
    bench.open(format=G722)
    bench.reply(0, ms=200, rate_hz=24_000)
    bench.tick(20)
    assert not sent(bench.effects, SegmentPlayed)


def test_interruption_is_counted_at_8_khz() -> None:
    bench = Bench()
    row = bench.open(format=G722)
    bench.reply(0, ms=2_000, rate_hz=16_000)
    bench.tick(50)
    bench.speech(row, Speech.ONSET)
    bench.speech(row, Speech.LASTED)
    (started,) = sent(bench.effects, SpeechStarted)
    assert started.barge_in
    assert started.heard_of_samples == 16_000
    assert 7_000 < started.heard_samples <= 8_000


def test_parrot_says_back_at_16_khz() -> None:
    bench = Bench()
    row = bench.open(kind="echo", options={"mode": "after_silence"}, format=G722)
    bench.speech(row, Speech.ONSET)
    bench.engine.rows.caller_wide[row] = 3_000
    for _ in range(10):
        bench.speech(row, Speech.LASTED, inside=True)
    bench.speech(row, Speech.END)
    bench.tick(8)
    assert np.abs(bench.engine.rows.sent_wide[row]).max() == 3_000


def test_another_codec_tells_the_dialogue_and_keeps_the_utterance_going_at_its_rate() -> None:
    bench = Bench()
    row = bench.open(format=G722)
    bench.speech(row, Speech.ONSET)
    effects = update(bench, PCMU)
    (told,) = sent(effects, DialogueUpdate, "llm.1")
    assert (told.rate_hz, told.epoch) == (8_000, 1)
    effects = bench.tick(1, inside=(row,))
    assert rates(effects) == [16_000]
    assert [len(frame.pcm) for frame in frames(effects)] == [640]
    bench.speech(row, Speech.END)
    effects = bench.speech(row, Speech.ONSET)  # the next utterance has the leg's new rate
    assert rates(effects) == [8_000]
    assert not sent(update(bench, PCMU, 2), DialogueUpdate)


def test_reply_that_waits_is_played_to_its_end_through_a_change_of_codec() -> None:
    bench = Bench()
    bench.open(format=G722)
    bench.reply(0, ms=400, rate_hz=16_000, last=False)
    bench.tick(5)
    update(bench, PCMU)
    bench.reply(0, ms=200, offset=6_400, rate_hz=16_000)
    bench.tick(40)
    (played,) = sent(bench.effects, SegmentPlayed)
    assert played.samples == pytest.approx(4_800, abs=160)


def test_takeovers_keep_the_rate() -> None:
    bench = Bench()
    row = bench.open(format=G722)
    bench.speech(row, Speech.ONSET, inside=True)
    gone = {"stt": frozenset({"stt.2"}), "llm": frozenset({"llm.2"}), "tts": frozenset({"tts.1"})}
    bench.do(LiveWorkers(gone))
    bench.do(Assigned("c1", "stt", "stt.1", "stt.2"))
    effects = bench.do(Assigned("c1", "llm", "llm.1", "llm.2"))
    (attach,) = sent(effects, DialogueAttach, "llm.2")
    assert (attach.resumed, attach.rate_hz) == (True, 16_000)
    again = bench.tick(60)
    assert rates(
        [effect for effect in again if isinstance(effect, SendAudio) and effect.worker_id == "stt.2"]
    ) == [16_000]
    assert frames(again, "stt.2")[0].mark is Mark.START


def test_change_of_codec_and_hold_are_shown_and_logged() -> None:
    bench = Bench()
    bench.open(format=G722)
    effects = update(bench, MediaFormat(codec="PCMU", payload_type=0, direction="recvonly"))
    assert notes(effects, "call.updated") == [
        {"codec": "PCMU", "direction": "recvonly", "remote": "127.0.0.1:40000", "encrypted": False}
    ]
    assert [effect.codec for effect in effects if isinstance(effect, Holding)] == ["PCMU"]


def test_change_that_is_refused_is_not_shown() -> None:
    bench = Bench()
    bench.open(format=G722)
    effects = update(bench, MediaFormat(codec="OPUS", payload_type=96, clock_rate_hz=8_000))
    assert not notes(effects, "call.updated")
    assert not [effect for effect in effects if isinstance(effect, Holding)]
