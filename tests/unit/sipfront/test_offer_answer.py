"""Offer and answer (RFC 3264): what is taken, what is refused, what the answer says."""

import pytest

from shared.egress import Egress
from sipfront.core.mint import CountingMint
from sipfront.core.offer_answer import NotAcceptable, accept, describe, negotiate, our_offer
from sipfront.core.sdp import read
from sipfront.core.terms import Terms
from tests.support.sip_messages import OFFER, offer

pytestmark = pytest.mark.unit


PLAIN = Terms()
WIDE = Terms(codecs=("OPUS", "G722", "PCMU", "PCMA", "L16"), srtp="optional")
KEY = "inline:" + "A" * 40
OTHER_KEY = "inline:" + "B" * 40


def agree(text: str, terms: Terms = PLAIN, before=None, fresh=None):
    return negotiate(read(text), terms, fresh or CountingMint().secret, before)


def written(agreement, version: int = 1) -> list[str]:
    return describe(agreement, "192.0.2.1", 4000, 7, version).decode().split("\r\n")


def answer(text: str, terms: Terms = PLAIN) -> list[str]:
    return written(agree(text, terms))


def refused(text: str, terms: Terms = PLAIN) -> int:
    with pytest.raises(NotAcceptable) as caught:
        agree(text, terms)
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
        "a=rtpmap:8 PCMA/8000", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-16", "a=ptime:20", "a=sendrecv",
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
        (OFFER + "a=maxptime:5\r\n", 305),
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


# --- offers of ours


def test_our_offer_lists_our_codecs_and_holds_nothing_back():
    ours = our_offer(Terms(), CountingMint().secret)
    lines = written(ours)
    assert "m=audio 4000 RTP/AVP 0 8 13 101" in lines
    assert "a=sendrecv" in lines
    assert ours.format.direction == "inactive"
    assert not [line for line in lines if line.startswith("a=crypto")]


def test_our_offer_of_every_codec_has_events_at_every_clock():
    lines = written(our_offer(WIDE, CountingMint().secret))
    assert lines[5:-1] == [
        "m=audio 4000 RTP/AVP 96 9 0 8 97 98 13 101 103 102", "a=rtpmap:96 opus/48000/2", "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:97 L16/16000", "a=rtpmap:98 L16/8000",
        "a=rtpmap:13 CN/8000", "a=rtpmap:101 telephone-event/8000", "a=rtpmap:103 telephone-event/16000",
        "a=rtpmap:102 telephone-event/48000",
        "a=fmtp:96 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;sprop-stereo=0;useinbandfec=1",
        "a=fmtp:101 0-16", "a=fmtp:103 0-16", "a=fmtp:102 0-16", "a=ptime:20", "a=sendrecv",
    ]  # fmt: skip


def test_answer_to_our_offer_decides():
    ours = our_offer(WIDE, CountingMint().secret)
    agreed = accept(read(offer(m="audio 6000 RTP/AVP 96") + "a=rtpmap:96 opus/48000/2\r\n"), ours, WIDE)
    # The peer's rtpmap of 96 is in the text twice; the last one counts, as with any description.
    assert (agreed.format.codec, agreed.format.payload_type, agreed.format.direction) == (
        "OPUS",
        96,
        "sendrecv",
    )
    assert agreed.offered is None
    assert agreed.remote.rtp_port == 6000


def test_offer_within_a_call_keeps_what_the_peers_numbers_mean():
    text = offer(m="audio 6000 RTP/AVP 102 97 0").replace(
        "a=rtpmap:96 telephone-event/8000", "a=rtpmap:102 opus/48000/2\r\na=rtpmap:97 telephone-event/48000"
    )
    before = agree(text, WIDE)
    lines = written(our_offer(WIDE, CountingMint().secret, before))
    assert "a=rtpmap:102 opus/48000/2" in lines
    assert "a=rtpmap:97 telephone-event/48000" in lines
    numbers = lines[5].split(" ")[3:]
    assert len(numbers) == len(set(numbers)) == 10
    assert "a=rtpmap:96 L16/16000" in lines  # 97 means something else here


