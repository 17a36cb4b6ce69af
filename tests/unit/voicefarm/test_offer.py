"""The caller's SDP."""

import pytest

from voicefarm.core.offer import Offer, answer_again, read_answer

pytestmark = pytest.mark.unit

OFFER = Offer(host="192.0.2.1", rtp_port=26_000, session=7)


def test_our_own_offer_can_be_read() -> None:
    remote = read_answer(OFFER.sdp())
    assert remote is not None
    assert (remote.host, remote.port, remote.codec, remote.payload_type) == ("192.0.2.1", 26_000, "PCMU", 0)
    assert (remote.dtmf_payload_type, remote.direction) == (101, "sendrecv")


def test_the_first_codec_of_the_answer_is_taken() -> None:
    remote = read_answer(Offer(host="h", rtp_port=4_000, session=1, codecs=("PCMA", "PCMU")).sdp())
    assert remote is not None
    assert (remote.codec, remote.payload_type) == ("PCMA", 8)


def test_the_media_line_has_its_own_address_and_event_number() -> None:
    text = OFFER.sdp().decode().replace("a=ptime:20", "c=IN IP4 192.0.2.9").replace("101", "96")
    lines = text.split("\r\n")
    lines.insert(6, lines.pop(lines.index("c=IN IP4 192.0.2.9")))
    remote = read_answer("\r\n".join(lines).encode())
    assert remote is not None
    assert (remote.host, remote.dtmf_payload_type) == ("192.0.2.9", 96)


def test_a_session_level_direction_counts() -> None:
    text = OFFER.sdp().decode().replace("a=sendrecv\r\n", "").replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")
    remote = read_answer(text.encode())
    assert remote is not None
    assert remote.direction == "inactive"


@pytest.mark.parametrize(
    ("theirs", "ours"), [("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")]
)
def test_an_answer_mirrors_the_direction(theirs: str, ours: str) -> None:
    remote = read_answer(OFFER.sdp(theirs))
    assert remote is not None
    assert f"a={ours}\r\n".encode() in answer_again(OFFER, remote)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"v=0\r\nm=audio x RTP/AVP 0\r\n",
        OFFER.sdp().replace(b"m=audio 26000", b"m=audio 0"),
        OFFER.sdp().replace(b"RTP/AVP", b"RTP/SAVP"),
        OFFER.sdp().replace(b" 0 8 101", b" 96 101"),
        OFFER.sdp().replace(b"c=IN IP4 192.0.2.1\r\n", b""),
    ],
)
def test_what_cannot_be_spoken_is_none(body: bytes) -> None:
    assert read_answer(body) is None
