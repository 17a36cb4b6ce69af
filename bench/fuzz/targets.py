"""What is fuzzed: a target makes steps, each of which takes some datagrams and says how many.

A step raises where a parser raises what it may not, or breaks a promise: a decoder gives samples or BadPayload, a
description is read or refused, a parser's answer has the types it says.
"""

import struct
from collections import Counter
from collections.abc import Callable

import numpy as np

from bench.fuzz.mutator import Mutator
from mediaworker.core import codecs
from mediaworker.core.address import address_key
from mediaworker.core.codecs import BadPayload
from mediaworker.core.dtmf import DtmfReceiver
from mediaworker.core.inbound.sources import Sources
from mediaworker.core.reporting import rtcp, xr
from mediaworker.core.rows import Rows
from mediaworker.core.srtp import Protection, SrtpLegs
from shared.contracts import MediaFormat
from sipfront.core.offer_answer import NotAcceptable, describe, negotiate
from sipfront.core.sdp import BadSdp, read
from sipfront.core.terms import Terms
from tests.support.coded_caller import KINDS
from tests.support.engine_caller import rtp
from tests.support.srtp_peer import SrtpPeer, keys

Step = Callable[[], int]
BLOCK = rtcp.Block(ssrc=1, fraction_lost=3, lost=-4, highest=70_000, jitter=9, lsr=5, dlsr=6)
SENDER = rtcp.SenderInfo(ntp=1 << 62, rtp_time=7, packets=8, octets=9)


def rtcp_datagrams() -> list[bytes]:
    """One of every shape that we write, and of some that we only read."""
    metrics = xr.VoipMetrics(ssrc=1)
    extended = [
        xr.Extended(ssrc=2, metrics=[metrics]),
        xr.Extended(ssrc=2, metrics=[metrics, metrics], delays=[xr.DelaySince(ssrc=1, last=2, delay=3)], reference_time=5),
    ]  # fmt: skip
    bare = [
        rtcp.compound(2, "a@b", sender, block, bye=bye)
        for sender in (None, SENDER)
        for block in (None, BLOCK)
        for bye in (False, True)
    ]
    with_more = [rtcp.compound(2, "a@b", SENDER, BLOCK, extended=one) for one in extended]
    head = struct.pack("!I", 2)
    others = [
        bare[0] + struct.pack("!BBH", 0x81, 205, 2) + head + head,
        bare[0] + struct.pack("!BBH", 0x82, 206, 3) + head + b"test" + head,
        bare[0] + struct.pack("!BBH", 0x82, 203, 4) + head + head + b"\x06reason\0",
    ]
    return bare + with_more + others


def rtcp_parser(mutator: Mutator) -> Step:
    """`rtcp.parse`, RFC 3611 blocks included."""
    valid = rtcp_datagrams()
    for data in valid:
        if rtcp.parse(data) is None:
            raise AssertionError(f"a valid datagram was refused: {data.hex()}")

    def step() -> int:
        data = mutator.damage(mutator.random.choice(valid))
        found = rtcp.parse(data)
        if found is not None and not all(isinstance(block.lost, int) for block in found.blocks):
            raise AssertionError
        return 1

    return step


def telephone_events(mutator: Mutator) -> Step:
    """RFC 4733 payloads of 16 legs, and what comes of them."""
    receiver = DtmfReceiver()
    valid = [struct.pack("!BBH", event, ended << 7 | 10, 160 * count) for event in range(17) for ended in (0, 1) for count in (1, 9)]  # fmt: skip
    valid += [one + other for one in valid[:4] for other in valid[:4]]
    now_ns = 0

    def step() -> int:
        nonlocal now_ns
        draw = mutator.random
        now_ns += 20_000_000
        receiver.packet(draw.randrange(16), draw.choice((0, 160, 8_000, 0xFFFF_FFFF, draw.getrandbits(32))), mutator.damage(draw.choice(valid)), now_ns)  # fmt: skip
        for event in receiver.take(now_ns):
            if event.duration_ms < 0 or event.digit not in "0123456789*#ABCD!":
                raise AssertionError(event)
        return 1

    return step


def decoder_of(name: str) -> Callable[[Mutator], Step]:
    """One codec's decoder: duration, decode, and conceal from the packet behind."""

    def target(mutator: Mutator) -> Step:
        codec = codecs.find(KINDS[name])
        if codec is None:
            raise AssertionError(name)
        decoder = codec.decoder()
        size = 320 if codec.wide else 160
        valid = encoded(KINDS[name], size)

        def step() -> int:
            payload = mutator.damage(mutator.random.choice(valid))
            lasts = decoder.duration(payload)
            if not 0 <= lasts <= 200 * codec.clock:
                raise AssertionError(f"{len(payload)} octets last {lasts}")
            if mutator.random.randrange(10) == 0:
                if len(decoder.conceal(size, payload)) != size:
                    raise AssertionError
                return 1
            try:
                pcm = decoder.decode(payload)
            except BadPayload:
                return 1
            if pcm.dtype != np.int16:
                raise AssertionError(pcm.dtype)
            return 1

        return step

    return target


