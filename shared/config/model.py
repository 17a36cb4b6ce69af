"""The typed model of the configuration; every default and its meaning stand here (docs/configuration.md is made of it).

It must not read files or environment. Values are checked when they are loaded; nothing is silently replaced.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.contracts import AppKind, CodecName, InbandDtmf, SrtpSuite, TurnSettings
from shared.egress import REMOTE_DENY

Port = Annotated[int, Meta(ge=1, le=65535)]
PortOrAny = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
SrtpPolicy = Literal["off", "optional", "required"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the configuration; unknown keys are errors."""


class RedisConfig(Section, frozen=True, kw_only=True):
    """Where the bus, the registry and the jobs live."""

    url: str = "redis://127.0.0.1:6379/0"
    """Control, registry, event log, jobs. Environment: VOICEFARM_REDIS_URL."""
    pcm_url: str = ""
    """Live audio; empty: the same server. Environment: VOICEFARM_PCM_REDIS_URL."""
    prefix: str = "vf"
    """First part of every key: farms that share a server take different ones."""


class SipConfig(Section, frozen=True, kw_only=True):
    """The SIP front."""

    host: str = "0.0.0.0"
    """Address to bind."""
    port: PortOrAny = 5060
    advertised_host: str = ""
    """Host in Via and Contact; empty: the bound address, or the address of the route to the peer when bound to all."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks whose X- headers are believed."""
    allowed: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """Networks that may signal at all; others are refused with 403 (requests that would cost nothing are dropped)."""
    receive_buffer_bytes: Positive = 4_194_304
    max_transactions: Positive = 20_000
    max_dialogs: Positive = 10_000
    retry_after_s: Positive = 5
    """Retry-After of a 503 when nothing better is known."""
    media_answer_timeout_s: Seconds = 2.0
    """How long a media worker may take to open a leg before the call is refused."""
    max_call_s: Positive = 14_400
    srtp: SrtpPolicy = "optional"
    """SRTP with keys in the session description (RFC 4568). off: never; optional: when the caller offers it; required: calls
    without it are refused. The keys are as secret as the signalling: use a proxy that speaks TLS outside."""
    srtp_suites: tuple[SrtpSuite, ...] = (
        "AEAD_AES_128_GCM",
        "AES_CM_128_HMAC_SHA1_80",
        "AES_CM_128_HMAC_SHA1_32",
    )
    """Suites taken; the order is that of our own offers, among those of a caller the caller's order counts."""


class Route(Section, frozen=True, kw_only=True):
    """Which application a call gets: the first route whose every given pattern matches wins."""

    user: str = ""
    """Regular expression for the user part of the Request-URI (whole); empty: any."""
    tenant: str = ""
    """Tenant, exact; empty: any."""
    header: str = ""
    """`Name: regex` of a trusted X- header; empty: any."""
    app: AppKind = "echo"
    agent: str = ""
    language: str = "en"
    record: bool = False
    codecs: tuple[CodecName, ...] = ()
    """Only these of `media.codecs`, the first one preferred whatever the caller prefers; empty: all of them, in the
    caller's order."""
    srtp: Literal["", "off", "optional", "required"] = ""
    """Instead of `sip.srtp`; empty: as there."""
    media_cidrs: tuple[str, ...] = ()
    """Networks from which media of these calls may come, besides `media.media_cidrs`: those of the route's tenant."""
    options: dict[str, str | int | float | bool] = {}
    turn: TurnSettings = TurnSettings()


DEFAULT_ROUTES: tuple[Route, ...] = (
    Route(user="echo", app="echo"),
    Route(user="parrot", app="echo", options={"mode": "after_silence"}),
    Route(user="transcribe", app="transcribe"),
    Route(user="conf.*", app="conference"),
    Route(user="agent", app="agent", agent="demo", record=True),
)


