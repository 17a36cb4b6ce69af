"""Front <-> media worker: a leg's life. Stream `ctl:media:{worker}` one way, `ctl:front:{front}` back.

Every request has a `msg_id`; the media worker answers it once and answers a repeated one the same way without acting
again. `MediaEnded` is the only message a media worker starts by itself; `MediaPlayed` follows on a `MediaPlay`.
"""

from typing import Any, Literal

from shared.contracts.codec import Message, Part, contract

AppKind = Literal["echo", "transcribe", "agent", "conference"]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
CodecName = Literal["PCMU", "PCMA", "G722", "OPUS", "L16"]
SrtpSuite = Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM"]
PlayLine = Literal["foreground", "background"]
PlayAction = Literal["pause", "resume", "flush", "skip", "mark"]
Played = Literal["started", "finished", "flushed", "failed", "mark", "paused", "resumed"]
RecordAction = Literal["start", "pause", "resume", "stop"]
DigitsVia = Literal["auto", "rfc4733", "inband"]
InbandDtmf = Literal["auto", "always", "never"]
DigitSource = Literal["rfc4733", "inband", "info"]
EndReason = Literal[
    "bye",  # the caller hung up
    "cancel",  # the caller gave up before the answer
    "no_ack",  # the 200 OK was never acknowledged
    "rtp_timeout",  # packets stopped coming
    "rtp_never",  # no packet ever came
    "app",  # the application ended the call
    "max_duration",
    "drain",  # the worker's grace ran out
    "setup_failed",
    "error",
]


class TurnSettings(Part, frozen=True, kw_only=True):
    """How a caller's turn is found; milliseconds. Defaults and their sources: FACTS section 4, DESIGN section 7."""

    onset_ms: int = 60
    """Speech this long starts an utterance."""
    pre_roll_ms: int = 200
    """Audio before the onset that belongs to the utterance."""
    pause_ms: int = 200
    """Silence this long starts a speculative decode."""
    endpoint_ms: int = 500
    """Silence this long ends the turn."""
    barge_in_ms: int = 200
    """Caller speech this long while the agent speaks stops the agent; 0 turns barge-in off."""
    max_utterance_ms: int = 28_000
    """A longer utterance is ended here: Whisper's window is 30 s."""


class AppSpec(Part, frozen=True, kw_only=True):
    """What happens on a call."""

    kind: AppKind
    agent: str = ""
    """Name of the agent file, for `agent`."""
    language: str = "en"
    turn: TurnSettings = TurnSettings()
    options: dict[str, Any] = {}
    """`echo`: mode immediate | after_silence. `conference`: hold_music, a file for the other of two while one holds."""


class OpusSettings(Part, frozen=True, kw_only=True):
    """What the peer's fmtp asks of us (RFC 7587 section 6.1)."""

    max_playback_hz: int = 48_000
    max_average_bitrate: int = 0
    """Bits per second, 0: ours to choose."""
    use_inband_fec: bool = False
    use_dtx: bool = False


class MediaFormat(Part, frozen=True, kw_only=True):
    """The negotiated audio format: payload types are the offerer's own numbers."""

    codec: CodecName
    payload_type: int
    clock_rate_hz: int = 8_000
    """Of RTP timestamps: 8,000 for G.722 too (RFC 3551 section 4.5.2), 48,000 for Opus, the sampling rate for L16."""
    dtmf_payload_type: int | None = None
    dtmf_clock_rate_hz: int = 8_000
    comfort_noise_payload_type: int | None = None
    """RFC 3389; None: none was agreed, silence is sent as audio."""
    ptime_ms: int = 20
    """Of what we send: 10, 20, 30, 40 or 60. Packets of any length are taken."""
    opus: OpusSettings = OpusSettings()
    direction: Direction = "sendrecv"
    """As seen from the farm: what we do with the stream."""
    rtcp_mux: bool = False
    """RTCP on the RTP port (RFC 5761)."""


