"""Reads a session description into what negotiation needs (RFC 8866; RFC 3605 for a=rtcp).

aiosipua parses; it stops at things that do no harm (`b=AS:64.5`, an rtpmap without a rate, `m=audio 4000/2`), so lines
we do not use are dropped before and the rest is checked here. Knows nothing of what we would accept: `a=fmtp` and
`a=crypto` are handed on as text.
"""

import re
from dataclasses import dataclass
from typing import get_args

from aiosipua import Codec as ParsedCodec
from aiosipua import MediaDescription, SdpMessage, parse_sdp

from shared.contracts import Direction

_RTPMAP = re.compile(r"a=rtpmap:\d{1,3} [A-Za-z0-9._+-]+/\d{1,6}(/\d{1,3})?\s*", re.ASCII)
_FMTP = re.compile(r"a=fmtp:\d{1,3} [^\r\n]{1,512}", re.ASCII)
_MEDIA = re.compile(r"m=([A-Za-z0-9]+) (\d{1,5})(/\d{1,5})? ([A-Za-z0-9/]+)((?: [^\s]+)+)\s*", re.ASCII)
_SPACED = ("m=", "a=rtpmap:", "a=fmtp:")
_SPACES = re.compile(r"[ \t]+")
_KEPT = "vosmca"
_LINES_MAX = 256
_MEDIA_MAX = 16
_NUMBER = re.compile(r"\d{1,5}", re.ASCII)

_STATIC = {10: ("L16", 44_100, 2), 11: ("L16", 44_100, 1), 13: ("CN", 8_000, 1)}
"""Payload types of RFC 3551 that aiosipua does not know and that need no rtpmap."""


class BadSdp(ValueError):
    """Not a session description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A payload type as its description names it; `name` in upper case, empty when unknown."""

    payload_type: int
    name: str
    rate_hz: int
    channels: int = 1
    fmtp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One m= section. `host` is "" where neither it nor the session has a c= line."""

    media: str
    port: int
    proto: str
    formats: tuple[str, ...]
    host: str
    address_type: str
    rtcp_port: int
    direction: Direction
    codecs: tuple[Codec, ...]
    max_ptime_ms: int
    several_ports: bool
    ptime_ms: int = 0
    """What the sender of the description wants to receive; 0: it does not say."""
    rtcp_mux: bool = False
    crypto: tuple[str, ...] = ()
    """Values of its a=crypto lines, in order."""
    has_fingerprint: bool = False
    """A certificate for DTLS-SRTP is announced, here or for the session."""
    keeps_talking: bool = False
    """`a=silenceSupp:off` (RFC 3108): silence is to be sent as audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A session description."""

    streams: tuple[Stream, ...]


def read(text: str) -> Description:
    """The description in a body. Raises BadSdp."""
    lines = [_spaced(line.rstrip("\r")) for line in text.strip("\r\n").split("\n")]
    if lines[0].strip() != "v=0" or len(lines) > _LINES_MAX:
        raise BadSdp("does not begin with v=0" if len(lines) <= _LINES_MAX else "too many lines")
    several = [match[3] not in {None, "/1"} for match in map(_MEDIA.fullmatch, lines) if match]
    kept = [_plain(line) for line in lines if _is_kept(line)]
    try:
        parsed = parse_sdp("\r\n".join(kept))
    except (ValueError, IndexError, TypeError) as error:
        raise BadSdp(str(error)) from error
    if not 0 < len(parsed.media) <= _MEDIA_MAX:
        raise BadSdp(f"{len(parsed.media)} media lines")
    return Description(
        streams=tuple(_stream(parsed, media, many) for media, many in zip(parsed.media, several, strict=True))
    )


def _spaced(line: str) -> str:
    """Two spaces, or one after `a=rtpmap:`, are nowhere allowed and widely sent; read as they are they would cost a codec."""
    if not line.startswith(_SPACED):
        return line
    name, colon, value = _SPACES.sub(" ", line).partition(":")
    return f"{name}{colon}{value.lstrip(' ')}"


def _is_kept(line: str) -> bool:
    if not line or any(ord(c) < 32 and c != "\t" for c in line):
        if line:
            raise BadSdp("control characters")
        return False
    if line.splitlines() != [line]:  # U+0085, U+2028: the parser would see a line that was not checked here
        raise BadSdp("line separator inside a line")
    if len(line) < 2 or line[1] != "=":
        raise BadSdp(f"not a line of SDP: {line[:40]!r}")
    if line[0] == "m" and not _MEDIA.fullmatch(line):
        raise BadSdp(f"media line {line[:60]!r}")
    if line.startswith("a=rtpmap:"):
        return _RTPMAP.fullmatch(line) is not None
    if line.startswith("a=fmtp:"):
        return _FMTP.fullmatch(line) is not None
    return line[0] in _KEPT


def _plain(line: str) -> str:
    match = _MEDIA.fullmatch(line)
    return f"m={match[1]} {match[2]} {match[4]}{match[5]}" if match else line


def _stream(session: SdpMessage, media: MediaDescription, several_ports: bool) -> Stream:  # noqa: FBT001
    connection = media.connection or session.connection
    if media.port > 65_535:
        raise BadSdp(f"port {media.port}")
    return Stream(
        media=media.media.lower(), port=media.port, proto=media.proto.upper(), formats=tuple(media.formats),
        host=connection.address if connection else "",
        address_type=connection.addr_type.upper() if connection else "",
        rtcp_port=_rtcp_port(media), direction=_direction(session, media),
        codecs=tuple(_codec(codec) for codec in media.codecs), max_ptime_ms=_number(media, "maxptime"),
        several_ports=several_ports, ptime_ms=_number(media, "ptime"), rtcp_mux="rtcp-mux" in media.attributes,
        crypto=tuple(media.attributes.get("crypto", ())),
        has_fingerprint="fingerprint" in media.attributes or "fingerprint" in session.attributes,
        keeps_talking=(media.attributes.get("silenceSupp") or [""])[0].strip().lower().startswith("off"),
    )  # fmt: skip


def _codec(codec: ParsedCodec) -> Codec:
    if not 0 <= codec.payload_type <= 127:
        raise BadSdp(f"payload type {codec.payload_type}")
    name, rate_hz, channels = codec.encoding_name.upper(), codec.clock_rate, codec.channels or 1
    if not name:
        name, rate_hz, channels = _STATIC.get(codec.payload_type, ("", 0, 1))
    return Codec(
        payload_type=codec.payload_type, name=name, rate_hz=rate_hz, channels=channels, fmtp=codec.fmtp or ""
    )


def _direction(session: SdpMessage, media: MediaDescription) -> Direction:
    """The stream's own attribute, else the session's, else sendrecv (RFC 8866 section 6.7)."""
    for attributes in (media.attributes, session.attributes):
        for direction in get_args(Direction):
            if direction in attributes:
                return direction  # type: ignore[no-any-return]
    return "sendrecv"


def _rtcp_port(media: MediaDescription) -> int:
    text = (media.attributes.get("rtcp") or [""])[0].split(" ")[0]
    port = int(text) if _NUMBER.fullmatch(text) else 0
    return port if 0 < port < 65_536 else 0


def _number(media: MediaDescription, name: str) -> int:
    text = (media.attributes.get(name) or [""])[0].strip()
    return int(text) if _NUMBER.fullmatch(text) else 0
