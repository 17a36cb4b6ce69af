"""Offer and answer (RFC 3264): what is taken, what is refused, what the answer says."""

import pytest

from sipfront.core.offer_answer import OUR_OFFER, NotAcceptable, describe, negotiate
from sipfront.core.sdp import read
from tests.support.sip_messages import OFFER, offer

pytestmark = pytest.mark.unit


def agree(text: str):
    return negotiate(read(text))


def answer(text: str) -> list[str]:
    return describe(agree(text), "192.0.2.1", 4000, 7, 1).decode().split("\r\n")


def refused(text: str) -> int:
    with pytest.raises(NotAcceptable) as caught:
        agree(text)
    return caught.value.warning


def test_first_codec_of_the_offer_that_we_have_is_chosen():
    agreed = agree(OFFER)
    assert (agreed.format.codec, agreed.format.payload_type, agreed.format.dtmf_payload_type) == (
        "PCMA",
        8,
        96,
    )
    assert (agreed.remote.host, agreed.remote.rtp_port, agreed.remote.rtcp_port) == ("127.0.0.1", 6000, 0)
    assert answer(OFFER)[:6] == [
        "v=0", "o=- 7 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "m=audio 4000 RTP/AVP 8 96",
    ]  # fmt: skip
    assert answer(OFFER)[6:-1] == [
        "a=rtpmap:8 PCMA/8000", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15", "a=ptime:20", "a=sendrecv",
    ]  # fmt: skip


def test_codecs_are_matched_by_name_not_by_number():
    text = offer(m="audio 6000 RTP/AVP 101 97 8").replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 iLBC/8000")
    text = text.replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:101 opus/48000/2\r\na=rtpmap:97 pcmu/8000")
    agreed = agree(text)
    assert (agreed.format.codec, agreed.format.payload_type) == ("PCMU", 97)
    assert agreed.format.dtmf_payload_type is None


def test_static_numbers_need_no_rtpmap():
    assert agree("v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 6000 RTP/AVP 18 0\r\n").format.codec == "PCMU"


@pytest.mark.parametrize(
    ("offered", "ours"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_direction_is_answered_from_our_side_at_both_levels(offered, ours):
    assert agree(OFFER.replace("sendrecv", offered)).format.direction == ours
    session = OFFER.replace("a=sendrecv\r\n", "").replace("t=0 0\r\n", f"t=0 0\r\na={offered}\r\n")
    assert agree(session).format.direction == ours


@pytest.mark.parametrize(("offered", "ours"), [("sendrecv", "recvonly"), ("recvonly", "inactive")])
def test_hold_by_address_zero_stops_our_sending(offered, ours):
    text = offer(c="IN IP4 0.0.0.0").replace("sendrecv", offered)
    assert agree(text).format.direction == ours


def test_media_level_address_and_rtcp_port_win():
    agreed = agree(OFFER + "c=IN IP4 10.9.8.7\r\na=rtcp:7777 IN IP4 10.9.8.7\r\n")
    assert (agreed.remote.host, agreed.remote.rtcp_port) == ("10.9.8.7", 7777)
    assert agree(OFFER + "a=rtcp:99999\r\n").remote.rtcp_port == 0
    assert agree(OFFER + "a=rtcp:x\r\n").remote.rtcp_port == 0


def test_other_streams_are_mirrored_with_port_zero_in_order():
    text = (
        OFFER.replace("m=audio", "m=video 9 RTP/AVP 99\r\nm=audio 0 RTP/AVP 0\r\nm=audio")
        + "m=image 7 udptl t38\r\n"
    )
    lines = [line for line in answer(text) if line.startswith("m=")]
    assert lines == [
        "m=video 0 RTP/AVP 99", "m=audio 0 RTP/AVP 0", "m=audio 4000 RTP/AVP 8 96", "m=image 0 UDPTL t38",
    ]  # fmt: skip


def test_second_audio_stream_is_taken_when_the_first_cannot_be():
    text = OFFER.replace("m=audio", "m=audio 9 RTP/SAVP 0\r\nm=audio")
    assert next(line for line in answer(text) if line.startswith("m=")) == "m=audio 0 RTP/SAVP 0"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (OFFER.replace("RTP/AVP", "RTP/SAVP"), 302),
        (OFFER.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"), 302),
        (OFFER.replace("6000 RTP", "6000/2 RTP"), 302),
        (OFFER + "a=maxptime:10\r\n", 305),
        (offer(m="audio 6000 RTP/AVP 9 18"), 305),
        (offer(m="video 6000 RTP/AVP 0"), 304),
        (offer(m="audio 0 RTP/AVP 0"), 304),
        (offer(c="IN IP4 224.2.1.1/127"), 330),
        (offer(c="IN IP4 224.2.1.1"), 330),
        (offer(c="IN IP4 255.255.255.255"), 301),
        (offer(c="IN IP6 2001:db8::1"), 301),
        (offer(c="IN IP4 host.example"), 301),
        (OFFER.replace("c=IN IP4 127.0.0.1\r\n", ""), 301),
    ],
)
def test_offer_we_cannot_take_says_why(text, warning):
    assert refused(text) == warning


def test_our_offer_lists_both_codecs_and_holds_nothing_back():
    text = describe(OUR_OFFER, "192.0.2.1", 4000, 7, 1).decode()
    assert "m=audio 4000 RTP/AVP 0 8 101" in text
    assert "a=sendrecv" in text
    assert OUR_OFFER.format.direction == "inactive"


def test_ipv6_of_ours_is_written_as_such():
    assert b"c=IN IP6 2001:db8::1" in describe(agree(OFFER), "2001:db8::1", 4000, 7, 1)
