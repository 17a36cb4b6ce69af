"""Offers in the shapes that real devices, carriers and gateways send, as their makers' public documents describe them; one
line of the table is one offer and what must come of it.
"""

from typing import NamedTuple

import pytest

from shared.contracts import CodecName, SrtpSuite
from sipfront.core.mint import CountingMint
from sipfront.core.offer_answer import NotAcceptable, describe, negotiate
from sipfront.core.sdp import read
from sipfront.core.terms import Terms

pytestmark = pytest.mark.unit

ALL: tuple[CodecName, ...] = ("OPUS", "G722", "PCMU", "PCMA", "L16")
TERMS = Terms(codecs=ALL, srtp="optional", rtcp_mux=True)
K30 = "inline:" + "d2FzIGVpbiBTY2hsdWVzc2VsIGlzdCwgaGllcj8h"
K28 = "inline:" + "d2FzIGVpbiBTY2hsdWVzc2VsIGlzdCwgaGllcg=="


class Taken(NamedTuple):
    """What must be agreed on."""

    codec: CodecName
    number: int
    events: tuple[int, int] | None = None
    """Payload type and clock."""
    noise: int | None = None
    ptime: int = 20
    srtp: SrtpSuite | None = None
    direction: str = "sendrecv"
    mux: bool = False


class Case(NamedTuple):
    """`wanted` is a Taken, or the code of the Warning."""

    name: str
    media: str
    attributes: str
    wanted: Taken | int
    terms: Terms = TERMS
    connection: str = "IN IP4 198.51.100.7"


def route(*codecs: CodecName, **more) -> Terms:
    return Terms(codecs=codecs, our_order=True, **({"srtp": "optional"} | more))


