"""One call with an application: turns, replies, barge-in, AI workers. Speech and ticks are the test's."""

import numpy as np
import pytest

from mediaworker.core.calls.attachments import SETTLE_NS
from mediaworker.core.calls.call import OVER_NS, QUALITY_NOTES, RECENT_NS
from mediaworker.core.calls.effects import Assign, Assigned, Count, Forgotten, Holding, LiveWorkers, Observe
from mediaworker.core.calls.floor import State
from mediaworker.core.legs import DtmfEvent, QualityEvent, Speech
from shared.contracts import (
    AiWorkers,
    DialogueAttach,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    Mark,
    MediaClose,
    MediaEnded,
    ReplyEnd,
    SegmentPlayed,
    SpeechStarted,
    StageTimes,
    SttAttach,
    SttDetach,
    TurnSettings,
)
from shared.units import NS_PER_MS
from tests.support.exchange_bench import TICK_NS, Bench, frames, notes, sent

pytestmark = pytest.mark.unit


def state(bench: Bench, call_id: str = "c1") -> State:
    call = bench.exchange.call(call_id)
    assert call is not None
    return call.floor.state


def speaking_agent(*, ms: int = 2_000, turn: TurnSettings | None = None) -> tuple[Bench, int]:
    """A call whose greeting is being played."""
    bench = Bench()
    row = bench.open(turn=turn or TurnSettings())
    bench.reply(0, ms=ms)
    bench.tick(5)
    assert state(bench) is State.SPEAKING
    return bench, row


# --- life


def test_opening_attaches_stt_and_starting_the_dialogue() -> None:
    bench = Bench()
    bench.open()
    (stt,) = sent(bench.effects, SttAttach, "stt.1")
    (llm,) = sent(bench.effects, DialogueAttach, "llm.1")
    assert (stt.llm, stt.media, stt.epoch) == ("llm.1", "media.1", 1)
    assert (llm.resumed, llm.turn, llm.epoch, llm.ai.tts) == (False, 0, 1, "tts.1")
    order = [type(e).__name__ if not hasattr(e, "kind") else e.kind for e in bench.effects]
    assert order.index("call.opened") < order.index("call.answered")


def test_bad_sound_and_one_way_audio_are_noted_but_not_without_end() -> None:
    bench = Bench()
    row = bench.open()
    call = bench.exchange.call("c1")
    assert call is not None
    call.sounds(QualityEvent(row, "one_way", "out", "begun", {"cause": "not_received"}))
    for number in range(QUALITY_NOTES + 5):
        call.sounds(QualityEvent(row, "quality", "in", "low", {"mos": 2.0 + number / 100}))
    bench.tick()
    assert notes(bench.effects, "one_way") == [
        {"direction": "out", "state": "begun", "cause": "not_received"}
    ]
    told = notes(bench.effects, "quality")
    assert len(told) == QUALITY_NOTES - 1
    assert told[0] == {"direction": "in", "state": "low", "mos": 2.0}


def test_a_call_that_loses_its_packets_is_noted_by_the_tick_that_saw_it() -> None:
    bench = Bench()
    bench.open()
    bench.tick(6 * 50)
    assert [note["cause"] for note in notes(bench.effects, "one_way")] == ["no_packets"]


def test_hints_for_the_recogniser_are_passed_on() -> None:
    bench = Bench()
    bench.open(options={"hotwords": ["Faro", 3], "grammar": "not a list"})
    (stt,) = sent(bench.effects, SttAttach)
    assert (stt.hotwords, stt.grammar) == (["Faro"], [])


def test_closing_says_goodbye_and_logs_the_figures() -> None:
    bench = Bench()
    bench.open()
    bench.tick(50)
    effects = bench.do(MediaClose(msg_id="x", reply_to="front.1", call_id="c1", reason="bye"))
    assert len(sent(effects, SttDetach, "stt.1")) == len(sent(effects, DialogueDetach, "llm.1")) == 1
    (ended,) = notes(effects, "call.ended")
    assert (ended["reason"], ended["duration_ms"]) == ("bye", 1_000)
    assert ended["rtp"]["packets_out"] == 50


