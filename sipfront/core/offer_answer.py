"""Offer and answer (RFC 3264): G.711 and telephone-event (RFC 4733), the offerer's own payload numbers.

Codecs are matched by name and rate, never by number alone. Every m= line of an offer has its line in the answer, those we
do not take with port 0 (section 6). Secure profiles without keys of ours, multicast, names instead of addresses and
IPv6 are refused with the Warning code of RFC 3261 section 20.43.
"""

import ipaddress
from dataclasses import dataclass

from aiosipua import ConnectionData, MediaDescription, Origin, SdpMessage, serialize_sdp

from shared.contracts import CodecName, Direction, MediaFormat, RtpEndpoint
from shared.units import NARROWBAND_HZ, TICK_MS
from sipfront.core.sdp import Codec, Description, Stream

_REVERSED: dict[Direction, Direction] = {
    "sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive",
}  # fmt: skip
_NOT_SENDING: dict[Direction, Direction] = {
    "sendrecv": "recvonly", "sendonly": "inactive", "recvonly": "recvonly", "inactive": "inactive",
}  # fmt: skip
_VOICE: dict[str, CodecName] = {"PCMU": "PCMU", "PCMA": "PCMA"}
_EVENTS = "TELEPHONE-EVENT"
_PROFILE = "RTP/AVP"
_NOWHERE = RtpEndpoint(host="0.0.0.0", rtp_port=9)  # no address yet: the answer comes with the ACK

W_TRANSPORT, W_ADDRESS, W_MEDIA, W_FORMAT, W_MULTICAST = 302, 301, 304, 305, 330


class NotAcceptable(ValueError):
    """A description nothing of which we can take; `warning` is its code."""

    def __init__(self, warning: int, text: str) -> None:
        super().__init__(text)
        self.warning = warning
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """An m= line to repeat in the answer, refused."""

    media: str
    proto: str
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What both sides do: the peer's address, our format, and the m= lines of the answer in order (None is ours)."""

    remote: RtpEndpoint
    format: MediaFormat
    lines: tuple[Mirror | None, ...] = (None,)
    offered: bool = False
    """We made the offer and its answer has not come: all our formats are listed."""


OUR_OFFER = Agreement(
    remote=_NOWHERE,
    format=MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=101, direction="inactive"),
    offered=True,
)
"""For an INVITE without an offer (RFC 3261 section 13.2.1): nothing flows before the ACK brings the answer."""


def negotiate(offer: Description) -> Agreement:
    """What we agree to. Raises NotAcceptable."""
    problem: NotAcceptable | None = None
    for index, stream in enumerate(offer.streams):
        if stream.media != "audio" or stream.port == 0:
            continue
        try:
            voice, host = _voice(stream), _host(stream)
        except NotAcceptable as error:
            problem = problem or error
            continue
        lines = [_mirror(other) for other in offer.streams]
        return Agreement(
            remote=RtpEndpoint(host=host, rtp_port=stream.port, rtcp_port=stream.rtcp_port),
            format=_format(stream, voice),
            lines=(*lines[:index], None, *lines[index + 1 :]),
        )
    raise problem or NotAcceptable(W_MEDIA, "no audio stream")


def describe(agreement: Agreement, host: str, port: int, session_id: int, version: int) -> bytes:
    """Our session description at `host`:`port`; the version rises with every change (section 8)."""
    kind = "IP6" if ":" in host else "IP4"
    sdp = SdpMessage(
        origin=Origin("-", str(session_id), str(version), "IN", kind, host), session_name="-",
        connection=ConnectionData("IN", kind, host),
        media=[_ours(agreement, port) if line is None else _refused(line) for line in agreement.lines],
    )  # fmt: skip
    return serialize_sdp(sdp).encode()


def _voice(stream: Stream) -> Codec:
    if stream.proto != _PROFILE:
        raise NotAcceptable(W_TRANSPORT, f"{stream.proto[:32]} is not taken, RTP/AVP is")
    if stream.several_ports:
        raise NotAcceptable(W_TRANSPORT, "one port per stream")
    if 0 < stream.max_ptime_ms < TICK_MS:
        raise NotAcceptable(W_FORMAT, f"packets are {TICK_MS} ms")
    for codec in stream.codecs:
        if codec.name in _VOICE and codec.rate_hz == NARROWBAND_HZ and codec.channels == 1:
            return codec
    raise NotAcceptable(W_FORMAT, "PCMU and PCMA are taken")


def _host(stream: Stream) -> str:
    """The peer's IPv4 address."""
    try:
        address = ipaddress.IPv4Address(stream.host.partition("/")[0])
    except ValueError:
        raise NotAcceptable(W_ADDRESS, "an IPv4 address is needed") from None
    if address.is_multicast or "/" in stream.host:
        raise NotAcceptable(W_MULTICAST, "multicast is not taken")
    if int(address) == 0xFFFF_FFFF:
        raise NotAcceptable(W_ADDRESS, "broadcast is not taken")
    return str(address)


def _format(stream: Stream, voice: Codec) -> MediaFormat:
    direction = _REVERSED[stream.direction]
    if stream.host == "0.0.0.0":  # hold as RFC 2543 had it (RFC 3264 section 8.4)
        direction = _NOT_SENDING[direction]
    events = [c.payload_type for c in stream.codecs if c.name == _EVENTS and c.rate_hz == voice.rate_hz]
    return MediaFormat(
        codec=_VOICE[voice.name], payload_type=voice.payload_type, ptime_ms=TICK_MS,
        dtmf_payload_type=events[0] if events else None, direction=direction,
    )  # fmt: skip


def _mirror(stream: Stream) -> Mirror:
    return Mirror(media=stream.media, proto=stream.proto, formats=stream.formats)


def _refused(line: Mirror) -> MediaDescription:
    return MediaDescription(media=line.media, port=0, proto=line.proto, formats=list(line.formats))


def _ours(agreement: Agreement, port: int) -> MediaDescription:
    chosen = agreement.format
    codecs = {chosen.payload_type: chosen.codec}
    if agreement.offered:
        codecs = {0: "PCMU", 8: "PCMA"}
    rtpmap = [f"{number} {name}/{NARROWBAND_HZ}" for number, name in codecs.items()]
    attributes = {"rtpmap": rtpmap}
    if chosen.dtmf_payload_type is not None:
        rtpmap.append(f"{chosen.dtmf_payload_type} telephone-event/{NARROWBAND_HZ}")
        attributes["fmtp"] = [f"{chosen.dtmf_payload_type} 0-15"]
    attributes["ptime"] = [str(chosen.ptime_ms)]
    attributes["sendrecv" if agreement.offered else chosen.direction] = []
    numbers = [line.partition(" ")[0] for line in rtpmap]
    return MediaDescription(media="audio", port=port, proto=_PROFILE, formats=numbers, attributes=attributes)
