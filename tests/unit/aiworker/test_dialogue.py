"""A dialogue's behaviour, event by event."""

import pytest

from aiworker.core.agent import Dtmf, EngineSpec
from aiworker.core.effects import Act, Acted, Generate, StreamEnded, StreamFailed, TimePassed, Token
from aiworker.core.takeover import Rebuilt, rebuild
from aiworker.core.turn import State
from shared.contracts import (
    AiWorkers,
    CallEvent,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    ReplyEnd,
    Speak,
    SpeakCancel,
    StageTimes,
    SttDetach,
    Transcript,
)
from tests.support.dialogue import IDLE, WORKERS, Driver, agent, attach

pytestmark = pytest.mark.unit

THREE = "First of all, good day. This is the second sentence. And here is the third one."


def digit(key: str, turn: int = 0) -> DtmfReceived:
    return DtmfReceived(call_id="c1", turn=turn, digit=key, duration_ms=100)


def test_greeting_goes_to_tts_when_attached() -> None:
    driver = Driver()
    assert driver.spoken(0) == ["Hello there,", "who is it?"]
    assert driver.ends() == [(0, 2, False)]
    assert driver.dialogue.state is State.GREETING
    driver.played(0, 1)
    assert driver.dialogue.state is State.LISTENING
    assert driver.logged("agent.heard") == [
        {"turn": 0, "text": "Hello there, who is it?", "interrupted": False}
    ]


def test_media_is_told_when_there_is_no_greeting() -> None:
    driver = Driver(agent(greeting=""))
    assert driver.spoken() == []
    assert driver.ends() == [(0, 0, False)]
    assert driver.dialogue.state is State.LISTENING
    assert driver.counts() == []


def test_engine_gets_prompt_and_both_sides_when_caller_speaks() -> None:
    driver = Driver()
    driver.played(0, 1)
    driver.says(1, "It is me")
    assert driver.every(Generate)[0].messages[0].content == "Be kind."
    assert driver.asked() == [("assistant", "Hello there, who is it?"), ("user", "It is me")]
    assert driver.dialogue.state is State.THINKING


def test_two_sentences_are_ahead_at_most() -> None:
    driver = Driver().greeted()
    driver.says(1, "go on")
    driver.reply(THREE)
    assert driver.spoken(1) == ["First of all,", "good day. This is the second sentence."]
    assert [end for end in driver.ends() if end[0] == 1] == []
    driver.played(0)
    assert driver.spoken(1)[2:] == ["And here is the third one."]
    assert driver.ends()[-1] == (1, 3, False)
    driver.played(1, 2)
    assert driver.counts()[-1] == "played"
    assert driver.dialogue.state is State.LISTENING


def test_stage_times_travel_with_the_first_sentence_only() -> None:
    driver = Driver().greeted()
    driver.says(1, "go on")
    driver.tokens("Well then, here", after_ms=70)
    driver.now_ms += 30
    driver.reply("it is. And a second one.")
    first, *others = [speak.times for speak in driver.sent(Speak) if speak.turn == 1]
    assert first == StageTimes(
        stt_wait_ms=3.0, stt_decode_ms=40.0, llm_first_token_ms=70.0, llm_first_segment_ms=100.0
    )
    assert others
    assert all(times == StageTimes() for times in others)


def test_nothing_is_spoken_before_the_turn_is_confirmed() -> None:
    driver = Driver().greeted()
    driver.floor(1)
    driver.heard(1, "what is the time", "speculative")
    assert driver.dialogue.state is State.SPECULATING
    driver.reply("It is five o'clock now. Anything else?")
    assert driver.spoken(1) == []
    driver.heard(1, "What is the time?", after_ms=300)
    assert driver.spoken(1) == ["It is five o'clock now.", "Anything else?"]
    assert driver.ends()[-1] == (1, 2, False)
    assert len(driver.every(Generate)) == 1
    assert driver.counts()[-1] == "speculated"
    times = next(speak.times for speak in driver.sent(Speak) if speak.turn == 1)
    assert (times.llm_first_token_ms, times.llm_first_segment_ms) == (0.0, 0.0)


