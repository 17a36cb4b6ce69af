"""Offer and answer (RFC 3264): what of a description we agree to, and our own description.

Every m= line of an offer has its line in the answer, those we do not take with port 0 (section 6). What is refused is
refused with a Warning code of RFC 3261 section 20.43: profiles without keys of ours, multicast, names instead of
addresses, IPv6. Codecs are `codecs`, keys `crypto`, what we are willing to do `terms`.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiosipua import ConnectionData, MediaDescription, Origin, SdpMessage, serialize_sdp

from shared.contracts import Direction, MediaFormat, RtpEndpoint, SrtpKeys
from sipfront.core import codecs, crypto
from sipfront.core.crypto import KEY_BYTES, CryptoLine, NoKeys
from sipfront.core.sdp import Codec, Description, Stream
from sipfront.core.terms import Terms

_REVERSED: dict[Direction, Direction] = {
    "sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive",
}  # fmt: skip
_NOT_SENDING: dict[Direction, Direction] = {
    "sendrecv": "recvonly", "sendonly": "inactive", "recvonly": "recvonly", "inactive": "inactive",
}  # fmt: skip
_PLAIN = frozenset({"RTP/AVP", "RTP/AVPF"})
"""AVPF is answered as such: it allows feedback, and asks for none (RFC 4585 section 3.2)."""
_SECURE = frozenset({"RTP/SAVP", "RTP/SAVPF"})
_NOWHERE = RtpEndpoint(host="0.0.0.0", rtp_port=9)  # no address yet: the answer comes with the ACK

W_TRANSPORT, W_ADDRESS, W_MEDIA, W_FORMAT, W_MULTICAST, W_OTHER = 302, 301, 304, 305, 330, 399

Fresh = Callable[[int], bytes]
"""So many octets that nobody can guess."""


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
class Offered:
    """An offer of ours whose answer has not come."""

    codecs: tuple[Codec, ...]
    crypto: tuple[CryptoLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What both sides do: the peer's address, our format, and the m= lines of the answer in order (None is ours)."""

    remote: RtpEndpoint
    format: MediaFormat
    lines: tuple[Mirror | None, ...] = (None,)
    proto: str = "RTP/AVP"
    srtp: SrtpKeys | None = None
    crypto_tag: int = 0
    """Which of the peer's a=crypto lines was taken."""
    peer: tuple[Codec, ...] = ()
    """What the peer's payload numbers mean."""
    offered: Offered | None = None

    def same_media(self, other: "Agreement") -> bool:
        """Whether the media worker has nothing to change between the two."""
        return (self.remote, self.format, self.srtp) == (other.remote, other.format, other.srtp)


def negotiate(offer: Description, terms: Terms, fresh: Fresh, before: Agreement | None = None) -> Agreement:
    """What we agree to when the peer offers; `before` is what held until now. Raises NotAcceptable."""

    def keys_of(stream: Stream) -> CryptoPair:
        return _answered_keys(stream, terms, fresh, before)

    return _settle(offer, terms, keys_of)


def our_offer(terms: Terms, fresh: Fresh, before: Agreement | None = None) -> Agreement:
    """For an INVITE without an offer (RFC 3261 section 13.2.1): nothing flows, or changes, before the ACK brings the answer."""
    peer = before.peer if before else ()
    lines: tuple[CryptoLine, ...] = ()
    if before and before.srtp:
        lines = (CryptoLine(before.crypto_tag, before.srtp.suite, before.srtp.local),)
    elif terms.srtp == "required":
        pairs = enumerate(terms.suites, start=1)
        lines = tuple(CryptoLine(tag, suite, fresh(KEY_BYTES[suite])) for tag, suite in pairs)
    listed = Offered(codecs=codecs.offered(terms, peer), crypto=lines)
    if before:
        return replace(before, offered=listed)
    first = listed.codecs[0]
    return Agreement(
        remote=_NOWHERE, proto="RTP/SAVP" if lines else "RTP/AVP", offered=listed,
        format=MediaFormat(
            codec=terms.codecs[0], payload_type=first.payload_type, clock_rate_hz=first.rate_hz, direction="inactive"
        ),
    )  # fmt: skip


def accept(answer: Description, ours: Agreement, terms: Terms) -> Agreement:
    """What the peer's answer to our offer comes to. Raises NotAcceptable."""
    offered = ours.offered.crypto if ours.offered else ()

    def keys_of(stream: Stream) -> CryptoPair:
        if stream.proto != ours.proto:
            raise NotAcceptable(W_TRANSPORT, f"{ours.proto} was offered")
        return _accepted_keys(stream, offered, must=ours.proto in _SECURE or terms.srtp == "required")

    return _settle(answer, terms, keys_of)


def describe(agreement: Agreement, host: str, port: int, session_id: int, version: int) -> bytes:
    """Our session description at `host`:`port`; the version rises with every change (section 8)."""
    kind = "IP6" if ":" in host else "IP4"
    sdp = SdpMessage(
        origin=Origin("-", str(session_id), str(version), "IN", kind, host), session_name="-",
        connection=ConnectionData("IN", kind, host),
        media=[_ours(agreement, port) if line is None else _refused(line) for line in agreement.lines],
    )  # fmt: skip
    return serialize_sdp(sdp).encode()


# --- one stream out of many

CryptoPair = tuple[int, SrtpKeys | None]
"""The tag of the peer's line that was taken, and the keys of both directions."""


