"""Session descriptions as they come (RFC 8866)."""

import pytest

from sipfront.core.sdp import BadSdp, read
from tests.support.sip_messages import OFFER, offer

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text",
    [
        OFFER.replace("\r\n", "\n"),
        OFFER + "b=AS:64.5\r\n",
        OFFER + "a=rtpmap:x\r\n",
        OFFER + "a=rtpmap:99 odd\r\n",
        OFFER + "a=fmtp:x y\r\n",
        OFFER.replace("t=0 0", "t=now"),
        OFFER + "y=strange\r\n",
        "\r\n" + OFFER,
        OFFER.replace("m=audio 6000 RTP", "m=audio  6000/1 RTP"),
    ],
)
def test_harmless_oddities_are_read(text):
    stream = read(text).streams[0]
    assert (stream.media, stream.port, stream.host) == ("audio", 6000, "127.0.0.1")


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "v=1\r\n", "v=0\r\n", OFFER.replace("v=0\r\n", ""), offer(m="audio"), offer(m="audio x RTP/AVP 0"),
        offer(m="audio 70000 RTP/AVP 0"), offer(m="audio 6000 RTP/AVP"), OFFER + "garbage\r\n", OFFER + "a\0=x\r\n",
        OFFER + "s=a\x07b\r\n", OFFER + "m=audio 1 RTP/AVP 0\r\n" * 20, OFFER + "a=x\r\n" * 300,
        offer(m="audio 6000 RTP/AVP 300").replace("a=rtpmap:0 ", "a=rtpmap:300 "),
    ],
)  # fmt: skip
def test_what_is_no_description_is_refused(text):
    with pytest.raises(BadSdp):
        read(text)


def test_parts_of_a_stream():
    stream = read(OFFER + "a=maxptime:40\r\n").streams[0]
    names = [(codec.payload_type, codec.name, codec.rate_hz, codec.channels) for codec in stream.codecs]
    assert names == [(8, "PCMA", 8000, 1), (0, "PCMU", 8000, 1), (96, "TELEPHONE-EVENT", 8000, 1)]
    assert (stream.max_ptime_ms, stream.several_ports, stream.direction) == (40, False, "sendrecv")
    assert read(OFFER + "a=maxptime:x\r\n").streams[0].max_ptime_ms == 0
    assert read(offer(m="audio 6000/2 RTP/AVP 0")).streams[0].several_ports
    assert not read(offer(m="audio 6000/1 RTP/AVP 0")).streams[0].several_ports


def test_parameters_keep_their_spaces():
    assert read(OFFER.replace("a=fmtp:96 0-16", "a=fmtp:96 x: y")).streams[0].codecs[2].fmtp == "x: y"


@pytest.mark.parametrize(
    ("strict", "sent"),
    [
        ("m=audio 6000 RTP/AVP 8", "m=audio 6000  RTP/AVP\t8"),
        ("a=rtpmap:96 tele", "a=rtpmap: 96 tele"),
        ("a=rtpmap:96 tele", "a=rtpmap:96  tele"),
        ("a=fmtp:96 0", "a=fmtp: 96  0"),
    ],
)
def test_more_spaces_than_allowed_cost_no_codec(strict, sent):
    assert strict in OFFER
    assert read(OFFER.replace(strict, sent)) == read(OFFER)


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_separator_that_only_the_parser_takes_for_a_line_end_is_refused(separator):
    with pytest.raises(BadSdp):
        read(OFFER.replace("s=-", f"s=-{separator}m=audio 1 RTP/AVP 0"))


def test_attributes_for_negotiation_are_handed_on():
    stream = read(
        OFFER.replace("s=-", "s=-\r\na=fingerprint:sha-256 00")
        + "a=ptime:30\r\na=rtcp-mux\r\na=crypto:1 X inline:y\r\na=crypto:2 Z inline:w\r\na=silenceSupp:off - - - -\r\n"
    ).streams[0]
    assert stream.rtcp_mux
    assert stream.has_fingerprint
    assert stream.keeps_talking
    assert stream.crypto == ("1 X inline:y", "2 Z inline:w")
    assert [codec.fmtp for codec in stream.codecs] == ["", "", "0-16"]
    plain = read(OFFER).streams[0]
    assert (plain.rtcp_mux, plain.has_fingerprint, plain.keeps_talking, plain.crypto) == (
        False,
        False,
        False,
        (),
    )
    assert plain.ptime_ms == 20


def test_static_types_that_the_parser_does_not_know():
    stream = read("v=0\r\nm=audio 4 RTP/AVP 11 10 13 12\r\n").streams[0]
    names = [(codec.name, codec.rate_hz, codec.channels) for codec in stream.codecs]
    assert names == [("L16", 44_100, 1), ("L16", 44_100, 2), ("CN", 8_000, 1), ("", 0, 1)]