class MediaConfig(Section, frozen=True, kw_only=True):
    """A media worker."""

    host: str = "0.0.0.0"
    """Address to bind RTP sockets to."""
    advertised_host: str = "127.0.0.1"
    """Address in our SDP."""
    ports: str = "20000-23999"
    """RTP port range, even first; below the ephemeral range of the kernel. Workers of one host share it out by index."""
    capacity: Positive = 500
    """Legs of one worker process; memory is allocated for all of them at start."""
    quarantine_s: Seconds = 5.0
    """A freed port pair stays closed to new calls this long, so that a late packet meets nobody."""
    rtp_timeout_s: Seconds = 30.0
    """A call whose packets stopped is ended after this; held calls are not."""
    rtp_never_s: Seconds = 20.0
    """A call that never sent a packet is ended after this."""
    rtcp_proves_life: bool = True
    """A call whose packets stopped is not ended while its RTCP comes: its sender is silent, or one-way (which is told)."""
    rtcp_xr: bool = True
    """Send extended reports (RFC 3611): VoIP metrics, receiver reference time. Those of peers are read in any case."""
    one_way_s: Annotated[float, Meta(gt=0)] = 5.0
    """A call without a packet for this long, though it owes us some, is told to be one-way."""
    mos_low: Annotated[float, Meta(ge=1, le=4)] = 3.1
    """A call whose score of 5 s falls below this has a `quality` entry in its event log; 3.1: many dissatisfied (G.109)."""
    media_cidrs: tuple[str, ...] = ()
    """Networks from which media may come besides the negotiated address (symmetric RTP behind NAT)."""
    source_policy: Literal["strict", "latch"] = "strict"
    """strict: a stream stays with the address it first came from until the caller signals another one; latch: after a second
    of silence the same stream (SSRC) may go on from another allowed address."""
    remote_deny: tuple[str, ...] = REMOTE_DENY
    """Networks that no call may make us send media to (answered 488); add your own, those of servers and of management.
    Loopback is not denied where `advertised_host` is a loopback address: then all callers are on this machine."""
    remote_allow: tuple[str, ...] = ()
    """Exceptions from `remote_deny`."""
    codecs: tuple[CodecName, ...] = ("OPUS", "G722", "PCMU", "PCMA", "L16")
    """Codecs that calls may use; the order is that of our own offers (INVITE without an offer). A media worker that lacks
    one does not start."""
    opus_complexity: Annotated[int, Meta(ge=0, le=10)] = 3
    """How much work goes into encoding Opus; 1 costs less than half of 3, 10 a half more (docs/codecs.md)."""
    inband_dtmf: InbandDtmf = "auto"
    """Where key presses are looked for in the sound itself: auto, on legs that agreed to no telephone event (echo left out);
    always, on every leg; never. A tone that is found is taken out of the caller's sound."""
    jitter_max_ms: Positive = 200
    """The most delay above the network's least that the jitter buffer aims at; after a stall there is more until it is given back
    (docs/jitter-buffer.md)."""
    vad_threshold_dbfs: float = -45.0
    """Frames louder than this, and than the noise floor by 9 dB, are speech."""
    record_dir: str = "var/recordings"
    files_dir: str = "var/media"
    """Audio files that may be played to callers; no path leads out of it."""
    sockets: Literal["auto", "uring", "compiled", "ctypes", "portable"] = "auto"
    """How RTP is received and sent; auto: the first of these that runs here (docs/performance.md)."""
    priority: bool = True
    """Ask the kernel for real time (SCHED_FIFO) for the tick's thread, or else for a negative nice value; without the right the
    worker says so and goes on."""


class SttConfig(Section, frozen=True, kw_only=True):
    """An STT worker."""

    engine: Literal["auto", "faster-whisper", "pocketsphinx"] = "auto"
    """auto: faster-whisper when `model` can be had, else pocketsphinx."""
    model: str = ""
    """faster-whisper: a model name or a directory; empty with auto: `base.en` where a hub is reachable."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compute_type: str = "default"
    threads: Annotated[int, Meta(ge=0)] = 0
    batch_max: Annotated[int, Meta(ge=1, le=64)] = 16
    window_s: Annotated[float, Meta(ge=12, le=30)] = 30.0
    """faster-whisper: utterances that fit are decoded in a window this short, cheaper and perhaps less exact."""
    capacity: Positive = 200
    """Calls attached at once."""
    grammar: str = ""
    """pocketsphinx: file with one sentence per line; empty: the demo's."""


class LlmConfig(Section, frozen=True, kw_only=True):
    """A dialogue worker."""

    agents_dir: str = ""
    """Directory of agent YAML files; empty: the ones that come with the package."""
    capacity: Positive = 400
    base_url: str = "http://127.0.0.1:8000/v1"
    """OpenAI-compatible endpoint of agents that name none."""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    first_token_ms: Positive = 3_000
    """Deadline for the first token with text; after it the agent's fallback answers."""


class TtsConfig(Section, frozen=True, kw_only=True):
    """A TTS worker."""

    engine: Literal["espeak", "openai", "tones"] = "espeak"
    """tones: words as tones, for tests and load."""
    voice: str = "en-us"
    rate_wpm: Annotated[int, Meta(ge=80, le=450)] = 165
    capacity: Positive = 400
    base_url: str = "http://127.0.0.1:8880/v1"
    model: str = "tts-1"
    api_key_env: str = "OPENAI_API_KEY"


class JobsConfig(Section, frozen=True, kw_only=True):
    """Post-call jobs."""

    keep_wav: bool = True
    """Whether the WAV stays after FLAC and Opus were made of it and checked against it."""
    opus: bool = True
    """Also make an Ogg/Opus file, for people who listen; FLAC is always made."""


class OpsConfig(Section, frozen=True, kw_only=True):
    """What every process has for its operators."""

    http_host: str = "127.0.0.1"
    http_port: PortOrAny = 0
    """Metrics and health; 0: any free port (the supervisor hands out and prints them)."""
    log_level: LogLevel = "info"
    log_format: Literal["json", "text"] = "json"
    drain_s: Seconds = 7_200.0
    """After SIGTERM running calls may go on for this long."""
    call_series_max: Positive = 500
    """Calls on /metrics/calls; the worst first: one-way, then by MOS, then by jitter."""
    events_linger_s: Seconds = 10.0
    """How long a call's event log outlives the call (until a recording job has read it, at most an hour)."""


class Config(Section, frozen=True, kw_only=True):
    """Everything; sections not given are defaults."""

    redis: RedisConfig = RedisConfig()
    sip: SipConfig = SipConfig()
    routes: tuple[Route, ...] = DEFAULT_ROUTES
    media: MediaConfig = MediaConfig()
    stt: SttConfig = SttConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    jobs: JobsConfig = JobsConfig()
    ops: OpsConfig = OpsConfig()