def encoded(wanted: MediaFormat, size: int, frames: int = 50) -> list[bytes]:
    """Payloads of a sweep."""
    codec = codecs.find(wanted)
    if codec is None:
        raise AssertionError(wanted.codec)
    encoder = codec.encoder(wanted, codecs.COMPLEXITY)
    time = np.arange(frames * size)
    sweep = (6_000 * np.sin(time * time * (0.7 / len(time)))).astype(np.int16)
    return [encoder.encode(sweep[at * size : (at + 1) * size]) for at in range(frames)]


OFFERS = tuple(
    "\r\n".join([*lines, ""]).encode()
    for lines in (
        [
            "v=0", "o=- 7 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "m=audio 4000 RTP/AVP 8 0 101",
            "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16",
            "a=ptime:20", "a=maxptime:60", "a=sendrecv", "a=rtcp:4001", "a=rtcp-mux",
        ],
        [
            "v=0", "o=a 1 1 IN IP4 10.0.0.9", "s=x", "b=AS:84", "t=0 0", "m=audio 5000 RTP/SAVP 111 9 13 96",
            "c=IN IP4 10.0.0.9", "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 maxplaybackrate=16000;useinbandfec=1;usedtx=1;stereo=0", "a=rtpmap:96 L16/16000",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0|2^31",
            "a=crypto:2 AEAD_AES_128_GCM inline:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3A9", "m=video 6000 RTP/AVP 99",
        ],
    )
)  # fmt: skip


def session_descriptions(mutator: Mutator) -> Step:
    """Offers read, held against what we take, and answered."""
    terms = Terms(codecs=("OPUS", "G722", "PCMU", "PCMA", "L16"), srtp="optional", rtcp_mux=True)

    def step() -> int:
        text = mutator.damage(mutator.random.choice(OFFERS)).decode(errors="replace")
        try:
            agreed = negotiate(read(text), terms, bytes)
        except (BadSdp, NotAcceptable):
            return 1
        read(describe(agreed, "192.0.2.9", 20_000, 1, 1).decode())
        return 1

    return step


def protected(mutator: Mutator) -> Step:
    """SRTP and SRTCP of all suites: damaged ones are refused, untouched ones are not."""
    rows, rejected = Rows(3, 1), Counter[str]()
    legs = SrtpLegs(rows, Sources(rows), rejected)
    source = address_key("192.0.2.1", 4_000)
    peers = []
    for row, suite in enumerate(("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM")):
        rows.take(0)
        rows.source[row] = source
        legs.open(row, Protection(keys(suite)))  # type: ignore[arg-type]
        peers.append(SrtpPeer(keys(suite)))  # type: ignore[arg-type]
    report = rtcp.compound(77, "a@b", SENDER, BLOCK)
    number = 0
    block = np.zeros((1, 2_048), np.uint8)

    def step() -> int:
        nonlocal number
        number += 1
        row = mutator.random.randrange(3)
        if mutator.random.randrange(4) == 0:
            sealed = peers[row].protect_rtcp(report)
            data = mutator.damage(sealed)
            _check(data == sealed, legs.unseal_rtcp(row, data, number), report, data)
            return 1
        packet = rtp(number, 160 * number, bytes(160))
        sealed = peers[row].protect(packet)
        data = mutator.damage(sealed)
        block[0, : len(data)] = np.frombuffer(data, np.uint8)
        lengths = np.array([len(data)])
        kept = legs.unseal(np.array([row]), block, lengths, np.array([source], np.uint64), np.array([number]))
        _check(data == sealed, None if kept is not None else block[0, : lengths[0]].tobytes(), packet, data)
        return 1

    return step


def _check(whole: bool, found: bytes | None, wanted: bytes, data: bytes) -> None:  # noqa: FBT001
    if found != (wanted if whole else None):
        raise AssertionError(f"{'refused' if whole else 'taken'}: {data.hex()}")


TARGETS: dict[str, Callable[[Mutator], Step]] = {
    "rtcp": rtcp_parser,
    "events": telephone_events,
    "sdp": session_descriptions,
    "srtp": protected,
    **{
        f"codec-{name.lower().replace('/', '-')}": decoder_of(name)
        for name in KINDS
        if not name.startswith("PCM")
    },
}