CASES = [
    # --- desk telephones and adapters
    Case("Yealink", "audio 11780 RTP/AVP 9 0 8 18 101",
         "rtpmap:9 G722/8000|rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|rtpmap:18 G729/8000|fmtp:18 annexb=no|"
         "rtpmap:101 telephone-event/8000|fmtp:101 0-15|ptime:20|sendrecv", Taken("G722", 9, (101, 8_000))),
    Case("Polycom with wideband codecs of its own first", "audio 2222 RTP/AVP 115 9 0 8 18 127",
         "rtpmap:115 G7221/32000|fmtp:115 bitrate=48000|rtpmap:9 G722/8000|rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|"
         "rtpmap:18 G729/8000|rtpmap:127 telephone-event/8000", Taken("G722", 9, (127, 8_000))),
    Case("Snom, events at several numbers", "audio 50000 RTP/AVP 9 8 0 101",
         "rtpmap:9 g722/8000|rtpmap:8 pcma/8000|rtpmap:0 pcmu/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-16|ptime:20",
         Taken("G722", 9, (101, 8_000))),
    Case("Grandstream that wants 30 ms", "audio 5004 RTP/AVP 0 8 4 18 101",
         "rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|rtpmap:4 G723/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-15|ptime:30",
         Taken("PCMU", 0, (101, 8_000), ptime=30)),
    Case("Adapter with comfort noise", "audio 16482 RTP/AVP 0 13 101",
         "rtpmap:0 PCMU/8000|rtpmap:13 CN/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-15|ptime:20",
         Taken("PCMU", 0, (101, 8_000), noise=13)),
    Case("Adapter with comfort noise by number alone, silence suppression off", "audio 16482 RTP/AVP 8 13 101",
         "rtpmap:101 telephone-event/8000|silenceSupp:off - - - -", Taken("PCMA", 8, (101, 8_000))),
    Case("Door station: G.711 by number alone and no events", "audio 8000 RTP/AVP 8", "", Taken("PCMA", 8)),
    Case("Fax adapter that offers T.38 beside audio", "audio 9000 RTP/AVP 8 101",
         "rtpmap:8 PCMA/8000|rtpmap:101 telephone-event/8000", Taken("PCMA", 8, (101, 8_000))),
    Case("Cordless base that calls the clock of G.722 16000", "audio 5004 RTP/AVP 9 8",
         "rtpmap:9 G722/16000|rtpmap:8 PCMA/8000", Taken("G722", 9)),
    # --- soft telephones
    Case("baresip", "audio 12000 RTP/AVP 96 9 0 8 101",
         "rtpmap:96 opus/48000/2|fmtp:96 stereo=1;sprop-stereo=1;maxaveragebitrate=28000|rtpmap:9 G722/8000|"
         "rtpmap:101 telephone-event/8000|fmtp:101 0-15|rtcp:12001|sendrecv|label:1|rtcp-rsize|ptime:20",
         Taken("OPUS", 96, (101, 8_000))),
    Case("Linphone with feedback profile", "audio 7078 RTP/AVPF 96 97 98 0 8 101 99 100",
         "rtpmap:96 opus/48000/2|fmtp:96 useinbandfec=1|rtpmap:97 speex/16000|fmtp:97 vbr=on|rtpmap:98 speex/8000|"
         "rtpmap:101 telephone-event/48000|rtpmap:99 telephone-event/16000|rtpmap:100 telephone-event/8000|"
         "rtcp-fb:* trr-int 1000", Taken("OPUS", 96, (101, 48_000))),
    Case("MicroSIP", "audio 4004 RTP/AVP 8 0 101",
         "rtpmap:8 PCMA/8000|rtpmap:0 PCMU/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-16|rtcp:4005 IN IP4 198.51.100.7",
         Taken("PCMA", 8, (101, 8_000))),
    Case("Jitsi with L16 and many others", "audio 5000 RTP/AVP 96 97 9 100 8 0 3 101",
         "rtpmap:96 SILK/24000|rtpmap:97 SILK/16000|rtpmap:9 G722/8000|rtpmap:100 speex/32000|rtpmap:3 GSM/8000|"
         "rtpmap:101 telephone-event/8000|extmap:1 urn:ietf:params:rtp-hdrext:csrc-audio-level", Taken("G722", 9, (101, 8_000))),
    Case("Zoiper with iLBC where others have events", "audio 8000 RTP/AVP 97 0 8 98",
         "rtpmap:97 iLBC/8000|fmtp:97 mode=30|rtpmap:98 telephone-event/8000|fmtp:98 0-16", Taken("PCMU", 0, (98, 8_000))),
    Case("Opus without its second channel", "audio 4000 RTP/AVP 107", "rtpmap:107 opus/48000", Taken("OPUS", 107)),
    Case("Telephone on a narrow line: 60 ms", "audio 4000 RTP/AVP 0", "ptime:60|maxptime:60", Taken("PCMU", 0, ptime=60)),
    # --- exchanges
    Case("Asterisk", "audio 14526 RTP/AVP 0 8 9 101",
         "rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|rtpmap:9 G722/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-16|ptime:20|"
         "maxptime:150|sendrecv", Taken("PCMU", 0, (101, 8_000))),
    Case("Asterisk with Opus at 107", "audio 14526 RTP/AVP 107 0 101",
         "rtpmap:107 opus/48000/2|fmtp:107 useinbandfec=1|rtpmap:0 PCMU/8000|rtpmap:101 telephone-event/8000|maxptime:60",
         Taken("OPUS", 107, (101, 8_000))),
    Case("FreeSWITCH: an event type per clock", "audio 25012 RTP/AVP 102 9 0 8 103 101 13",
         "rtpmap:102 opus/48000/2|fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20; minptime=10; maxptime=40|"
         "rtpmap:9 G722/8000|rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|rtpmap:103 telephone-event/48000|fmtp:103 0-16|"
         "rtpmap:101 telephone-event/8000|fmtp:101 0-16|rtpmap:13 CN/8000|ptime:20", Taken("OPUS", 102, (103, 48_000))),
    Case("FreeSWITCH between exchanges: L16", "audio 25012 RTP/AVP 98 0 101",
         "rtpmap:98 L16/16000|rtpmap:0 PCMU/8000|rtpmap:101 telephone-event/8000|ptime:20", Taken("L16", 98, (101, 8_000))),
    Case("3CX: hold", "audio 9006 RTP/AVP 0 101", "rtpmap:0 PCMU/8000|rtpmap:101 telephone-event/8000|sendonly",
         Taken("PCMU", 0, (101, 8_000), direction="recvonly")),
    Case("Old exchange: hold by address", "audio 9006 RTP/AVP 0", "rtpmap:0 PCMU/8000",
         Taken("PCMU", 0, direction="recvonly"), connection="IN IP4 0.0.0.0"),
    Case("Exchange that parks a call", "audio 9006 RTP/AVP 8", "inactive", Taken("PCMA", 8, direction="inactive")),
    Case("Call manager with a wideband codec of its own", "audio 24580 RTP/AVP 114 9 124 0 8 116 18 101",
         "rtpmap:114 opus/48000/2|fmtp:114 maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=64000;stereo=0;"
         "sprop-stereo=0;usedtx=0|rtpmap:9 G722/8000|rtpmap:124 ISAC/16000|rtpmap:116 iLBC/8000|fmtp:116 mode=20|"
         "rtpmap:101 telephone-event/8000|fmtp:101 0-15", Taken("OPUS", 114, (101, 8_000))),
    # --- carriers and border controllers
    Case("Carrier trunk", "audio 18250 RTP/AVP 0 8 101",
         "rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-15|maxptime:20|ptime:20",
         Taken("PCMU", 0, (101, 8_000))),
    Case("Carrier trunk with AMR-WB first", "audio 30000 RTP/AVP 104 102 9 8 105 100",
         "rtpmap:104 AMR-WB/16000|fmtp:104 mode-change-capability=2;max-red=0|rtpmap:102 AMR/8000|rtpmap:9 G722/8000|"
         "rtpmap:8 PCMA/8000|rtpmap:105 telephone-event/16000|rtpmap:100 telephone-event/8000|ptime:20|maxptime:240",
         Taken("G722", 9, (100, 8_000))),
    Case("Mobile network: nothing we have", "audio 30000 RTP/AVP 96 104 110",
         "rtpmap:96 EVS/16000|fmtp:96 br=5.9-24.4;bw=nb-swb|rtpmap:104 AMR-WB/16000|rtpmap:110 telephone-event/16000", 305),
    Case("Trunk with G.729 only", "audio 18250 RTP/AVP 18 101", "rtpmap:18 G729/8000|fmtp:18 annexb=no|rtpmap:101 telephone-event/8000", 305),
    Case("Border controller with events at 16000 only", "audio 6000 RTP/AVP 8 105",
         "rtpmap:8 PCMA/8000|rtpmap:105 telephone-event/16000", Taken("PCMA", 8, (105, 16_000))),
    Case("Gateway that sends 10 ms", "audio 6000 RTP/AVP 8", "ptime:10|maxptime:10", Taken("PCMA", 8, ptime=10)),
    Case("Gateway that takes 5 ms only", "audio 6000 RTP/AVP 8", "maxptime:5", 305),
    Case("Packet time between two of ours", "audio 6000 RTP/AVP 8", "ptime:50|maxptime:50", Taken("PCMA", 8, ptime=40)),
    Case("Packet time beyond all of ours", "audio 6000 RTP/AVP 8", "ptime:200", Taken("PCMA", 8, ptime=60)),
    Case("Opus at 30 ms, which is no frame of it", "audio 6000 RTP/AVP 96", "rtpmap:96 opus/48000/2|ptime:30", Taken("OPUS", 96)),
    Case("Studio: static L16", "audio 5004 RTP/AVP 11", "", Taken("L16", 11, ptime=10)),
    Case("Studio: stereo L16", "audio 5004 RTP/AVP 10", "", 305),
    Case("Packets that would be fragmented", "audio 5004 RTP/AVP 97", "rtpmap:97 L16/16000|ptime:60", Taken("L16", 97, ptime=40)),
    Case("Comfort noise at the clock of wideband L16", "audio 5004 RTP/AVP 97 98 13", "rtpmap:97 L16/16000|rtpmap:98 CN/16000",
         Taken("L16", 97, noise=98)),
    Case("Multicast paging", "audio 5004 RTP/AVP 0", "", 330, connection="IN IP4 239.1.1.1/127"),
    Case("IPv6 only", "audio 5004 RTP/AVP 0", "", 301, connection="IN IP6 2001:db8::7"),
    # --- encryption
    Case("Telephone with SRTP", "audio 11780 RTP/SAVP 0 8 101",
         f"crypto:1 AES_CM_128_HMAC_SHA1_80 {K30}|crypto:2 AES_CM_128_HMAC_SHA1_32 {K30}|crypto:3 F8_128_HMAC_SHA1_80 {K30}|"
         "rtpmap:0 PCMU/8000|rtpmap:101 telephone-event/8000", Taken("PCMU", 0, (101, 8_000), srtp="AES_CM_128_HMAC_SHA1_80")),
    Case("SRTP with lifetimes and a second line without an identifier", "audio 30000 RTP/SAVP 0 101",
         f"crypto:1 AES_CM_128_HMAC_SHA1_80 {K30}|2^31|1:1||crypto:2 AES_CM_128_HMAC_SHA1_80 {K30}|2^31".replace("||", "\n")
         + "\nrtpmap:101 telephone-event/8000", Taken("PCMU", 0, (101, 8_000), srtp="AES_CM_128_HMAC_SHA1_80")),
    Case("SRTP if possible (RFC 8643)", "audio 4000 RTP/AVP 8", f"crypto:1 AES_CM_128_HMAC_SHA1_32 {K30}",
         Taken("PCMA", 8, srtp="AES_CM_128_HMAC_SHA1_32")),
    Case("AES-GCM first, AES-256 before it", "audio 4000 RTP/SAVP 9",
         f"crypto:1 AEAD_AES_256_GCM {K30}|crypto:2 AEAD_AES_128_GCM {K28}|crypto:3 AES_CM_128_HMAC_SHA1_80 {K30}",
         Taken("G722", 9, srtp="AEAD_AES_128_GCM")),
    Case("Browser: DTLS", "audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
         "rtpmap:111 opus/48000/2|fmtp:111 minptime=10;useinbandfec=1|rtcp-mux|fingerprint:sha-256 00:11|setup:actpass", 302),
    Case("DTLS in the old profile", "audio 9000 RTP/SAVPF 111", "rtpmap:111 opus/48000/2|fingerprint:sha-1 00:11|setup:actpass", 302),
    Case("Encryption where it is off", "audio 4000 RTP/SAVP 8", f"crypto:1 AES_CM_128_HMAC_SHA1_80 {K30}", 302, Terms(codecs=ALL)),
    Case("Keys beside RTP/AVP where encryption is off", "audio 4000 RTP/AVP 8", f"crypto:1 AES_CM_128_HMAC_SHA1_80 {K30}",
         Taken("PCMA", 8), Terms(codecs=ALL)),
    Case("No encryption where it is required", "audio 4000 RTP/AVP 8", "", 302, Terms(codecs=ALL, srtp="required")),
    Case("Bridge of browsers: SDES, feedback and one port", "audio 4000 RTP/SAVPF 111 0 126",
         f"crypto:1 AES_CM_128_HMAC_SHA1_80 {K30}|rtpmap:111 opus/48000/2|fmtp:111 minptime=10;useinbandfec=1|rtpmap:0 PCMU/8000|"
         "rtpmap:126 telephone-event/8000|rtcp-mux|rtcp:4000 IN IP4 198.51.100.7",
         Taken("OPUS", 111, (126, 8_000), srtp="AES_CM_128_HMAC_SHA1_80", mux=True)),
    Case("One port, but a payload type that looks like RTCP there", "audio 4000 RTP/AVP 72", "rtpmap:72 PCMU/8000|rtcp-mux", Taken("PCMU", 72)),
    # --- routes with a mind of their own
    Case("Route that wants G.711 whatever is preferred", "audio 4000 RTP/AVP 96 9 8 0",
         "rtpmap:96 opus/48000/2", Taken("PCMU", 0), route("PCMU", "PCMA")),
    Case("Route that wants Opus first", "audio 4000 RTP/AVP 8 9 96", "rtpmap:96 opus/48000/2", Taken("OPUS", 96), route("OPUS", "PCMA")),
    Case("Route whose codecs the caller has not", "audio 4000 RTP/AVP 8", "", 305, route("OPUS")),
    Case("Payload numbers of others for our codecs", "audio 4000 RTP/AVP 118 119 120",
         "rtpmap:118 PCMU/8000|rtpmap:119 G722/8000|rtpmap:120 telephone-event/8000", Taken("PCMU", 118, (120, 8_000))),
    Case("Number of a static type with another meaning", "audio 4000 RTP/AVP 0 8", "rtpmap:0 G729/8000|rtpmap:8 PCMA/8000", Taken("PCMA", 8)),
    Case("Codec of ours at a clock that is not ours", "audio 4000 RTP/AVP 96 8", "rtpmap:96 PCMU/16000", Taken("PCMA", 8)),
]  # fmt: skip


