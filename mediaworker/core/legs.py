"""What the engine is told about a leg and what a tick tells about all legs.

The engine (`engine.Engine`) holds one row per leg in arrays; the worker around it keeps what is per call and rare. This
module is the border between the two: plain data, no behaviour.
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.contracts import (
    DigitSource,
    EndReason,
    InbandDtmf,
    MediaFormat,
    RtpEndpoint,
    SrtpKeys,
    TurnSettings,
)

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegSetup:
    """A leg to open. `room` -1 is no room; legs of one room number hear each other, never themselves."""

    rtp_port: int
    remote: RtpEndpoint
    format: MediaFormat
    media_cidrs: tuple[str, ...] = ()
    srtp: SrtpKeys | None = None
    detect_speech: bool = False
    turn: TurnSettings = field(default_factory=TurnSettings)
    echo: bool = False
    """Send the caller's audio back as it is played out."""
    room: int = -1
    record: bool = False
    inband_dtmf: InbandDtmf = "never"
    """Whether key presses are looked for in the sound; auto: where no telephone event was agreed."""


class Speech(IntEnum):
    """What the speech detector says of a leg, in the order an utterance goes through them."""

    ONSET = 1
    """`onset_ms` of speech: an utterance begins; its pre-roll can be read."""
    LASTED = 2
    """`barge_in_ms` of speech since its first loud frame."""
    PAUSE = 3
    """`pause_ms` of silence."""
    RESUME = 4
    """Speech after PAUSE, before END: the same utterance goes on."""
    END = 5
    """`endpoint_ms` of silence, or the utterance reached `max_utterance_ms`."""


class SpeechEvent(NamedTuple):
    row: int
    kind: Speech
    first_loud_ns: int
    """When the packet with the utterance's first loud frame arrived."""
    last_loud_ns: int
    """When the packet with its latest loud frame arrived."""


class DtmfEvent(NamedTuple):
    row: int
    digit: str
    duration_ms: int
    source: DigitSource = "rfc4733"


class Heard(NamedTuple):
    """How far playout came: `samples` of `segment` of `turn` left the socket. Segment -1: nothing was queued."""

    turn: int
    segment: int
    samples: int


class PlayoutEvent(NamedTuple):
    """`started`: the first packet of a turn's audio left the socket. Otherwise a segment was played to its end."""

    row: int
    started: bool
    heard: Heard
    at_ns: int


class LegLost(NamedTuple):
    """The engine saw that a leg's packets stopped, or never came; the worker ends the call."""

    row: int
    reason: EndReason


class OneWay(IntFlag):
    """Directions in which nothing is heard."""

    NO_PACKETS = 1
    """We send, and nothing comes."""
    SILENCE = 2
    """Packets come, and nothing in them was ever louder than silence."""
    NOT_RECEIVED = 4
    """The peer's reports say that our packets do not arrive."""


class QualityEvent(NamedTuple):
    """A leg began or ceased to sound bad (`quality`: low, recovered) or to be heard one way only (`one_way`: begun,
    ended).
    """

    row: int
    kind: str
    direction: str
    state: str
    data: dict[str, float | str]


@dataclass(slots=True)
class TickResult:
    """What happened in one tick. Arrays are views into the engine's own memory, valid until the next tick."""

    speech: list[SpeechEvent] = field(default_factory=list)
    dtmf: list[DtmfEvent] = field(default_factory=list)
    playout: list[PlayoutEvent] = field(default_factory=list)
    lost: list[LegLost] = field(default_factory=list)
    quality: list[QualityEvent] = field(default_factory=list)
    utterance_rows: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Rows inside an utterance (ONSET to END) this tick; their caller audio is `caller_pcm[row]`."""
    own_time: dict[int, Samples] = field(default_factory=dict)
    """What goes into the utterance of a row instead, where what is heard is not what was said in this 20 ms: playout waited, or
    gave waiting time back. Whole frames at the leg's rate, or nothing."""
    caller_pcm: Samples = field(default_factory=lambda: np.zeros((0, 160), np.int16))
    """[L, 160] caller audio after jitter buffer and concealment."""
    sent_pcm: Samples = field(default_factory=lambda: np.zeros((0, 160), np.int16))
    """[L, 160] what was sent to each leg."""
    caller_wide: Samples = field(default_factory=lambda: np.zeros((0, 320), np.int16))
    """[L, 320] the same at 16 kHz, of wideband legs only."""
    sent_wide: Samples = field(default_factory=lambda: np.zeros((0, 320), np.int16))
    record_rows: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Narrow legs that are recorded; the same object until a leg changes."""
    record_wide: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Wideband ones."""


@dataclass(frozen=True, slots=True)
class LegStats:
    """RFC 3550 figures of one leg; times in ms, ratios 0..1, -1 where not known. `out_*` is what the peer reports."""

    packets_in: int
    packets_out: int
    lost_in: int
    late_in: int
    duplicate_in: int
    concealed: int
    jitter_in_ms: float
    loss_in_ratio: float
    jitter_out_ms: float = -1.0
    loss_out_ratio: float = -1.0
    lost_out: int = 0
    rtt_ms: float = -1.0
    depth_frames: int = 0
    jitter_mean_ms: float = 0.0
    """Mean and highest value of the running figure: what tshark calls mean and max jitter."""
    jitter_max_ms: float = 0.0
    mos_in: float = -1.0
    """Conversational MOS of the whole call by the E-model; `mos_worst` of its worst five seconds inwards."""
    mos_out: float = -1.0
    mos_worst: float = -1.0
    burst_losses: int = 0
    """Frames lost inside bursts (RFC 3611), of `lost_frames` in all, in `bursts` bursts."""
    lost_frames: int = 0
    bursts: int = 0
    reordered_in: int = 0
    """Packets that came after one with a higher number."""
    one_way: bool = False
    """Whether the leg ended while it was heard one way only."""
