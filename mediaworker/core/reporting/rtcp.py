"""RTCP packets (RFC 3550 section 6): compound SR or RR with SDES, XR, BYE, and what a peer's reports say.

Reports are sent each few seconds per leg, so they are built one by one. Must not know rows or addresses.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from mediaworker.core.reporting import xr
from shared.units import NS_PER_S

SR: Final = 200
RR: Final = 201
SDES: Final = 202
BYE: Final = 203
_VERSION: Final = 0x80
_PADDING: Final = 0x20
_NTP_EPOCH_S: Final = 2_208_988_800
"""Seconds from 1900 to 1970."""
_CNAME: Final = 1
_UNITS_PER_S: Final = 65_536
ROUND_TRIP_MAX_S: Final = 60
"""A report answered this late is none of ours: the peer's clock, not the network."""
_EARLY_UNITS: Final = _UNITS_PER_S // 50
"""Two clocks that run apart by up to 20 ms in a minute make a short round trip negative: it is taken as nought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A report block (6.4.1). `jitter` in timestamp units, `lsr` and `dlsr` in 1/65536 s."""

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    jitter: int
    lsr: int = 0
    dlsr: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderInfo:
    ntp: int
    rtp_time: int
    packets: int
    octets: int


@dataclass(slots=True)
class Report:
    """What of a compound packet matters here."""

    ssrc: int = 0
    sender: SenderInfo | None = None
    blocks: list[Block] = field(default_factory=list)
    bye: list[int] = field(default_factory=list)
    extended: xr.Extended | None = None


def ntp_time(wall_ns: int) -> int:
    """64-bit NTP timestamp of a wall clock in ns since 1970."""
    seconds, rest = divmod(wall_ns, NS_PER_S)
    return ((seconds + _NTP_EPOCH_S) & 0xFFFF_FFFF) << 32 | (rest << 32) // NS_PER_S


def middle(ntp: int) -> int:
    """The middle 32 bits, as LSR wants them."""
    return (ntp >> 16) & 0xFFFF_FFFF


def since(then_ns: int, now_ns: int) -> int:
    """A delay as DLSR and DLRR carry it, in 1/65536 s."""
    return max(0, (now_ns - then_ns) * _UNITS_PER_S // NS_PER_S) & 0xFFFF_FFFF


def round_trip_ms(arrival: int, last: int, delay: int) -> float | None:
    """Round trip by the answer to a report of ours (6.4.1; RFC 3611 section 4.5 has the same): `arrival` and `last` are
    middles of NTP times of our own clock, so a step of the peer's does not matter. None where it cannot be known.
    """
    if not last:
        return None
    elapsed = (arrival - last) & 0xFFFF_FFFF
    if elapsed > ROUND_TRIP_MAX_S * _UNITS_PER_S or delay > elapsed + _EARLY_UNITS:
        return None
    return max(0, elapsed - delay) * 1_000 / _UNITS_PER_S


def _header(count: int, kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", _VERSION | count, kind, len(body) // 4) + body


def _write_block(block: Block) -> bytes:
    lost = max(-0x80_0000, min(0x7F_FFFF, block.lost)) & 0xFF_FFFF
    return struct.pack(
        "!IIIIII", block.ssrc, block.fraction_lost << 24 | lost, block.highest & 0xFFFF_FFFF, block.jitter & 0xFFFF_FFFF,
        block.lsr, block.dlsr,
    )  # fmt: skip


def compound(
    ssrc: int,
    cname: str,
    sender: SenderInfo | None,
    block: Block | None,
    *,
    extended: xr.Extended | None = None,
    bye: bool = False,
) -> bytes:
    """A whole compound packet (6.1): SR or RR first, SDES, XR where there is something to say, BYE where the leg ends."""
    blocks = _write_block(block) if block else b""
    count = 1 if block else 0
    head = struct.pack("!I", ssrc)
    if sender:
        info = struct.pack(
            "!QIII",
            sender.ntp,
            sender.rtp_time & 0xFFFF_FFFF,
            sender.packets & 0xFFFF_FFFF,
            sender.octets & 0xFFFF_FFFF,
        )
        first = _header(count, SR, head + info + blocks)
    else:
        first = _header(count, RR, head + blocks)
    name = cname.encode()[:255]
    item = head + bytes((_CNAME, len(name))) + name
    item += b"\0" * (4 - len(item) % 4)
    more = xr.compose(extended) if extended else b""
    return first + _header(1, SDES, item) + more + (_header(1, BYE, head) if bye else b"")


def parse(data: bytes) -> Report | None:
    """Reads a compound packet; None where RFC 3550 appendix A.2 calls it invalid."""
    if len(data) < 8 or data[1] not in {SR, RR} or data[0] & _PADDING:
        return None
    report = Report()
    at = 0
    while at < len(data):
        end = _end(data, at)
        body = _body(data, at, end)
        if body is None or not _read_part(report, data[at + 1], data[at] & 31, body):
            return None
        at = end
    return report


def _end(data: bytes, at: int) -> int:
    """Where the packet that begins at `at` ends by its own word, which may be all of it (SDES or BYE of nobody, 6.5 and
    6.6: "valid but useless"); beyond the data where it has none.
    """
    if len(data) - at < 4:
        return len(data) + 1
    return at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")


def _body(data: bytes, at: int, end: int) -> bytes | None:
    """What follows the first word, padding taken off (6.4.1)."""
    if end > len(data) or data[at] >> 6 != 2:
        return None
    body = data[at + 4 : end]
    if not data[at] & _PADDING:
        return body
    return body[: -body[-1]] if body and 0 < body[-1] <= len(body) else None


def _read_part(report: Report, kind: int, count: int, body: bytes) -> bool:
    if kind == xr.XR:
        report.extended = xr.read(body)
        return report.extended is not None
    if kind == BYE:
        if len(body) < 4 * count:
            return False
        report.bye += struct.unpack_from(f"!{count}I", body)
    elif kind in {SR, RR}:
        blocks_at = 24 if kind == SR else 4
        if len(body) < blocks_at + 24 * count:
            return False
        # The first one names who speaks; a compound packet is one source's.
        report.ssrc = report.ssrc or int.from_bytes(body[:4], "big")
        if kind == SR:
            ntp, rtp_time, packets, octets = struct.unpack_from("!QIII", body, 4)
            report.sender = SenderInfo(ntp=ntp, rtp_time=rtp_time, packets=packets, octets=octets)
        report.blocks += [_read_block(body, blocks_at + 24 * number) for number in range(count)]
    return True


def _read_block(body: bytes, at: int) -> Block:
    ssrc, lost, highest, jitter, lsr, dlsr = struct.unpack_from("!IIIIII", body, at)
    total = lost & 0xFF_FFFF
    if total & 0x80_0000:
        total -= 0x100_0000
    return Block(
        ssrc=ssrc, fraction_lost=lost >> 24, lost=total, highest=highest, jitter=jitter, lsr=lsr, dlsr=dlsr
    )