def test_gate_opens_in_the_middle_of_a_stream() -> None:
    driver = Driver().greeted()
    driver.floor(1)
    driver.heard(1, "time", "speculative")
    driver.tokens("It is five")
    driver.heard(1, "time")
    driver.reply("o'clock now, my dear.")
    assert driver.spoken(1) == ["It is five o'clock now,", "my dear."]


def test_engine_starts_again_when_the_caller_said_more() -> None:
    driver = Driver().greeted()
    driver.floor(1)
    driver.heard(1, "what is", "speculative")
    driver.heard(1, "what is", "speculative")
    driver.heard(1, "what is the", "speculative")
    assert driver.stopped() == [1]
    driver.heard(1, "what is the weather")
    assert driver.stopped() == [1, 2]
    assert driver.asked()[-1] == ("user", "what is the weather")
    driver.reply("Sunny, with a chance of weasels.")
    assert driver.spoken(1) == ["Sunny, with a chance of weasels."]


def test_tokens_of_a_stopped_stream_are_dropped() -> None:
    driver = Driver().greeted()
    driver.says(1, "one")
    old = driver.generation
    driver.says(2, "two")
    for event in (
        Token(old, "Old words, long enough. "),
        Acted(old, Act("hangup")),
        StreamEnded(old),
        StreamFailed(old, "x"),
    ):
        assert driver.event(event) == []


def test_partial_and_empty_speculation_change_nothing() -> None:
    driver = Driver().greeted()
    driver.floor(1)
    assert driver.heard(1, "wh", "partial") == []
    assert driver.heard(1, "  ", "speculative") == []
    assert driver.heard(2, "candidate without the floor", "speculative") == []
    assert driver.dialogue.state is State.LISTENING


def test_final_counts_once_per_turn() -> None:
    driver = Driver().greeted()
    driver.says(1, "hello")
    assert driver.heard(1, "hello") == []
    assert driver.heard(0, "older") == []


def test_final_without_its_floor_message_takes_the_floor() -> None:
    driver = Driver().greeted()
    driver.heard(3, "I am here")
    assert driver.dialogue.turn == 3
    assert driver.asked()[-1] == ("user", "I am here")


def test_both_messages_are_kept_when_the_caller_goes_on_before_the_reply() -> None:
    driver = Driver().greeted()
    driver.says(1, "I would like")
    driver.says(2, "a pizza")
    assert driver.asked()[-2:] == [("user", "I would like"), ("user", "a pizza")]


def test_interrupted_reply_is_cut_at_the_word_heard() -> None:
    driver = Driver().greeted()
    driver.says(1, "go on")
    driver.reply(THREE)
    driver.played(0)
    driver.floor(
        2, barge_in=True, heard_turn=1, heard_segment=1, heard_samples=5_000, heard_of_samples=10_000
    )
    assert driver.logged("agent.heard")[-1] == {
        "turn": 1,
        "text": "First of all, good day. This is",
        "interrupted": True,
    }
    assert driver.counts()[-1] == "interrupted"
    cancel = driver.sent(SpeakCancel)[-1]
    assert cancel.turn == 2
    driver.heard(2, "stop")
    assert driver.asked()[-2:] == [("assistant", "First of all, good day. This is…"), ("user", "stop")]


def test_reply_of_which_nothing_was_heard_is_not_in_the_history() -> None:
    driver = Driver().greeted()
    driver.says(1, "go on")
    driver.reply(THREE)
    driver.floor(2)
    driver.heard(2, "I said")
    assert driver.asked()[-2:] == [("user", "go on"), ("user", "I said")]


def test_length_is_estimated_when_media_does_not_know_it() -> None:
    driver = Driver().greeted()
    driver.says(1, "go on")
    driver.reply("one two three four five six seven eight nine ten.")
    text = driver.spoken(1)[0]
    driver.floor(2, heard_turn=1, heard_segment=0, heard_samples=int(len(text) * 533 * 0.5))
    words = driver.logged("agent.heard")[-1]["text"].split()
    assert 4 <= len(words) <= 6
    assert text.startswith(" ".join(words))


