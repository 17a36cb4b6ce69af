"""A caller's SDP: G.711 and telephone-event offered, the answer read (RFC 3264, RFC 4566, RFC 4733). No I/O."""

from dataclasses import dataclass
from typing import Literal

from aiosipua.sdp import MediaDescription, SdpMessage, parse_sdp

_STATIC = {"0": "PCMU", "8": "PCMA"}
_MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@dataclass(frozen=True, slots=True)
class Remote:
    """Where our audio goes and as what."""

    host: str
    port: int
    codec: Literal["PCMU", "PCMA"]
    payload_type: int
    dtmf_payload_type: int | None
    direction: str
    """As the farm states it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What this caller can do."""

    host: str
    rtp_port: int
    session: int
    codecs: tuple[Literal["PCMU", "PCMA"], ...] = ("PCMU", "PCMA")
    dtmf_payload_type: int = 101

    def sdp(self, direction: str = "sendrecv", version: int = 1) -> bytes:
        """The session description."""
        numbers = [number for codec in self.codecs for number, name in _STATIC.items() if name == codec]
        lines = [
            "v=0",
            f"o=- {self.session} {version} IN IP4 {self.host}",
            "s=-",
            f"c=IN IP4 {self.host}",
            "t=0 0",
            f"m=audio {self.rtp_port} RTP/AVP {' '.join([*numbers, str(self.dtmf_payload_type)])}",
            *(f"a=rtpmap:{number} {_STATIC[number]}/8000" for number in numbers),
            f"a=rtpmap:{self.dtmf_payload_type} telephone-event/8000",
            f"a=fmtp:{self.dtmf_payload_type} 0-16",
            "a=ptime:20",
            f"a={direction}",
        ]
        return "".join(f"{line}\r\n" for line in lines).encode()


def answer_again(offer: Offer, remote: Remote) -> bytes:
    """Our answer to a re-INVITE: what we offered, with the direction the new offer leaves us."""
    return offer.sdp(_MIRROR.get(remote.direction, "sendrecv"))


def read_answer(body: bytes) -> Remote | None:
    """The first audio stream that we can speak, or None."""
    try:
        sdp = parse_sdp(body.decode("utf-8"))
    except (ValueError, IndexError):  # aiosipua's parser on malformed lines
        return None
    audio = sdp.audio
    if audio is None or not 0 < audio.port < 65_536 or audio.proto != "RTP/AVP":
        return None
    host = _host(sdp, audio)
    number = next((number for number in audio.formats if number in _STATIC), None)
    if number is None or not host:
        return None
    return Remote(
        host=host, port=audio.port, codec="PCMU" if number == "0" else "PCMA", payload_type=int(number),
        dtmf_payload_type=_dtmf(audio), direction=_direction(sdp, audio),
    )  # fmt: skip


def _host(sdp: SdpMessage, audio: MediaDescription) -> str:
    connection = audio.connection or sdp.connection
    return connection.address if connection else ""


def _dtmf(audio: MediaDescription) -> int | None:
    names = ((codec.payload_type, codec.encoding_name.lower()) for codec in audio.codecs)
    return next((number for number, name in names if name == "telephone-event"), None)


def _direction(sdp: SdpMessage, audio: MediaDescription) -> str:
    for attributes in (audio.attributes, sdp.attributes):
        for direction in _MIRROR:
            if direction in attributes:
                return direction
    return "sendrecv"
