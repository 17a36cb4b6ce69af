"""Which codec of a stream is taken, as which media format, and how formats are written into a description.

Names and clock rates are matched, never payload numbers (RFC 3264 section 6.1, RFC 8866 section 6.6); the numbers are the
offerer's. Sources: RFC 3551 (static types), RFC 4733 (telephone-event), RFC 3389 (comfort noise), RFC 7587 (Opus),
RFC 8866 section 6.4 (ptime, maxptime). It must not know addresses, keys or calls.
"""

import re
from collections.abc import Iterable, Sequence

from shared.contracts import CodecName, MediaFormat, OpusSettings
from shared.units import NARROWBAND_HZ, TICK_MS, WIDEBAND_HZ
from sipfront.core.sdp import Codec, Stream
from sipfront.core.terms import Terms

EVENTS = "TELEPHONE-EVENT"
NOISE = "CN"
_RATES: dict[CodecName, tuple[int, ...]] = {
    "PCMU": (NARROWBAND_HZ,), "PCMA": (NARROWBAND_HZ,), "G722": (NARROWBAND_HZ,), "OPUS": (48_000,),
    "L16": (NARROWBAND_HZ, WIDEBAND_HZ, 44_100),
}  # fmt: skip
"""Clock rates a codec is taken at."""
_SPELLED = {"OPUS": "opus", EVENTS: "telephone-event"}

_PTIMES = (10, 20, 30, 40, 60)
_OPUS_PTIMES = (10, 20, 40, 60)
"""One Opus frame per packet: 30 ms is no frame size (RFC 6716 section 2.1.4)."""
_PAYLOAD_MAX_BYTES = 1_400
"""Larger packets would be fragmented on the way (RFC 3551 section 4.2 advises against that)."""

_KEYS = "0-16"
"""Events understood: the keys 0-9 * # A-D, and flash (RFC 4733 section 3.2)."""
_OPUS_HERE = "maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;sprop-stereo=0;useinbandfec=1"
"""What we say of our own decoder: 16 kHz mono, and lost frames are taken from the next packet."""
_OPUS_BITRATES = range(6_000, 510_001)
_MUXED = range(64, 96)
"""Payload types that look like RTCP where both share a port (RFC 5761 section 4)."""
_PARAMETER = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*([A-Za-z0-9.-]+)\s*", re.ASCII)

_OURS: dict[CodecName, tuple[Codec, ...]] = {
    "PCMU": (Codec(payload_type=0, name="PCMU", rate_hz=NARROWBAND_HZ),),
    "PCMA": (Codec(payload_type=8, name="PCMA", rate_hz=NARROWBAND_HZ),),
    "G722": (Codec(payload_type=9, name="G722", rate_hz=NARROWBAND_HZ),),
    "OPUS": (Codec(payload_type=96, name="OPUS", rate_hz=48_000, channels=2),),
    "L16": (
        Codec(payload_type=97, name="L16", rate_hz=WIDEBAND_HZ),
        Codec(payload_type=98, name="L16", rate_hz=NARROWBAND_HZ),
    ),
}
"""In our own offers; 44.1 kHz is taken but not asked for."""
_EVENT_NUMBERS = {NARROWBAND_HZ: 101, 48_000: 102, WIDEBAND_HZ: 103}


class NoCodec(ValueError):
    """A stream has no format that we take."""


def choose(stream: Stream, terms: Terms) -> tuple[Codec, CodecName]:
    """The codec of a stream that is taken. Raises NoCodec."""
    usable = [(codec, name) for codec in stream.codecs if (name := _taken(codec, terms.codecs))]
    if not usable:
        raise NoCodec(f"taken are {', '.join(terms.codecs)}")
    if terms.our_order:
        usable.sort(key=lambda found: terms.codecs.index(found[1]))
    return usable[0]


def media_format(stream: Stream, codec: Codec, name: CodecName, terms: Terms) -> MediaFormat:
    """What is agreed on for a stream and its chosen codec, sending and receiving. Raises NoCodec."""
    clock_hz = _RATES[name][0] if name != "L16" else codec.rate_hz
    events = _events(stream, clock_hz)
    noise = None if name == "OPUS" or stream.keeps_talking else _noise(stream, clock_hz)
    chosen = [codec.payload_type, *(other.payload_type for other in (events, noise) if other)]
    return MediaFormat(
        codec=name, payload_type=codec.payload_type, clock_rate_hz=clock_hz,
        dtmf_payload_type=events.payload_type if events else None,
        dtmf_clock_rate_hz=events.rate_hz if events else NARROWBAND_HZ,
        comfort_noise_payload_type=noise.payload_type if noise else None,
        ptime_ms=_ptime(stream, name, clock_hz),
        opus=_opus(codec.fmtp) if name == "OPUS" else OpusSettings(),
        rtcp_mux=terms.rtcp_mux and stream.rtcp_mux and not any(number in _MUXED for number in chosen),
    )  # fmt: skip


def agreed(chosen: MediaFormat) -> list[Codec]:
    """The lines of our answer."""
    channels = 2 if chosen.codec == "OPUS" else 1  # RFC 7587 section 4.1: always 2, whatever is sent
    voice = Codec(
        payload_type=chosen.payload_type, name=chosen.codec, rate_hz=chosen.clock_rate_hz, channels=channels
    )
    lines = [_with_fmtp(voice)]
    if chosen.comfort_noise_payload_type is not None:
        lines.append(
            Codec(payload_type=chosen.comfort_noise_payload_type, name=NOISE, rate_hz=chosen.clock_rate_hz)
        )
    if chosen.dtmf_payload_type is not None:
        event = Codec(payload_type=chosen.dtmf_payload_type, name=EVENTS, rate_hz=chosen.dtmf_clock_rate_hz)
        lines.append(_with_fmtp(event))
    return lines