def _settle(description: Description, terms: Terms, keys_of: Callable[[Stream], CryptoPair]) -> Agreement:
    """The first audio stream that can be taken."""
    problem: NotAcceptable | None = None
    for index, stream in enumerate(description.streams):
        if stream.media != "audio" or stream.port == 0:
            continue
        try:
            agreed = _agree(stream, terms, keys_of)
        except NotAcceptable as error:
            problem = problem or error
            continue
        lines = [_mirror(other) for other in description.streams]
        return replace(agreed, lines=(*lines[:index], None, *lines[index + 1 :]))
    raise problem or NotAcceptable(W_MEDIA, "no audio stream")


def _agree(stream: Stream, terms: Terms, keys_of: Callable[[Stream], CryptoPair]) -> Agreement:
    if stream.proto not in _PLAIN | _SECURE:
        raise NotAcceptable(W_TRANSPORT, f"{stream.proto[:32]} is not taken, RTP/AVP and RTP/SAVP are")
    if stream.several_ports:
        raise NotAcceptable(W_TRANSPORT, "one port per stream")
    tag, keys = keys_of(stream)
    try:
        codec, name = codecs.choose(stream, terms)
        chosen = codecs.media_format(stream, codec, name, terms)
    except codecs.NoCodec as error:
        raise NotAcceptable(W_FORMAT, str(error)) from error
    remote = RtpEndpoint(host=_host(stream), rtp_port=stream.port, rtcp_port=stream.rtcp_port)
    direction = _REVERSED[stream.direction]
    if stream.host == "0.0.0.0":  # hold as RFC 2543 had it (RFC 3264 section 8.4)
        direction = _NOT_SENDING[direction]
    _check_egress(remote, direction, terms)
    return Agreement(
        remote=remote, format=_turned(chosen, direction), proto=stream.proto, srtp=keys, crypto_tag=tag,
        peer=stream.codecs,
    )  # fmt: skip


def _check_egress(remote: RtpEndpoint, direction: Direction, terms: Terms) -> None:
    """Whoever names an address that is not its own would have us send there."""
    sends = direction in {"sendrecv", "sendonly"}
    for port in (remote.rtp_port, remote.rtcp_port or remote.rtp_port + 1):
        why = terms.egress.why_refused(remote.host, port, sends=sends)
        if why:
            raise NotAcceptable(W_OTHER, why)


def _turned(chosen: MediaFormat, direction: Direction) -> MediaFormat:
    fields = {name: getattr(chosen, name) for name in chosen.__struct_fields__}
    return MediaFormat(**(fields | {"direction": direction}))


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


# --- keys


def _answered_keys(stream: Stream, terms: Terms, fresh: Fresh, before: Agreement | None) -> CryptoPair:
    """The keys for the stream of an offer. Keys in RTP/AVP are an offer to encrypt where both can (RFC 8643)."""
    secure = stream.proto in _SECURE
    if terms.srtp == "off" and secure:
        raise NotAcceptable(W_TRANSPORT, "SRTP is not taken here, RTP/AVP is")
    if terms.srtp == "off":
        return 0, None
    try:
        line = crypto.choose(stream.crypto, terms.suites)
    except NoKeys as error:
        if not secure and terms.srtp == "optional":
            return 0, None
        dtls = ", DTLS-SRTP is not taken" if stream.has_fingerprint else ""
        raise NotAcceptable(W_TRANSPORT, f"SRTP needs SDES keys: {error}{dtls}") from error
    held = before.srtp if before else None
    # The same line again is the same stream going on: a key of ours that changed would restart the peer's packet count.
    again = held is not None and (held.suite, held.remote) == (line.suite, line.key)
    local = held.local if held and again else fresh(KEY_BYTES[line.suite])
    return line.tag, SrtpKeys(suite=line.suite, local=local, remote=line.key)


def _accepted_keys(stream: Stream, offered: tuple[CryptoLine, ...], *, must: bool) -> CryptoPair:
    """The keys for the stream of an answer: the peer names the line of ours that it took (RFC 4568 section 5.1.3). Those of
    an offer in RTP/AVP may be left aside, unless there `must` be keys.
    """
    if not offered:
        return 0, None
    for text in stream.crypto:
        try:
            line = crypto.read_line(text)
        except NoKeys as error:
            raise NotAcceptable(W_TRANSPORT, f"SRTP needs SDES keys: {error}") from error
        for mine in offered:
            if (mine.tag, mine.suite) == (line.tag, line.suite):
                return mine.tag, SrtpKeys(suite=mine.suite, local=mine.key, remote=line.key)
    if must:
        raise NotAcceptable(W_TRANSPORT, "SRTP needs SDES keys: none of the offered lines was taken")
    return 0, None


# --- writing


def _mirror(stream: Stream) -> Mirror:
    return Mirror(media=stream.media, proto=stream.proto, formats=stream.formats)


def _refused(line: Mirror) -> MediaDescription:
    return MediaDescription(media=line.media, port=0, proto=line.proto, formats=list(line.formats))


def _ours(agreement: Agreement, port: int) -> MediaDescription:
    chosen, offered = agreement.format, agreement.offered
    lines = offered.codecs if offered else tuple(codecs.agreed(chosen))
    attributes = codecs.attributes(lines)
    keys = [line.text() for line in offered.crypto] if offered else _key_line(agreement)
    if keys:
        attributes["crypto"] = keys
    attributes["ptime"] = [str(chosen.ptime_ms)]
    if chosen.rtcp_mux:
        attributes["rtcp-mux"] = []
    attributes["sendrecv" if offered else chosen.direction] = []
    numbers = [str(line.payload_type) for line in lines]
    return MediaDescription(
        media="audio", port=port, proto=agreement.proto, formats=numbers, attributes=attributes
    )


def _key_line(agreement: Agreement) -> list[str]:
    """Our own key under the tag of the peer's line (RFC 4568 section 5.1.2)."""
    keys = agreement.srtp
    return [CryptoLine(agreement.crypto_tag, keys.suite, keys.local).text()] if keys else []