class SrtpKeys(Part, frozen=True, kw_only=True):
    """SDES keys of both directions (RFC 4568): master key and salt. Never to be logged."""

    suite: SrtpSuite
    local: bytes
    """Protects what we send."""
    remote: bytes

    def __repr__(self) -> str:
        return f"SrtpKeys({self.suite})"


class RtpEndpoint(Part, frozen=True, kw_only=True):
    """An address as SDP gives it; `rtcp_port` 0 means rtp_port + 1 (RFC 3550 section 11)."""

    host: str
    rtp_port: int
    rtcp_port: int = 0


class AiWorkers(Part, frozen=True, kw_only=True):
    """The AI workers a call is attached to; empty where the application needs none."""

    stt: str = ""
    llm: str = ""
    tts: str = ""


@contract
class MediaOpen(Message, tag="media.open", frozen=True, kw_only=True):
    """Bind the reserved port pair and be ready to receive. Sent before the 200 OK (I2)."""

    msg_id: str
    reply_to: str
    """Worker id of the front that waits for the answer and is told when the call ends."""
    call_id: str
    sip_call_id: str
    tenant: str
    room_id: str
    session_id: str
    rtp_port: int
    """Even port reserved on this worker; RTCP is the next one."""
    remote: RtpEndpoint
    format: MediaFormat
    srtp: SrtpKeys | None = None
    app: AppSpec
    ai: AiWorkers = AiWorkers()
    record: bool = False
    media_cidrs: list[str] = []
    """Networks from which the tenant's media may come besides the negotiated address (I8)."""
    metadata: dict[str, str] = {}
    """From, To and every X- header of a trusted proxy."""


@contract
class MediaStart(Message, tag="media.start", frozen=True, kw_only=True):
    """The caller acknowledged the answer: media may flow and the application begins."""

    msg_id: str
    reply_to: str
    call_id: str


@contract
class MediaUpdate(Message, tag="media.update", frozen=True, kw_only=True):
    """A re-INVITE changed address, format or direction."""

    msg_id: str
    reply_to: str
    call_id: str
    remote: RtpEndpoint
    format: MediaFormat
    srtp: SrtpKeys | None = None


@contract
class MediaClose(Message, tag="media.close", frozen=True, kw_only=True):
    """Release the leg. Answered also when the leg is already gone."""

    msg_id: str
    reply_to: str
    call_id: str
    reason: EndReason


@contract
class MediaAnswer(Message, tag="media.answer", frozen=True, kw_only=True):
    """Answer to any request to a media worker. `reason` when refused: port_busy, full, draining, unknown_call, bad_request,
    unknown_room, unknown_play, no_recording, recorded, error.
    """

    msg_id: str
    call_id: str
    ok: bool
    reason: str = ""


@contract
class MediaEnded(Message, tag="media.ended", frozen=True, kw_only=True):
    """The media worker ended a call by itself; the front hangs up."""

    msg_id: str
    call_id: str
    reason: EndReason


@contract
class MediaDigits(Message, tag="media.digits", frozen=True, kw_only=True):
    """Press keys for a leg, after those still being sent; its playout waits meanwhile. Refused: unknown_call,
    bad_request (an unknown key, none, more than fit, a figure out of its range).
    """

    msg_id: str
    reply_to: str
    call_id: str
    digits: str
    """0-9, *, #, A-D, ! (flash, RFC 4733 only); a comma is a pause of one second."""
    via: DigitsVia = "auto"
    """auto: telephone events (RFC 4733) where the peer agreed to them, tones otherwise."""
    duration_ms: int = 100
    """Of each key, 40 to 6,000; sent in steps of 20 ms."""
    gap_ms: int = 100
    """Silence after each key, 40 to 6,000."""
    level_dbm0: int = -10
    """Power of both tones together, -36 to 0."""