def test_older_turn_and_epoch_are_ignored() -> None:
    driver = Driver(epoch=4)
    assert driver.floor(1, epoch=3) == []
    driver.floor(2, epoch=4)
    assert driver.floor(2, epoch=4) == []
    assert driver.dialogue.turn == 2
    assert driver.played(0, turn=0) == []


def test_next_engine_takes_the_turn_when_one_fails_before_audio() -> None:
    driver = Driver().greeted()
    driver.says(1, "hello")
    driver.tokens("Well")
    driver.fail()
    assert [g.engine for g in driver.every(Generate)] == [0, 1]
    driver.reply("This is the second engine.")
    assert driver.spoken(1) == ["This is the second engine."]


def test_agent_apologises_when_no_engine_is_left() -> None:
    driver = Driver().greeted()
    driver.says(1, "hello")
    driver.fail()
    driver.fail("http")
    assert driver.spoken(1) == ["Sorry about that,", "really."]
    assert driver.counts()[-1] == "failed"
    assert driver.ends()[-1] == (1, 2, False)


def test_reply_is_never_replayed_when_an_engine_fails_after_audio() -> None:
    driver = Driver().greeted()
    driver.says(1, "hello")
    driver.tokens("This was said already. And this was")
    driver.fail("cut")
    assert len(driver.every(Generate)) == 1
    assert driver.spoken(1) == ["This was said already.", "Sorry about that,"]
    driver.played(0)
    assert driver.spoken(1)[-1] == "really."
    assert driver.ends()[-1] == (1, 3, False)


def test_empty_reply_is_a_failure() -> None:
    driver = Driver().greeted()
    driver.says(1, "hello")
    driver.event(TimePassed())
    driver.end()
    assert [g.engine for g in driver.every(Generate)] == [0, 1]


def test_failed_speculation_waits_for_the_final() -> None:
    driver = Driver().greeted()
    driver.floor(1)
    driver.heard(1, "hello", "speculative")
    driver.fail()
    assert driver.every(Generate)[-1].engine == 1
    driver.fail()
    assert driver.dialogue.state is State.LISTENING
    assert driver.spoken(1) == []
    driver.heard(1, "hello")
    assert driver.dialogue.state is State.THINKING


def test_call_ends_when_the_engine_hangs_up() -> None:
    driver = Driver().greeted()
    driver.says(1, "bye")
    driver.tokens("So long, and take care.")
    driver.act()
    driver.end()
    assert driver.ends()[-1] == (1, 1, True)


def test_farewell_is_said_when_the_engine_hangs_up_without_a_word() -> None:
    driver = Driver().greeted()
    driver.says(1, "bye")
    driver.act()
    driver.end()
    assert driver.spoken(1) == ["Goodbye then,", "my friend."]
    assert driver.ends()[-1] == (1, 2, True)


def test_call_ends_when_there_were_too_many_turns() -> None:
    driver = Driver(agent(max_turns=1)).greeted()
    driver.says(1, "one")
    driver.reply("Answer number one.")
    driver.played(0)
    driver.says(2, "two")
    assert driver.ends()[-1] == (2, 2, True)
    assert len(driver.every(Generate)) == 1


def test_agent_asks_again_when_there_were_no_words() -> None:
    driver = Driver().greeted()
    driver.says(1, "")
    assert driver.spoken(1) == ["Pardon me, what was that?"]
    driver.floor(2)
    driver.heard(2, "hm", "speculative")
    driver.heard(2, "")
    assert driver.spoken(2) == ["Pardon me, what was that?"]
    assert driver.stopped() == [1]


def test_nothing_is_said_when_there_were_no_words_and_no_phrase() -> None:
    driver = Driver(agent(unheard="")).greeted()
    driver.says(1, "")
    assert driver.spoken(1) == []
    assert driver.ends()[-1] == (1, 0, False)
    assert driver.dialogue.state is State.LISTENING