def test_what_the_registry_should_know_follows_the_call() -> None:
    bench = Bench()
    bench.open(metadata={"From": "sip:a@b", "To": "sip:c@d"})
    reserved, answered = [e for e in bench.effects if isinstance(e, Holding)]
    assert (reserved.state, answered.state) == ("reserved", "answered")
    assert (answered.caller, answered.callee, answered.stt, answered.port) == (
        "sip:a@b",
        "sip:c@d",
        "stt.1",
        20_000,
    )


# --- the caller's turn


def test_an_utterance_goes_to_stt_with_its_marks() -> None:
    bench = Bench()
    row = bench.open(kind="transcribe")
    effects = bench.speech(row, Speech.ONSET, inside=True)
    for _ in range(3):
        effects += bench.tick(inside=(row,))
    effects += bench.speech(row, Speech.PAUSE, inside=True, silent_ms=200)
    effects += bench.speech(row, Speech.RESUME, inside=True)
    effects += bench.speech(row, Speech.END, inside=True, silent_ms=500)
    got = frames(effects)
    assert [frame.mark for frame in got] == [
        Mark.START, Mark.AUDIO, Mark.AUDIO, Mark.AUDIO, Mark.AUDIO, Mark.PAUSE, Mark.AUDIO, Mark.RESUME, Mark.AUDIO, Mark.END,
    ]  # fmt: skip
    pre_roll = len(got[0].pcm) // 2
    assert pre_roll == (200 // 20 + 2) * 160, "pre-roll and the onset's earlier frames"
    offset = 0
    for frame in got:
        assert frame.offset == offset
        offset += len(frame.pcm) // 2
    assert {frame.turn for frame in got} == {1}
    assert [frame.silence_ms for frame in got if frame.mark in {Mark.PAUSE, Mark.END}] == [200, 500]
    (ended,) = notes(effects, "speech.ended")
    assert ended == {"turn": 1, "audio_ms": offset // 8}


def test_the_dialogue_hears_at_once_that_the_caller_speaks() -> None:
    bench = Bench()
    row = bench.open()
    (told,) = sent(bench.speech(row, Speech.ONSET), SpeechStarted, "llm.1")
    assert (told.turn, told.barge_in, told.heard_turn, told.heard_segment) == (1, False, -1, -1)


def test_a_caller_who_goes_on_before_the_reply_begins_another_turn() -> None:
    bench = Bench()
    row = bench.open()
    for turn in (1, 2):
        (told,) = sent(bench.speech(row, Speech.ONSET), SpeechStarted)
        assert (told.turn, told.barge_in) == (turn, False)
        bench.speech(row, Speech.END, silent_ms=500)
    assert bench.reply(1) == [Count("voicefarm_bus_dropped", ("late",))]
    assert state(bench) is State.THINKING


def test_a_frame_outside_an_utterance_goes_nowhere() -> None:
    bench = Bench()
    row = bench.open(kind="transcribe")
    assert frames(bench.tick(3, inside=(row,))) == []


# --- the agent's turn


def test_a_greeting_is_played_and_reported_sentence_by_sentence() -> None:
    bench = Bench()
    bench.open()
    bench.reply(0, 0, ms=100)
    bench.reply(0, 1, ms=60)
    effects = bench.do(ReplyEnd(call_id="c1", turn=0, segments=2)) + bench.tick(12)
    assert [(p.segment, p.samples) for p in sent(effects, SegmentPlayed, "llm.1")] == [(0, 800), (1, 480)]
    assert state(bench) is State.LISTENING
    assert notes(effects, "turn.latency") == [], "nobody asked for the greeting"


def test_the_engine_sends_what_the_agent_says() -> None:
    bench = Bench()
    row = bench.open()
    bench.reply(0, ms=40)
    bench.tick(1)
    assert np.all(bench.engine.rows.sent_pcm[row] == 1_000)


def test_a_long_sentence_is_fed_to_the_engine_as_it_has_room() -> None:
    bench = Bench()
    bench.open()
    bench.reply(0, ms=40_000)
    bench.do(ReplyEnd(call_id="c1", turn=0, segments=1))
    played = sent(bench.tick(40_000 // 20 + 1), SegmentPlayed)
    assert [p.samples for p in played] == [320_000]
    assert state(bench) is State.LISTENING


def test_the_waterfall_of_a_turn_is_logged_with_its_first_packet() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    bench.speech(row, Speech.END, silent_ms=500)
    bench.now_ns += 100 * NS_PER_MS
    bench.reply(
        1, times=StageTimes(stt_wait_ms=1, stt_decode_ms=30, llm_first_segment_ms=40, tts_first_frame_ms=9)
    )
    effects = bench.tick(1)
    (latency,) = notes(effects, "turn.latency")
    assert latency["endpoint_ms"] == 500
    assert latency["voice_to_voice_ms"] == 620
    assert latency["bus_ms"] == 620 - 500 - 80
    observed = {
        e.metric: e.value
        for e in effects
        if (isinstance(e, Observe) and not e.labels) or (isinstance(e, Observe) and e.labels == ("acme",))
    }
    assert observed == {"voicefarm_turn_voice_to_voice_seconds": 0.62}
    stages = {
        e.labels[0]
        for e in effects
        if isinstance(e, Observe) and e.metric == "voicefarm_stage_latency_seconds"
    }
    assert stages == {"endpoint", "stt_wait", "stt_decode", "llm_first_segment", "tts_first_frame", "bus"}


def test_a_hangup_waits_until_the_last_sentence_was_played() -> None:
    bench = Bench()
    bench.open()
    bench.reply(0, ms=100)
    effects = bench.do(ReplyEnd(call_id="c1", turn=0, segments=1, hangup=True))
    assert sent(effects, MediaEnded) == []
    (ended,) = sent(bench.tick(6), MediaEnded, "front.1")
    assert ended.reason == "app"
    assert len(bench.exchange) == 0


def test_a_hangup_without_a_word_is_at_once() -> None:
    bench = Bench()
    bench.open()
    (ended,) = sent(bench.do(ReplyEnd(call_id="c1", turn=0, segments=0, hangup=True)), MediaEnded)
    assert ended.reason == "app"


def test_the_end_of_an_older_reply_means_nothing() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    assert sent(bench.do(ReplyEnd(call_id="c1", turn=0, segments=0, hangup=True)), MediaEnded) == []


# --- both


def test_barge_in_pauses_at_once_and_cancels_when_it_lasted() -> None:
    bench, row = speaking_agent()
    onset = bench.speech(row, Speech.ONSET, loud_ago_ms=60)
    assert [f.mark for f in frames(onset)] == [Mark.START]
    assert sent(onset, SpeechStarted) == []
    bench.tick(1)
    assert not np.any(bench.engine.rows.sent_pcm[row]), "silence from the very next packet"
    bench.tick(6)
    effects = bench.speech(row, Speech.LASTED, loud_ago_ms=200)
    (told,) = sent(effects, SpeechStarted)
    assert (told.turn, told.barge_in) == (1, True)
    assert (told.heard_turn, told.heard_segment, told.heard_samples, told.heard_of_samples) == (
        0,
        0,
        800,
        16_000,
    )
    (logged,) = notes(effects, "speech.started")
    assert logged["stop_ms"] == 60, "measured to the pause, not to the decision"
    assert [e.value for e in effects if isinstance(e, Observe)] == [0.06]
    assert not bench.engine.playing(row)
    assert bench.reply(0, 1) == [Count("voicefarm_bus_dropped", ("late",))]
    bench.tick(3)
    assert not np.any(bench.engine.rows.sent_pcm[row])


def test_a_cough_lets_the_agent_go_on_from_the_paused_sample() -> None:
    bench, row = speaking_agent(ms=400)
    bench.do(ReplyEnd(call_id="c1", turn=0, segments=1))
    bench.speech(row, Speech.ONSET)
    bench.tick(5)
    effects = bench.speech(row, Speech.PAUSE, silent_ms=200)
    assert [f.mark for f in frames(effects)] == [Mark.ABORT]
    assert sent(bench.effects, SpeechStarted) == []
    played = sent(bench.tick(15), SegmentPlayed)
    assert [p.samples for p in played] == [3_200], "nothing was lost"
    (told,) = sent(bench.speech(row, Speech.ONSET), SpeechStarted)
    assert told.turn == 2, "the cough's number is skipped"


def test_a_caller_who_goes_on_after_a_cough_is_heard() -> None:
    bench, row = speaking_agent()
    bench.speech(row, Speech.ONSET)
    bench.speech(row, Speech.PAUSE, silent_ms=200)
    resumed = bench.speech(row, Speech.RESUME)
    assert [(f.mark, f.turn) for f in frames(resumed)] == [(Mark.START, 2)]
    (told,) = sent(bench.speech(row, Speech.LASTED), SpeechStarted)
    assert (told.turn, told.barge_in) == (2, True)


def test_an_agent_that_may_not_be_interrupted_talks_on() -> None:
    bench, row = speaking_agent(ms=200, turn=TurnSettings(barge_in_ms=0))
    bench.do(ReplyEnd(call_id="c1", turn=0, segments=1))
    bench.speech(row, Speech.ONSET)
    bench.tick(1)
    assert np.any(bench.engine.rows.sent_pcm[row])
    effects = bench.tick(10)
    (told,) = sent(effects, SpeechStarted)
    assert (told.turn, told.barge_in) == (1, False), "the caller still speaks when it is done"


def test_speech_in_a_short_gap_of_the_reply_still_is_an_interruption() -> None:
    bench, row = speaking_agent(ms=100)
    bench.tick(5)
    assert not bench.engine.playing(row)
    assert sent(bench.speech(row, Speech.ONSET), SpeechStarted) == []
    assert state(bench) is State.PAUSED


def test_speech_in_a_reply_that_stalled_takes_the_floor_at_once() -> None:
    bench, row = speaking_agent(ms=100)
    bench.tick(5)
    bench.now_ns += OVER_NS
    (told,) = sent(bench.speech(row, Speech.ONSET), SpeechStarted)
    assert (told.barge_in, told.heard_segment, told.heard_samples) == (True, 0, 800)


def test_a_reply_that_ends_while_the_caller_makes_up_their_mind_leaves_them_the_floor() -> None:
    bench, row = speaking_agent(ms=100)
    bench.tick(5)
    bench.speech(row, Speech.ONSET)
    (told,) = sent(bench.do(ReplyEnd(call_id="c1", turn=0, segments=1)), SpeechStarted)
    assert told.turn == 1


def test_an_impossible_event_is_counted_and_changes_nothing() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    assert bench.speech(row, Speech.ONSET) == [Count("voicefarm_task_errors", ("floor",))]
    assert state(bench) is State.USER


def test_a_key_press_is_logged_and_told() -> None:
    bench = Bench()
    row = bench.open()
    effects = bench.found(dtmf=[DtmfEvent(row, "5", 120, "inband")])
    assert notes(effects, "dtmf") == [{"digit": "5", "duration_ms": 120, "source": "inband"}]
    assert Count("voicefarm_dtmf", ("inband",)) in effects
    (told,) = sent(effects, DtmfReceived, "llm.1")
    assert (told.digit, told.duration_ms, told.turn) == ("5", 120, 0)


# --- the parrot


def test_the_parrot_says_back_what_it_heard() -> None:
    bench = Bench()
    row = bench.open(kind="echo", options={"mode": "after_silence"})
    assert not bench.engine.rows.echo[row]
    bench.engine.rows.caller_pcm[row] = 777
    bench.speech(row, Speech.ONSET, inside=True)
    bench.speech(row, Speech.END, silent_ms=500)
    assert state(bench) is State.SPEAKING
    heard = []
    for _ in range(14):
        bench.tick(1)
        heard.append(int(bench.engine.rows.sent_pcm[row].max()))
    assert heard.count(777) == 1, "the frame after the pre-roll"
    assert state(bench) is State.LISTENING
    assert frames(bench.effects) == []


# --- AI workers die


def lose(bench: Bench, role: str, worker: str) -> list[object]:
    live = {"stt": {"stt.1"}, "llm": {"llm.1"}, "tts": {"tts.1"}} | {role: set()}
    asked = bench.do(LiveWorkers({name: frozenset(ids) for name, ids in live.items()}))
    assert asked == [Assign("c1", role, f"{role}.1")]
    return list(bench.do(Assigned("c1", role, f"{role}.1", worker)))


def test_a_new_stt_worker_gets_the_utterance_from_its_start() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET, inside=True)
    bench.tick(2, inside=(row,))
    effects = lose(bench, "stt", "stt.2")
    (attach,) = sent(effects, SttAttach, "stt.2")
    assert attach.epoch == 2
    (update,) = sent(effects, DialogueUpdate, "llm.1")
    assert (update.epoch, update.ai) == (2, AiWorkers(stt="stt.2", llm="llm.1", tts="tts.1"))
    assert notes(effects, "attached") == [{"role": "stt", "worker": "stt.2", "epoch": 2}]
    waiting = bench.tick(SETTLE_NS // TICK_NS - 1, inside=(row,))
    assert frames(waiting, "stt.1") == frames(waiting, "stt.2") == []
    got = frames(bench.tick(2, inside=(row,)), "stt.2")
    assert [frame.mark for frame in got] == [Mark.START, Mark.AUDIO]
    assert {frame.epoch for frame in got} == {2}
    assert got[1].offset == len(got[0].pcm) // 2


def test_an_utterance_that_ended_unanswered_is_sent_again_with_its_end() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    bench.speech(row, Speech.END, silent_ms=500)
    lose(bench, "stt", "stt.2")
    got = frames(bench.tick(SETTLE_NS // TICK_NS + 1), "stt.2")
    assert [(f.mark, f.silence_ms) for f in got] == [(Mark.START, 0), (Mark.END, 500)]


@pytest.mark.parametrize("answered", [True, False])
def test_an_utterance_that_was_answered_or_is_old_is_not_sent_again(answered: bool) -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    bench.speech(row, Speech.END, silent_ms=500)
    if answered:
        bench.reply(1)
    else:
        bench.now_ns += RECENT_NS
    lose(bench, "stt", "stt.2")
    assert frames(bench.tick(SETTLE_NS // TICK_NS + 1), "stt.2") == []


def test_a_new_dialogue_worker_resumes_and_stt_is_told_of_it() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    effects = lose(bench, "llm", "llm.2")
    (attach,) = sent(effects, DialogueAttach, "llm.2")
    assert (attach.resumed, attach.turn, attach.epoch) == (True, 1, 2)
    (stt,) = sent(effects, SttAttach, "stt.1")
    assert (stt.llm, stt.epoch) == ("llm.2", 2)
    got = frames(bench.tick(SETTLE_NS // TICK_NS + 1), "stt.1")
    assert [(f.mark, f.epoch) for f in got] == [(Mark.START, 2)]


def test_a_new_tts_worker_is_named_to_the_dialogue_only() -> None:
    bench, _ = speaking_agent()
    effects = lose(bench, "tts", "tts.2")
    (update,) = sent(effects, DialogueUpdate, "llm.1")
    assert update.ai.tts == "tts.2"
    assert sent(effects, SttAttach) == sent(effects, DialogueAttach) == []


def test_a_sentence_that_comes_twice_is_played_once() -> None:
    bench = Bench()
    bench.open()
    bench.reply(0, ms=200, last=False)
    bench.tick(3)
    lose(bench, "tts", "tts.2")
    bench.reply(0, ms=300, last=True)
    bench.do(ReplyEnd(call_id="c1", turn=0, segments=1))
    assert [p.samples for p in sent(bench.tick(20), SegmentPlayed)] == [2_400]


def test_no_free_worker_is_asked_for_again() -> None:
    bench = Bench()
    bench.open()
    live = LiveWorkers({"stt": frozenset()})
    assert bench.do(live) == [Assign("c1", "stt", "stt.1")]
    assert bench.do(Assigned("c1", "stt", "stt.1", "")) == []
    assert bench.do(live) == []
    bench.now_ns += 500 * NS_PER_MS
    assert bench.do(live) == [Assign("c1", "stt", "stt.1")]


def test_a_registry_that_forgot_gets_everybody_attached_anew() -> None:
    bench = Bench()
    row = bench.open()
    bench.speech(row, Speech.ONSET)
    effects = bench.do(Forgotten())
    (stt,) = sent(effects, SttAttach, "stt.1")
    (llm,) = sent(effects, DialogueAttach, "llm.1")
    assert (stt.epoch, llm.epoch, llm.resumed, llm.turn) == (2, 2, True, 1)
    assert [f.mark for f in frames(bench.tick(6), "stt.1")] == [Mark.START]


def test_a_call_without_ai_has_nobody_to_attach() -> None:
    bench = Bench()
    bench.open(kind="conference")
    assert bench.do(Forgotten()) == []
