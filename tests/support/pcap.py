"""Captures written by a test: UDP datagrams at exact times in the classic pcap format, as tshark reads it."""

import socket
import struct
from pathlib import Path
from typing import NamedTuple

_MAGIC_NS = 0xA1B23C4D
"""Nanosecond time stamps."""
_RAW_IP = 101
EPOCH_NS = 1_700_000_000 * 1_000_000_000
"""Virtual time 0 in the capture."""


class Datagram(NamedTuple):
    at_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


def _packet(datagram: Datagram) -> bytes:
    """IPv4 and UDP around the data; the UDP checksum is left out, as it may be."""
    length = 8 + len(datagram.data)
    udp = struct.pack("!HHHH", datagram.source[1], datagram.target[1], length, 0) + datagram.data
    addresses = socket.inet_aton(datagram.source[0]) + socket.inet_aton(datagram.target[0])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + udp


def write(path: Path, datagrams: list[Datagram]) -> Path:
    """All datagrams, in the order of their times."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", _MAGIC_NS, 2, 4, 0, 0, 65_535, _RAW_IP))
        for datagram in sorted(datagrams, key=lambda one: one.at_ns):
            packet = _packet(datagram)
            seconds, rest = divmod(EPOCH_NS + datagram.at_ns, 1_000_000_000)
            file.write(struct.pack("<IIII", seconds, rest, len(packet), len(packet)) + packet)
    return path


def call_set_up(
    caller: tuple[str, int], farm: tuple[str, int], payload_type: int, name: str
) -> list[Datagram]:
    """An offer and its answer, from which tshark learns the clock of a dynamic payload type."""

    def sdp(host: str, port: int) -> str:
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {name}\r\n"
        )

    def sip(first: str, host: str, port: int) -> bytes:
        body = sdp(host, port)
        return (
            f"{first}\r\nVia: SIP/2.0/UDP {caller[0]}:5060;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n"
            f"To: <sip:b@x>;tag=2\r\nCall-ID: trace\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{host}>\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    return [
        Datagram(-2_000_000, (caller[0], 5060), (farm[0], 5060), sip("INVITE sip:b@x SIP/2.0", *caller)),
        Datagram(-1_000_000, (farm[0], 5060), (caller[0], 5060), sip("SIP/2.0 200 OK", *farm)),
    ]