def test_waiting_question_is_answered_when_the_caller_only_coughed() -> None:
    driver = Driver().greeted()
    driver.says(1, "what is the time")
    driver.says(2, "")
    assert driver.asked()[-1] == ("user", "what is the time")
    assert driver.dialogue.state is State.THINKING


def test_key_press_is_a_message() -> None:
    driver = Driver()
    driver.event(digit("5"))
    assert driver.asked()[-1] == ("user", "pressed 5")
    assert driver.spoken(0) == ["Hello there,", "who is it?"]
    driver.reply("You pressed five, I think.")
    assert driver.spoken(0)[2:] == []
    driver.played(0, 1)
    assert driver.spoken(0)[2:] == ["You pressed five,", "I think."]
    assert driver.ends()[-1] == (0, 4, False)
    driver.floor(1, heard_turn=0, heard_segment=2, heard_samples=9_999, heard_of_samples=10_000)
    heard = [(data["text"], data["interrupted"]) for data in driver.logged("agent.heard")]
    assert heard == [("Hello there, who is it?", False), ("You pressed", True)]


@pytest.mark.parametrize(
    ("keys", "sent"), [("12#", "pressed 12"), ("1234", "pressed 1234"), ("#", "pressed #")]
)
def test_keys_are_gathered_until_hash_or_enough(keys: str, sent: str) -> None:
    driver = Driver(agent(dtmf=Dtmf(max_digits=4)))
    for key in keys:
        driver.event(digit(key))
    assert driver.asked()[-1] == ("user", sent)


def test_keys_are_sent_when_the_caller_pauses() -> None:
    driver = Driver(agent(dtmf=Dtmf(max_digits=4, timeout_ms=1_500)))
    driver.event(digit("7"))
    assert driver.every(Generate) == []
    driver.time(1_499)
    assert driver.every(Generate) == []
    driver.time(1)
    assert driver.asked()[-1] == ("user", "pressed 7")


def test_words_count_when_the_agent_was_speaking_in_the_same_turn() -> None:
    driver = Driver().greeted()
    driver.floor(1)
    driver.event(digit("5", turn=1))
    driver.reply("You pressed five, I think.")
    driver.heard(1, "and I also say this")
    assert driver.asked()[-2:] == [
        ("assistant", "You pressed five, I think."),
        ("user", "and I also say this"),
    ]


def test_agent_asks_and_then_hangs_up_when_the_caller_is_silent() -> None:
    driver = Driver(agent(idle=IDLE))
    driver.played(0, 1)
    assert driver.dialogue.deadline_ns() == (driver.now_ms + 5_000) * 1_000_000
    driver.time(5_000)
    assert driver.spoken(0)[2:] == ["Are you still there?"]
    assert driver.ends()[-1] == (0, 3, False)
    driver.played(2)
    driver.time(5_000)
    assert driver.spoken(0)[3:] == ["Goodbye then,", "my friend."]
    assert driver.ends()[-1] == (0, 5, True)
    driver.played(3, 4)
    assert driver.dialogue.deadline_ns() is None


def test_silence_counts_anew_when_the_caller_spoke() -> None:
    driver = Driver(agent(idle=IDLE))
    driver.played(0, 1)
    driver.time(5_000)
    driver.played(2)
    driver.says(1, "yes")
    assert "idle" not in driver.dialogue._timers
    driver.reply("Good to hear.")
    driver.played(0)
    driver.time(5_000)
    assert driver.spoken(1)[-1] == "Are you still there?"