def offer(case: Case) -> str:
    lines = case.attributes.split("\n")
    if len(lines) == 1:
        lines = case.attributes.split("|")
    attributes = "".join(f"a={line}\r\n" for line in lines if line)
    head = f"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc={case.connection}\r\nt=0 0\r\n"
    return f"{head}m={case.media}\r\n{attributes}"


def test_table_is_as_broad_as_it_should_be():
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_offer(case: Case):
    if isinstance(case.wanted, int):
        with pytest.raises(NotAcceptable) as caught:
            negotiate(read(offer(case)), case.terms, CountingMint().secret)
        assert caught.value.warning == case.wanted
        assert caught.value.text
        return
    agreed = negotiate(read(offer(case)), case.terms, CountingMint().secret)
    chosen = agreed.format
    events = (
        None if chosen.dtmf_payload_type is None else (chosen.dtmf_payload_type, chosen.dtmf_clock_rate_hz)
    )
    found = Taken(
        chosen.codec, chosen.payload_type, events, chosen.comfort_noise_payload_type, chosen.ptime_ms,
        agreed.srtp.suite if agreed.srtp else None, chosen.direction, chosen.rtcp_mux,
    )  # fmt: skip
    assert found == case.wanted
    # The answer is a description that says the same, in the offer's profile and numbers.
    (stream,) = read(describe(agreed, "192.0.2.1", 4_000, 7, 1).decode()).streams
    assert stream.proto == agreed.proto == case.media.split(" ")[2]
    wanted = [chosen.payload_type, chosen.comfort_noise_payload_type, events[0] if events else None]
    assert [int(number) for number in stream.formats] == [number for number in wanted if number is not None]
    assert set(stream.formats) <= set(case.media.split(" ")[3:])
    assert (stream.ptime_ms, stream.direction, stream.rtcp_mux) == (
        chosen.ptime_ms,
        chosen.direction,
        chosen.rtcp_mux,
    )
    assert bool(stream.crypto) == (agreed.srtp is not None)
    clocks = {"PCMU": 8_000, "PCMA": 8_000, "G722": 8_000, "OPUS": 48_000}
    assert chosen.clock_rate_hz == clocks.get(chosen.codec, chosen.clock_rate_hz)
