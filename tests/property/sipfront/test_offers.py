"""Offers drawn line by line: whatever comes, it is an agreement whose answer keeps RFC 3264, or a refusal that says why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipfront.core.mint import CountingMint
from sipfront.core.offer_answer import Agreement, NotAcceptable, accept, describe, negotiate, our_offer
from sipfront.core.sdp import BadSdp, Description, Stream, read
from sipfront.core.terms import Terms

pytestmark = pytest.mark.property

KEY = "inline:" + "A" * 40
NUMBERS = st.sampled_from(
    ["0", "8", "9", "11", "96", "97", "98", "101"] * 4 + ["10", "13", "18", "72", "127", "x", "300"]
)
MAPS = st.tuples(
    st.sampled_from(["0", "9", "72", "96", "97", "98", "101", "127", "x"]),
    st.sampled_from(["PCMU/8000", "PCMA/8000", "G722/8000", "G722/16000", "opus/48000/2", "opus/48000", "opus/48000/3",
                     "L16/8000", "L16/16000", "L16/44100", "L16/44100/2", "CN/8000", "CN/16000", "telephone-event/8000",
                     "telephone-event/48000", "telephone-event/0", "iLBC/8000", "bad", "x/y/z"]),
).map(lambda pair: f"rtpmap:{pair[0]} {pair[1]}")  # fmt: skip
OTHERS = st.sampled_from([
    "sendrecv", "sendonly", "recvonly", "inactive", "ptime:10", "ptime:30", "ptime:60", "ptime:0", "ptime:99999", "ptime:x",
    "maxptime:5", "maxptime:10", "maxptime:40", "maxptime:240", "rtcp-mux", "rtcp:4001", "rtcp:9 IN IP4 1.1.1.1", "rtcp:x",
    "fmtp:96 useinbandfec=1;usedtx=1;maxplaybackrate=8000", "fmtp:101 0-15", "fmtp:96", "fmtp:x y", "silenceSupp:off - - - -",
    f"crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}", f"crypto:2 AES_CM_128_HMAC_SHA1_32 {KEY}|2^20", f"crypto:3 AEAD_AES_128_GCM {KEY}",
    f"crypto:4 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4", "crypto:x", "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%", "fingerprint:sha-256 0",
])  # fmt: skip
STREAMS = st.tuples(
    st.sampled_from([*["audio"] * 8, "video", "image"]),
    st.sampled_from([*["4000"] * 8, "0", "9", "5000/2"]),
    st.sampled_from(
        ["RTP/AVP", "RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "udptl"]
    ),
    st.lists(NUMBERS, min_size=1, max_size=6),
    st.lists(MAPS, max_size=6),
    st.lists(OTHERS, max_size=6),
)
CONNECTIONS = st.sampled_from(
    [*["IN IP4 198.51.100.7"] * 12, "IN IP4 0.0.0.0", "IN IP6 ::1", "IN IP4 224.1.1.1", "IN IP4 host"]
)
CODECS = st.lists(st.sampled_from(["OPUS", "G722", "PCMU", "PCMA", "L16"]), min_size=1, unique=True)
TERMS = st.builds(
    Terms, codecs=CODECS.map(tuple), our_order=st.booleans(), srtp=st.sampled_from(["off", "optional", "optional", "required"]),
    rtcp_mux=st.booleans(),
)  # fmt: skip


def text_of(connection: str, streams) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 198.51.100.7", "s=-", f"c={connection}", "t=0 0"]
    for media, port, proto, numbers, maps, others in streams:
        lines.append(f"m={media} {port} {proto} {' '.join(numbers)}")
        lines += [f"a={attribute}" for attribute in (*maps, *others)]
    return "\r\n".join([*lines, ""])


def outcome(offer: Description, terms: Terms) -> Agreement | NotAcceptable:
    try:
        return negotiate(offer, terms, CountingMint().secret)
    except NotAcceptable as refusal:
        return refusal


def keeps_the_rules(offer: Stream, answer: Stream, agreed: Agreement, terms: Terms) -> None:
    """What section 6 asks of the answer to a stream that is taken."""
    assert answer.proto == offer.proto
    assert set(answer.formats) <= set(offer.formats)
    assert agreed.format.codec in terms.codecs
    assert not (offer.direction == "sendonly" and answer.direction not in {"recvonly", "inactive"})
    assert not (offer.direction == "recvonly" and answer.direction not in {"sendonly", "inactive"})
    assert not (offer.direction == "inactive" and answer.direction != "inactive")
    assert not answer.rtcp_mux or (offer.rtcp_mux and terms.rtcp_mux)
    assert len(answer.crypto) == (agreed.srtp is not None)
    assert agreed.srtp is not None or ("SAVP" not in offer.proto and terms.srtp != "required")
    assert agreed.srtp is None or terms.srtp != "off"
    if answer.crypto:
        tag = answer.crypto[0].split(" ")[0]
        assert tag in {line.split(" ")[0] for line in offer.crypto}
        assert KEY not in answer.crypto[0]
    assert not offer.max_ptime_ms or answer.ptime_ms <= offer.max_ptime_ms


@settings(max_examples=250, deadline=None)
@given(CONNECTIONS, st.lists(STREAMS, min_size=1, max_size=3), TERMS)
def test_every_offer_is_agreed_on_or_refused_with_a_reason(connection, streams, terms):
    try:
        offer = read(text_of(connection, streams))
    except BadSdp:
        return
    agreed = outcome(offer, terms)
    if isinstance(agreed, NotAcceptable):
        assert agreed.warning in {301, 302, 304, 305, 330, 399}
        assert agreed.text
        assert "AAAA" not in agreed.text
        return
    answer = read(describe(agreed, "192.0.2.1", 4_000, 7, 1).decode())
    assert len(answer.streams) == len(offer.streams)
    taken = [index for index, stream in enumerate(answer.streams) if stream.port]
    assert len(taken) == 1
    for theirs, ours in zip(offer.streams, answer.streams, strict=True):
        assert (theirs.media, theirs.proto) == (ours.media, ours.proto)
    keeps_the_rules(offer.streams[taken[0]], answer.streams[taken[0]], agreed, terms)
    again = negotiate(offer, terms, CountingMint().secret, agreed)
    assert again.same_media(agreed)  # the same offer again is a refresh


@settings(max_examples=150, deadline=None)
@given(TERMS, st.lists(STREAMS, min_size=1, max_size=2), st.randoms(use_true_random=False))
def test_another_front_takes_what_we_offer_and_both_mean_the_same(terms, streams, random):
    """Our late offer, inside a call or not, answered by our own kind."""
    secret = CountingMint().secret
    try:
        before = negotiate(read(text_of("IN IP4 198.51.100.7", streams)), terms, secret)
    except (BadSdp, NotAcceptable):
        before = None
    ours = our_offer(terms, secret, before)
    offer = read(describe(ours, "192.0.2.1", 4_000, 7, 1).decode())
    numbers = [codec.payload_type for stream in offer.streams if stream.port for codec in stream.codecs]
    assert len(numbers) == len(set(numbers))
    wishes = list(terms.codecs)
    random.shuffle(wishes)
    peer = Terms(codecs=tuple(wishes), our_order=True, srtp="optional")
    theirs = outcome(offer, peer)
    assert isinstance(theirs, Agreement)
    agreed = accept(read(describe(theirs, "198.51.100.7", 5_000, 8, 1).decode()), ours, terms)
    assert (agreed.format.codec, agreed.format.payload_type) == (
        theirs.format.codec,
        theirs.format.payload_type,
    )
    assert agreed.format.clock_rate_hz == theirs.format.clock_rate_hz
    assert agreed.format.dtmf_payload_type == theirs.format.dtmf_payload_type
    assert (agreed.srtp is None) == (theirs.srtp is None)
    if agreed.srtp and theirs.srtp:
        assert (agreed.srtp.local, agreed.srtp.remote) == (theirs.srtp.remote, theirs.srtp.local)