def test_offer_within_a_call_leaves_out_what_has_no_number_left():
    maps = "".join(f"a=rtpmap:{number} foo{number}/8000\r\n" for number in range(96, 128))
    text = offer(m=f"audio 6000 RTP/AVP 0 {' '.join(map(str, range(96, 128)))}").replace(
        "a=rtpmap:96 telephone-event/8000\r\n", maps
    )
    lines = written(our_offer(WIDE, CountingMint().secret, agree(text, WIDE)))
    assert lines[5] == "m=audio 4000 RTP/AVP 9 0 8 13"


def test_required_encryption_is_offered_with_a_key_of_its_own_for_every_suite():
    terms = Terms(srtp="required")
    ours = our_offer(terms, CountingMint().secret)
    assert ours.offered
    keys = {line.key for line in ours.offered.crypto}
    assert len(keys) == 3
    lines = written(ours)
    assert lines[5] == "m=audio 4000 RTP/SAVP 0 8 13 101"
    assert [line.split(" ")[1] for line in lines if line.startswith("a=crypto")] == list(terms.suites)
    text = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:3 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n"
    agreed = accept(read(text), ours, terms)
    assert agreed.srtp
    assert (agreed.srtp.suite, agreed.srtp.local) == ("AES_CM_128_HMAC_SHA1_32", ours.offered.crypto[2].key)
    assert agreed.srtp.remote == bytes(30)


@pytest.mark.parametrize(
    "text",
    [
        OFFER,  # not the profile that was offered
        OFFER.replace("RTP/AVP", "RTP/SAVP"),  # no key
        OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:9 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n",  # not our tag
        OFFER.replace("RTP/AVP", "RTP/SAVP")
        + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n",  # not its suite
        OFFER.replace("RTP/AVP", "RTP/SAVP") + "a=crypto:1 nonsense\r\n",
    ],
)
def test_answer_that_does_not_take_our_keys_is_no_answer(text):
    terms = Terms(srtp="required")
    with pytest.raises(NotAcceptable) as caught:
        accept(read(text), our_offer(terms, CountingMint().secret), terms)
    assert caught.value.warning == 302


def test_answer_may_not_leave_aside_the_keys_that_the_route_requires():
    terms = Terms(srtp="required")
    before = agree(OFFER + f"a=crypto:4 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n", terms)
    assert before.proto == "RTP/AVP"
    with pytest.raises(NotAcceptable) as caught:
        accept(read(OFFER), our_offer(terms, CountingMint().secret, before), terms)
    assert caught.value.warning == 302


def test_encrypted_call_offers_its_own_key_again():
    text = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:4 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"
    before = agree(text, WIDE)
    ours = our_offer(WIDE, CountingMint().secret, before)
    assert before.srtp
    assert ours.offered
    assert [(line.tag, line.key) for line in ours.offered.crypto] == [(4, before.srtp.local)]
    assert ours.format == before.format  # nothing changes before the answer
    agreed = accept(read(text), ours, WIDE)
    assert agreed.same_media(before)


def test_keys_offered_without_the_profile_may_be_left_by_the_answer():
    before = agree(OFFER + f"a=crypto:4 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n", WIDE)
    ours = our_offer(WIDE, CountingMint().secret, before)
    assert accept(read(OFFER), ours, WIDE).srtp is None


# --- keys


def test_keys_are_answered_under_the_offered_tag_with_a_key_of_ours():
    text = (
        OFFER.replace("RTP/AVP", "RTP/SAVP")
        + f"a=crypto:3 AES_256_CM_HMAC_SHA1_80 {KEY}\r\na=crypto:7 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n"
    )
    agreed = agree(text, WIDE)
    assert agreed.srtp
    assert (agreed.srtp.suite, agreed.srtp.remote, agreed.crypto_tag) == (
        "AES_CM_128_HMAC_SHA1_32",
        bytes(30),
        7,
    )
    assert len(agreed.srtp.local) == 30
    assert agreed.srtp.local != agreed.srtp.remote
    lines = written(agreed)
    assert lines[5] == "m=audio 4000 RTP/SAVP 8 96"
    (line,) = [line for line in lines if line.startswith("a=crypto")]
    assert line.startswith("a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:")
    assert "AAAA" not in line