def test_sentences_count_as_played_when_their_reports_were_lost() -> None:
    driver = Driver().greeted()
    driver.says(1, "go on")
    driver.reply(THREE)
    deadline = driver.dialogue.deadline_ns()
    assert deadline is not None
    driver.time(deadline // 1_000_000 - driver.now_ms + 1)
    assert driver.spoken(1)[-1] == "And here is the third one."


def test_new_tts_worker_gets_what_was_not_played() -> None:
    driver = Driver()
    driver.played(0)
    moved = AiWorkers(stt="stt-0", llm="llm-0", tts="tts-9")
    driver.event(DialogueUpdate(call_id="c1", epoch=2, ai=moved))
    again = driver.sent(Speak)[-1]
    assert (again.segment, again.text, again.epoch) == (1, "who is it?", 2)
    assert [end for end in driver.ends() if end == (0, 2, False)] == [(0, 2, False)] * 2
    assert driver.event(DialogueUpdate(call_id="c1", epoch=2, ai=WORKERS)) == []


def test_new_stt_worker_changes_nothing_at_tts() -> None:
    driver = Driver()
    assert (
        driver.event(DialogueUpdate(call_id="c1", epoch=2, ai=AiWorkers(stt="x", llm="llm-0", tts="tts-0")))
        == []
    )


def test_unplayed_is_said_again_when_attached_again() -> None:
    driver = Driver()
    effects = driver.dialogue.reattach(attach(epoch=2, media="media-9", resumed=True), 0)
    assert [type(e.message) for e in effects if hasattr(e, "message")] == [Speak, Speak, ReplyEnd]
    assert {e.worker for e in effects if hasattr(e, "worker")} == {"tts-0", "media-9"}
    assert driver.dialogue.reattach(attach(epoch=2), 0) == []


def test_floor_is_taken_when_attached_again_in_a_newer_turn() -> None:
    driver = Driver()
    driver.dialogue.reattach(attach(epoch=2, turn=3, resumed=True), 0)
    assert driver.dialogue.turn == 3
    assert driver.dialogue.state is State.LISTENING


def test_everything_stops_when_detached() -> None:
    driver = Driver(agent(idle=IDLE))
    driver.played(0, 1)
    driver.says(1, "go on")
    driver.tokens("This was said already. And")
    driver.event(DialogueDetach(call_id="c1", reason="bye"))
    assert driver.stopped() == [1]
    assert driver.sent(SpeakCancel)[-1].turn == 2
    assert driver.logged("agent.heard")[-1]["interrupted"] is True
    assert driver.dialogue.deadline_ns() is None
    assert driver.says(2, "hello?") == []
    assert driver.dialogue.reattach(attach(epoch=5), 0) == []


def test_message_for_others_is_ignored() -> None:
    assert Driver().event(SttDetach(call_id="c1")) == []


def test_variables_of_a_call_fill_greeting_and_prompt() -> None:
    who = agent(
        greeting="Hello {name}, this is {agent}.", prompt="Serve {name}.", variables={"name": "stranger"}
    )
    driver = Driver(who, metadata={"X-Var-Name": "Ada"})
    assert driver.spoken(0) == ["Hello Ada, this is test."]
    driver.says(1, "hi")
    assert driver.every(Generate)[0].messages[0].content == "Serve Ada."


# --- takeover


def log(kind: str, /, **data: object) -> CallEvent:
    return CallEvent(call_id="c1", kind=kind, at_ns=0, by="x", data=data)


def resumed(events: list[CallEvent], **fields: object) -> Driver:
    return Driver(rebuilt=rebuild(events), **({"epoch": 2, "resumed": True} | fields))


GREETED = [
    log("agent.segment", turn=0, segment=0, text="Hello there,", last=False),
    log("agent.segment", turn=0, segment=1, text="who is it?", last=True),
    log("agent.heard", turn=0, text="Hello there, who is it?", interrupted=False),
]


def test_waiting_question_is_answered_after_a_takeover() -> None:
    driver = resumed([*GREETED, log("transcript", turn=1, kind="final", text="me")], turn=1)
    assert driver.asked() == [("assistant", "Hello there, who is it?"), ("user", "me")]
    driver.reply("Nice to meet you.")
    assert driver.ends() == [(1, 1, False)]


def test_caller_who_is_speaking_is_awaited_after_a_takeover() -> None:
    driver = resumed([*GREETED, log("transcript", turn=1, kind="final", text="me")], turn=2)
    assert driver.every(Generate) == []
    driver.heard(2, "and you")
    assert driver.asked()[-2:] == [("user", "me"), ("user", "and you")]


def test_greeting_is_finished_after_a_takeover() -> None:
    driver = resumed(GREETED[:1])
    assert driver.spoken() == ["who is it?"]
    assert driver.sent(Speak)[0].segment == 1
    assert driver.ends() == [(0, 2, False)]


def test_greeting_is_said_when_nothing_was_said_before_the_takeover() -> None:
    assert Driver(rebuilt=Rebuilt(), resumed=True).spoken() == ["Hello there,", "who is it?"]


def test_broken_reply_is_owned_up_to_after_a_takeover() -> None:
    broken = [
        log("transcript", turn=1, kind="final", text="me"),
        log("agent.segment", turn=1, segment=0, text="I see,"),
    ]
    driver = resumed([*GREETED, *broken], turn=1)
    assert driver.every(Generate) == []
    assert driver.spoken() == ["Sorry about that,", "really."]
    assert driver.ends() == [(1, 3, False)]


def test_whole_reply_is_only_announced_after_a_takeover() -> None:
    whole = [
        log("transcript", turn=1, kind="final", text="bye"),
        log("agent.segment", turn=1, segment=0, text="Bye.", last=True, hangup=True),
    ]
    driver = resumed([*GREETED, *whole], turn=1)
    assert driver.spoken() == []
    assert driver.ends() == [(1, 1, True)]
    assert driver.dialogue.state is State.LISTENING


def test_listening_goes_on_after_a_takeover_between_turns() -> None:
    driver = resumed(GREETED)
    assert driver.all == []
    assert driver.dialogue.state is State.LISTENING


def test_dialogue_with_one_engine_apologises_at_once() -> None:
    driver = Driver(agent(llm=EngineSpec(), fallback=[])).greeted()
    driver.says(1, "hello")
    driver.fail()
    assert driver.spoken(1)[0] == "Sorry about that,"


def test_transcript_of_another_worker_counts_whatever_its_epoch() -> None:
    driver = Driver(epoch=7)
    driver.event(Transcript(call_id="c1", epoch=1, turn=1, kind="final", text="hello"))
    assert driver.asked()[-1] == ("user", "hello")


# --- the rate of the leg


def test_sentences_are_asked_for_at_the_rate_of_the_leg():
    driver = Driver(rate_hz=16_000)
    assert {speak.rate_hz for speak in driver.sent(Speak)} == {16_000}


def test_leg_without_a_word_about_its_rate_is_narrowband():
    driver = Driver()
    assert {speak.rate_hz for speak in driver.sent(Speak)} == {8_000}


def test_another_codec_counts_from_the_next_sentence_on_and_says_nothing_again():
    driver = Driver()
    before = len(driver.sent(Speak))
    driver.event(DialogueUpdate(call_id="c1", epoch=1, ai=WORKERS, rate_hz=16_000))
    assert len(driver.sent(Speak)) == before
    moved = AiWorkers(stt="stt-0", llm="llm-0", tts="tts-9")
    driver.event(
        DialogueUpdate(call_id="c1", epoch=2, ai=moved)
    )  # a media worker that does not know of rates
    assert driver.sent(Speak)[-1].rate_hz == 16_000
    driver.event(DialogueUpdate(call_id="c1", epoch=1, ai=WORKERS, rate_hz=8_000))  # late
    driver.event(DialogueUpdate(call_id="c1", epoch=3, ai=WORKERS, rate_hz=16_000))
    assert driver.sent(Speak)[-1].rate_hz == 16_000


def test_takeover_speaks_at_the_rate_of_the_leg():
    driver = Driver(rebuilt=Rebuilt(), rate_hz=16_000, resumed=True)
    assert {speak.rate_hz for speak in driver.sent(Speak)} == {16_000}
