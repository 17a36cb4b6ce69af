"""One instance of every contract, every field away from its default."""

from shared.contracts import (
    AiWorkers,
    AppSpec,
    CallEvent,
    DialogueAttach,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    Mark,
    MediaAnswer,
    MediaClose,
    MediaDigits,
    MediaEnded,
    MediaFormat,
    MediaInfoDigit,
    MediaMix,
    MediaOpen,
    MediaPlay,
    MediaPlayControl,
    MediaPlayed,
    MediaRecord,
    MediaSource,
    MediaStart,
    MediaUpdate,
    Message,
    PcmToMedia,
    PcmToStt,
    ReplyEnd,
    ReplyFrame,
    RtpEndpoint,
    SegmentPlayed,
    Speak,
    SpeakCancel,
    SpeechStarted,
    StageTimes,
    SttAttach,
    SttDetach,
    ToneStep,
    Transcript,
    TurnSettings,
    UtteranceFrame,
)

REMOTE = RtpEndpoint(host="192.0.2.7", rtp_port=4000, rtcp_port=4005)
FORMAT = MediaFormat(codec="PCMA", payload_type=8, dtmf_payload_type=96, ptime_ms=20, direction="recvonly")
TURN = TurnSettings(
    onset_ms=40, pre_roll_ms=100, pause_ms=180, endpoint_ms=450, barge_in_ms=300, max_utterance_ms=9_000
)
APP = AppSpec(kind="agent", agent="demo", language="de", turn=TURN, options={"mode": "after_silence"})
AI = AiWorkers(stt="stt-0.aa", llm="llm-0.bb", tts="tts-0.cc")
TIMES = StageTimes(
    stt_wait_ms=1.0,
    stt_decode_ms=2.0,
    llm_first_token_ms=3.0,
    llm_first_segment_ms=4.0,
    tts_first_frame_ms=5.0,
)
FRAME = UtteranceFrame("c1", 2, 3, 320, Mark.PAUSE, b"\x01\x02\x03\x04", 200)

SAMPLES: list[Message] = [
    MediaOpen(
        msg_id="m1", reply_to="front-0.aa", call_id="c1", sip_call_id="x@y", tenant="acme", room_id="r1",
        session_id="s1", rtp_port=20_000, remote=REMOTE, format=FORMAT, app=APP, ai=AI, record=True,
        media_cidrs=["10.0.0.0/8"], metadata={"x-room-id": "r1"},
    ),
    MediaStart(msg_id="m2", reply_to="front-0.aa", call_id="c1"),
    MediaUpdate(msg_id="m3", reply_to="front-0.aa", call_id="c1", remote=REMOTE, format=FORMAT),
    MediaClose(msg_id="m4", reply_to="front-0.aa", call_id="c1", reason="bye"),
    MediaAnswer(msg_id="m1", call_id="c1", ok=False, reason="port_busy"),
    MediaEnded(msg_id="m5", call_id="c1", reason="rtp_timeout"),
    PcmToStt(rate_hz=8_000, frames=[FRAME]),
    PcmToMedia(rate_hz=8_000, frames=[ReplyFrame("c1", 3, 1, 160, b"\x05\x06", True)], times={"c1": TIMES}),
    SttAttach(
        call_id="c1", tenant="acme", epoch=2, media="media-0.dd", llm="llm-0.bb", language="de", hotwords=["Zoë"],
        grammar=["yes please"],
    ),
    SttDetach(call_id="c1"),
    Transcript(
        call_id="c1", epoch=2, turn=3, kind="speculative", text="yes please", confidence=0.9, audio_ms=900, wait_ms=1.5,
        decode_ms=20.25,
    ),
    DialogueAttach(
        call_id="c1", tenant="acme", room_id="r1", session_id="s1", epoch=2, agent="demo", media="media-0.dd", ai=AI,
        language="de", turn=3, turn_settings=TURN, resumed=True, metadata={"from": "sip:a@b"},
    ),
    DialogueUpdate(call_id="c1", epoch=3, ai=AI),
    DialogueDetach(call_id="c1", reason="drain"),
    SpeechStarted(
        call_id="c1", epoch=2, turn=4, barge_in=True, heard_turn=3, heard_segment=1, heard_samples=800
    ),
    SegmentPlayed(call_id="c1", turn=3, segment=0, samples=8_000),
    DtmfReceived(call_id="c1", turn=3, digit="#", duration_ms=120),
    Speak(
        call_id="c1", epoch=2, turn=3, segment=1, text="Good day.", media="media-0.dd", rate_hz=16_000, voice="amy",
        language="de", times=TIMES,
    ),
    SpeakCancel(call_id="c1", turn=4),
    ReplyEnd(call_id="c1", turn=3, segments=2, hangup=True),
    CallEvent(call_id="c1", kind="dtmf", at_ns=1_700_000_000_000_000_000, by="media-0.dd", data={"digit": "5"}),
    MediaPlay(
        msg_id="m6", reply_to="front-0.aa", play_id="p1", call_id="c1", tenant="acme", room_id="r1", line="background",
        source=MediaSource(
            kind="file", path="hold.flac", steps=[ToneStep(ms=500, frequencies_hz=[440.0, 350.0], level_dbm0=-13.0)],
            ms=20, pcm=b"\x01\x02", rate_hz=16_000,
        ),
        loops=0, gain_db=-6.0, duck_db=20.0,
    ),
    MediaPlayControl(
        msg_id="m7", reply_to="front-0.aa", action="mark", call_id="c1", tenant="acme", room_id="r1",
        line="background", play_id="p1", mark="here",
    ),
    MediaMix(
        msg_id="m8", reply_to="front-0.aa", call_id="c1", mute=True, deaf=False, gain_db=-3.0, whisper_to="c2"
    ),
    MediaRecord(msg_id="m9", reply_to="front-0.aa", call_id="c1", action="pause"),
    MediaPlayed(
        msg_id="m10", what="failed", call_id="c1", tenant="acme", room_id="r1", line="background", play_id="p1",
        mark="here", samples=7, position_samples=9, rate_hz=16_000, reason="not_found",
    ),
    MediaDigits(
        msg_id="m11", reply_to="front-0.aa", call_id="c1", digits="1,#", via="inband", duration_ms=80, gap_ms=60,
        level_dbm0=-7,
    ),
    MediaInfoDigit(msg_id="m12", reply_to="front-0.aa", call_id="c1", digit="5", duration_ms=160),
]  # fmt: skip
