"""Media <-> STT, LLM and TTS: utterances, transcripts, sentences, audio, playout.

The media worker anchors a call: it attaches the call to one worker of each kind, watches their leases and attaches it
elsewhere, with a higher `epoch`, when one dies. `turn` rises when the caller takes the floor; whatever carries an older
turn or epoch is dropped where it is met (I4).

PCM is int16 little-endian at `rate_hz`. Durations are measured by one process on its own clock and summed up by the
media worker, so no clock is compared between hosts.
"""

from enum import IntEnum
from typing import Literal

import msgspec

from shared.contracts.codec import Message, Part, contract
from shared.contracts.control import AiWorkers, DigitSource, EndReason, TurnSettings


class Mark(IntEnum):
    """What a frame on the way to an STT worker says besides its audio."""

    AUDIO = 0
    START = 1  # first frame of an utterance; pre-roll included
    PAUSE = 2  # the caller fell silent for pause_ms: decode speculatively
    RESUME = 3  # the caller went on: that speculation is void
    END = 4  # endpoint: decode finally
    ABORT = 5  # it was a cough: forget the utterance


class UtteranceFrame(msgspec.Struct, frozen=True, array_like=True):
    """Audio of one utterance. `offset` counts samples from the utterance's start, so a gap shows."""

    call_id: str
    epoch: int
    turn: int
    offset: int
    mark: Mark
    pcm: bytes
    silence_ms: int = 0
    """With PAUSE and END: silence at the end of the audio so far, on the media worker's clock."""


@contract
class PcmToStt(Message, tag="pcm.stt", frozen=True, kw_only=True):
    """One entry per tick for all calls of a media worker. Stream `pcm:stt:{worker}`; lossy, order kept."""

    rate_hz: int
    frames: list[UtteranceFrame]


class ReplyFrame(msgspec.Struct, frozen=True, array_like=True):
    """Audio of one sentence of a reply, as generated; `offset` in samples lets a repeated sentence be joined."""

    call_id: str
    turn: int
    segment: int
    offset: int
    pcm: bytes
    last: bool = False


class StageTimes(Part, frozen=True, kw_only=True):
    """How long each stage of a turn took, ms; -1 where it has not happened (or was not needed)."""

    stt_wait_ms: float = -1.0
    """In the queue of the STT batcher, after the endpoint."""
    stt_decode_ms: float = -1.0
    """Decoding; a speculative decode that was ready before the endpoint counts only what was left: 0."""
    llm_first_token_ms: float = -1.0
    """From transcript at the LLM worker to the first token with text."""
    llm_first_segment_ms: float = -1.0
    """From transcript to the first sentence handed to TTS."""
    tts_first_frame_ms: float = -1.0
    """From sentence at the TTS worker to its first audio."""


@contract
class PcmToMedia(Message, tag="pcm.media", frozen=True, kw_only=True):
    """Stream `pcm:media:{worker}`; as generated, ahead of real time; order kept."""

    rate_hz: int
    frames: list[ReplyFrame]
    times: dict[str, StageTimes] = {}
    """By call_id, with the first frame of a turn."""


@contract
class SttAttach(Message, tag="stt.attach", frozen=True, kw_only=True):
    """Media -> STT: this call's utterances will come to you."""

    call_id: str
    tenant: str
    epoch: int
    media: str
    llm: str
    """Worker that gets the transcripts, empty for `transcribe`."""
    language: str = "en"
    hotwords: list[str] = []
    grammar: list[str] = []
    """Sentences a closed-grammar engine may hear; empty: whatever the worker is configured with."""


@contract
class SttDetach(Message, tag="stt.detach", frozen=True, kw_only=True):
    call_id: str


@contract
class Transcript(Message, tag="stt.transcript", frozen=True, kw_only=True):
    """STT -> LLM (and, in the event log, to everybody). A final comes once per (call, turn)."""

    call_id: str
    epoch: int
    turn: int
    kind: Literal["partial", "speculative", "final"]
    text: str
    confidence: float = 0.0
    """Mean token probability, 0 to 1."""
    audio_ms: int = 0
    wait_ms: float = 0.0
    decode_ms: float = 0.0


@contract
class DialogueAttach(Message, tag="llm.attach", frozen=True, kw_only=True):
    """Media -> LLM: lead this dialogue. With `resumed` another worker led it: rebuild it from the event log."""

    call_id: str
    tenant: str
    room_id: str
    session_id: str
    epoch: int
    agent: str
    media: str
    ai: AiWorkers
    language: str = "en"
    turn: int = 0
    """The turn the media worker is in."""
    turn_settings: TurnSettings = TurnSettings()
    resumed: bool = False
    metadata: dict[str, str] = {}
    rate_hz: int = 8_000
    """Of the speech to be sent to the media worker: the leg's own, 8,000 or 16,000."""


@contract
class DialogueUpdate(Message, tag="llm.update", frozen=True, kw_only=True):
    """Media -> LLM: a TTS or STT worker was replaced (send again what of this turn was not played), or, under the same
    epoch, the leg's codec.
    """

    call_id: str
    epoch: int
    ai: AiWorkers
    rate_hz: int = 0
    """As in DialogueAttach; 0: as before."""


@contract
class DialogueDetach(Message, tag="llm.detach", frozen=True, kw_only=True):
    call_id: str
    reason: EndReason


@contract
class SpeechStarted(Message, tag="media.speech_started", frozen=True, kw_only=True):
    """Media -> LLM: the caller took the floor; older turns are void. `heard_*` say what was played until then."""

    call_id: str
    epoch: int
    turn: int
    barge_in: bool = False
    heard_turn: int = -1
    heard_segment: int = -1
    """Segment that was playing, -1 when none was."""
    heard_samples: int = 0
    """Samples of that segment that left the socket, counted at 8 kHz whatever it was played at."""
    heard_of_samples: int = 0
    """Samples that segment has in all, at 8 kHz; 0 when its end was not known yet."""


@contract
class SegmentPlayed(Message, tag="media.segment_played", frozen=True, kw_only=True):
    """Media -> LLM: a sentence was played to its end."""

    call_id: str
    turn: int
    segment: int
    samples: int
    """At 8 kHz, whatever it was played at."""


@contract
class DtmfReceived(Message, tag="media.dtmf", frozen=True, kw_only=True):
    """Media -> LLM: one key press, once, however often and in however many ways it was told (docs/dtmf.md)."""

    call_id: str
    turn: int
    digit: str
    """0-9, *, #, A-D, ! (flash)."""
    duration_ms: int
    source: DigitSource = "rfc4733"
    """What told it first."""


@contract
class Speak(Message, tag="tts.speak", frozen=True, kw_only=True):
    """LLM -> TTS: one sentence."""

    call_id: str
    epoch: int
    turn: int
    segment: int
    text: str
    media: str
    """Worker that plays it."""
    rate_hz: int = 8_000
    voice: str = ""
    language: str = "en"
    times: StageTimes = StageTimes()


@contract
class SpeakCancel(Message, tag="tts.cancel", frozen=True, kw_only=True):
    """LLM -> TTS: nothing older than `turn` is wanted for this call."""

    call_id: str
    turn: int


@contract
class ReplyEnd(Message, tag="media.reply_end", frozen=True, kw_only=True):
    """LLM -> media: the reply of this turn has `segments` sentences; hang up after them where asked.

    It comes again with more when the agent speaks again in the same turn: after a key press, or a long silence.
    """

    call_id: str
    turn: int
    segments: int
    hangup: bool = False