def test_same_key_again_goes_on_and_another_key_starts_both_directions_anew():
    secret = CountingMint().secret
    text = OFFER.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"
    first = agree(text, WIDE, fresh=secret)
    again = agree(text, WIDE, before=first, fresh=secret)
    assert again.same_media(first)
    changed = agree(text.replace(KEY, OTHER_KEY), WIDE, before=first, fresh=secret)
    assert first.srtp
    assert changed.srtp
    assert changed.srtp.local != first.srtp.local
    assert not changed.same_media(first)
    plain = agree(OFFER, WIDE, before=first, fresh=secret)
    assert plain.srtp is None
    assert not plain.same_media(first)


@pytest.mark.parametrize(
    ("text", "policy", "words"),
    [
        (OFFER.replace("RTP/AVP", "RTP/SAVP"), "off", "SRTP is not taken here"),
        (OFFER.replace("RTP/AVP", "RTP/SAVP"), "optional", "no a=crypto"),
        (
            OFFER.replace("RTP/AVP", "RTP/SAVP") + "a=fingerprint:sha-256 00\r\n",
            "optional",
            "DTLS-SRTP is not taken",
        ),
        (OFFER, "required", "SRTP needs SDES keys"),
        (
            OFFER + "a=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\n",
            "required",
            "F8_128_HMAC_SHA1_80 is not taken",
        ),
    ],
)
def test_refused_encryption_says_why(text, policy, words):
    with pytest.raises(NotAcceptable, match=words) as caught:
        agree(text, Terms(srtp=policy))
    assert caught.value.warning == 302


def test_keys_that_cannot_be_used_are_passed_over_where_encryption_is_optional():
    text = OFFER + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4\r\n"
    assert agree(text, WIDE).srtp is None
    assert agree(OFFER + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n", Terms()).srtp is None


def test_no_key_is_in_a_repr():
    text = OFFER + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"
    agreed = agree(text, WIDE)
    ours = our_offer(WIDE, CountingMint().secret, agreed)
    assert agreed.srtp
    for secret in (agreed.srtp.local, agreed.srtp.remote):
        assert repr(secret)[2:-1] not in repr(agreed) + repr(ours)


# --- small things


def test_rtcp_mux_is_answered_where_it_is_taken():
    text = OFFER + "a=rtcp-mux\r\n"
    assert "a=rtcp-mux" in answer(text, Terms(rtcp_mux=True))
    assert "a=rtcp-mux" not in answer(text)
    assert "a=rtcp-mux" not in answer(OFFER, Terms(rtcp_mux=True))


def test_what_shares_a_port_is_offered_to_go_on_so():
    """Only an offer can ask for it (RFC 5761 section 5.1.1): without the line an answer would have to take it back."""
    terms = Terms(rtcp_mux=True)
    shared, apart = agree(OFFER + "a=rtcp-mux\r\n", terms), agree(OFFER, terms)
    assert "a=rtcp-mux" in written(our_offer(terms, CountingMint().secret, shared))
    assert "a=rtcp-mux" not in written(our_offer(terms, CountingMint().secret, apart))
    assert "a=rtcp-mux" not in written(our_offer(terms, CountingMint().secret))


def test_ipv6_of_ours_is_written_as_such():
    assert b"c=IN IP6 2001:db8::1" in describe(agree(OFFER), "2001:db8::1", 4000, 7, 1)


def test_address_that_media_may_not_be_sent_to_is_refused_unless_nothing_is_sent():
    terms = Terms(egress=Egress(own_host="192.0.2.1", own_ports=range(20_000, 21_000, 2)))
    assert refused(OFFER, terms) == 399  # loopback, where our address is none
    assert refused(offer(c="IN IP4 169.254.169.254"), terms) == 399
    assert refused(offer(c="IN IP4 198.51.100.7", m="audio 53 RTP/AVP 0"), terms) == 399
    assert refused(offer(c="IN IP4 192.0.2.1", m="audio 20010 RTP/AVP 0"), terms) == 399
    assert refused(offer(c="IN IP4 198.51.100.7") + "a=rtcp:53\r\n", terms) == 399
    assert agree(offer(c="IN IP4 198.51.100.7"), terms).remote.host == "198.51.100.7"
    assert agree(offer(c="IN IP4 0.0.0.0"), terms).format.direction == "recvonly"