def offered(terms: Terms, peer: Sequence[Codec] = ()) -> tuple[Codec, ...]:
    """The lines of an offer of ours. A number that the peer has used in this session keeps its meaning, and a codec its
    number (RFC 3264 section 8.3.2).
    """
    voices = [codec for name in terms.codecs for codec in _OURS[name]]
    clocks = sorted({codec.rate_hz for codec in voices} & set(_EVENT_NUMBERS))
    events = [Codec(payload_type=_EVENT_NUMBERS[hz], name=EVENTS, rate_hz=hz) for hz in clocks]
    noise = [Codec(payload_type=13, name=NOISE, rate_hz=NARROWBAND_HZ)] if NARROWBAND_HZ in clocks else []
    used: dict[int, tuple[str, int]] = {codec.payload_type: (codec.name, codec.rate_hz) for codec in peer}
    lines = []
    for codec in (*voices, *noise, *events):
        known = [number for number, what in used.items() if what == (codec.name, codec.rate_hz)]
        number = known[0] if known else _free(codec.payload_type, used)
        if number is None:
            continue
        used[number] = (codec.name, codec.rate_hz)
        line = Codec(payload_type=number, name=codec.name, rate_hz=codec.rate_hz, channels=codec.channels)
        lines.append(_with_fmtp(line))
    return tuple(lines)


def attributes(codecs: Iterable[Codec]) -> dict[str, list[str]]:
    """a=rtpmap and a=fmtp of a description."""
    lines: dict[str, list[str]] = {"rtpmap": [], "fmtp": []}
    for codec in codecs:
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        name = _SPELLED.get(codec.name, codec.name)
        lines["rtpmap"].append(f"{codec.payload_type} {name}/{codec.rate_hz}{channels}")
        if codec.fmtp:
            lines["fmtp"].append(f"{codec.payload_type} {codec.fmtp}")
    return {name: values for name, values in lines.items() if values}


def _taken(codec: Codec, names: Sequence[CodecName]) -> CodecName | None:
    for name in names:
        if codec.name != name:
            continue
        stereo = codec.channels > 2 if name == "OPUS" else codec.channels > 1
        # The clock of G.722 is 8,000 by an old mistake (RFC 3551 section 4.5.2); who corrects it means the same.
        rate_hz = NARROWBAND_HZ if name == "G722" and codec.payload_type == 9 else codec.rate_hz
        return name if rate_hz in _RATES[name] and not stereo else None
    return None


def _events(stream: Stream, clock_hz: int) -> Codec | None:
    """Key presses at the clock of the audio, for they share its timestamps (RFC 4733 section 2.1); else at 8,000, which
    many offer beside every codec, else at whatever there is.
    """
    found = [codec for codec in stream.codecs if codec.name == EVENTS and codec.rate_hz > 0]
    found.sort(key=lambda codec: (codec.rate_hz != clock_hz, codec.rate_hz != NARROWBAND_HZ))
    return found[0] if found else None


def _noise(stream: Stream, clock_hz: int) -> Codec | None:
    """RFC 3389 section 4: the clock of comfort noise is that of the audio."""
    found = (codec for codec in stream.codecs if codec.name == NOISE and codec.rate_hz == clock_hz)
    return next(found, None)


def _ptime(stream: Stream, name: CodecName, clock_hz: int) -> int:
    """What we send: as asked for, where we can, and never longer than what may be sent."""
    limit = min(stream.max_ptime_ms or _PTIMES[-1], _longest_ms(name, clock_hz))
    fitting = [ms for ms in (_OPUS_PTIMES if name == "OPUS" else _PTIMES) if ms <= limit]
    if not fitting:
        raise NoCodec(f"packets are {_PTIMES[0]} ms or longer")
    wanted = stream.ptime_ms or TICK_MS
    return max((ms for ms in fitting if ms <= wanted), default=fitting[0])


def _longest_ms(name: CodecName, clock_hz: int) -> int:
    return _PAYLOAD_MAX_BYTES * 1_000 // (2 * clock_hz) if name == "L16" else _PTIMES[-1]


def _opus(fmtp: str) -> OpusSettings:
    """What the peer's decoder asks of our encoder (RFC 7587 section 6.1); what is out of range is not said."""
    values = {m[1].lower(): m[2] for m in map(_PARAMETER.fullmatch, fmtp.split(";")) if m}
    bitrate = _integer(values.get("maxaveragebitrate", ""))
    playback_hz = _integer(values.get("maxplaybackrate", ""))
    return OpusSettings(
        max_playback_hz=playback_hz if 8_000 <= playback_hz <= 48_000 else 48_000,
        max_average_bitrate=bitrate if bitrate in _OPUS_BITRATES else 0,
        use_inband_fec=values.get("useinbandfec") == "1",
        use_dtx=values.get("usedtx") == "1",
    )


def _integer(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _with_fmtp(codec: Codec) -> Codec:
    fmtp = {EVENTS: _KEYS, "OPUS": _OPUS_HERE}.get(codec.name, "")
    return Codec(
        payload_type=codec.payload_type,
        name=codec.name,
        rate_hz=codec.rate_hz,
        channels=codec.channels,
        fmtp=fmtp,
    )


def _free(wanted: int, used: dict[int, tuple[str, int]]) -> int | None:
    """`wanted`, or a dynamic number that means nothing yet."""
    return next((number for number in (wanted, *range(96, 128)) if number not in used), None)