@contract
class MediaInfoDigit(Message, tag="media.info_digit", frozen=True, kw_only=True):
    """A key press that came to the front in a SIP INFO (RFC 6086); flash is `!`. Answered like every request."""

    msg_id: str
    reply_to: str
    call_id: str
    digit: str
    duration_ms: int = 0
    """0: the INFO did not say."""


class ToneStep(Part, frozen=True, kw_only=True):
    """A part of a cadence: all the frequencies at once, or silence where there are none."""

    ms: int
    frequencies_hz: list[float] = []
    level_dbm0: float = -16.0
    """Of each frequency (ITU-T G.711: a full sine is +3.14 dBm0)."""


class MediaSource(Part, frozen=True, kw_only=True):
    """What is played: exactly one of the four kinds, with its own fields."""

    kind: Literal["file", "tone", "silence", "pcm"]
    path: str = ""
    """file: WAV, FLAC, Ogg (Opus, Vorbis) or MP3 below `media.files_dir`."""
    steps: list[ToneStep] = []
    """tone: one round of the cadence."""
    ms: int = 0
    """silence: its length."""
    pcm: bytes = b""
    """pcm: at most 20 s."""
    rate_hz: int = 8_000
    """pcm: its sampling rate."""


@contract
class MediaPlay(Message, tag="media.play", frozen=True, kw_only=True):
    """Queue audio for a leg (only its caller hears it) or, with `room_id` and no `call_id`, for everyone in a room."""

    msg_id: str
    reply_to: str
    """Is told with MediaPlayed what became of it."""
    play_id: str
    """Names it in MediaPlayed and MediaPlayControl."""
    source: MediaSource
    call_id: str = ""
    tenant: str = ""
    room_id: str = ""
    line: PlayLine = "foreground"
    """Two queues per leg and room, heard at once; the background gives way to speech."""
    loops: int = 1
    """Times that it is played; 0: until it is flushed."""
    gain_db: float = 0.0
    duck_db: float = 12.0
    """background: how much softer while the agent or the foreground is heard; the newest one's holds for the line."""


@contract
class MediaPlayControl(Message, tag="media.play_control", frozen=True, kw_only=True):
    """Acts on a queue: pause, resume; flush everything or one `play_id`; skip what is playing; queue a mark that is
    reported when everything before it was played.
    """

    msg_id: str
    reply_to: str
    action: PlayAction
    call_id: str = ""
    tenant: str = ""
    room_id: str = ""
    line: PlayLine = "foreground"
    play_id: str = ""
    mark: str = ""


@contract
class MediaMix(Message, tag="media.mix", frozen=True, kw_only=True):
    """How a leg takes part in its room; what is None stays as it is."""

    msg_id: str
    reply_to: str
    call_id: str
    mute: bool | None = None
    """Nobody hears it."""
    deaf: bool | None = None
    """It hears nobody; what is played to it or to the room it does hear."""
    gain_db: float | None = None
    """Of its voice in the room, -60 to +20."""
    whisper_to: str | None = None
    """Only this call of the same room hears it; "": everyone again."""


@contract
class MediaRecord(Message, tag="media.record", frozen=True, kw_only=True):
    """Begin, interrupt, go on with or end the recording of a call. A pause is silence of the same length in the file."""

    msg_id: str
    reply_to: str
    call_id: str
    action: RecordAction


@contract
class MediaPlayed(Message, tag="media.played", frozen=True, kw_only=True):
    """What became of something played; sent to the `reply_to` of its MediaPlay (pause, resume, mark: of the control)."""

    msg_id: str
    what: Played
    call_id: str = ""
    tenant: str = ""
    room_id: str = ""
    line: PlayLine = "foreground"
    play_id: str = ""
    mark: str = ""
    samples: int = 0
    """Of it that were heard, all loops together."""
    position_samples: int = 0
    """Samples that the queue had played by then, since the leg or room began; silence while it waited not counted."""
    rate_hz: int = 8_000
    """Of both."""
    reason: str = ""
    """failed: not_found, unreadable, busy, refused."""
