"""Codecs of a description: what an Opus decoder asks for, what we say of ours, what is written."""

import pytest

from shared.contracts import MediaFormat, OpusSettings
from sipfront.core.codecs import NoCodec, agreed, attributes, choose, media_format, offered
from sipfront.core.sdp import Codec, read
from sipfront.core.terms import Terms

pytestmark = pytest.mark.unit

TERMS = Terms(codecs=("OPUS", "G722", "PCMU", "PCMA", "L16"))


def stream(media: str, *lines: str):
    text = "".join(f"a={line}\r\n" for line in lines)
    return read(f"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP {media}\r\n{text}").streams[0]


def chosen(media: str, *lines: str) -> MediaFormat:
    found = stream(media, *lines)
    return media_format(found, *choose(found, TERMS), TERMS)


@pytest.mark.parametrize(
    ("fmtp", "wanted"),
    [
        ("", OpusSettings()),
        ("useinbandfec=1", OpusSettings(use_inband_fec=True)),
        ("UseInbandFec=1; usedtx=1", OpusSettings(use_inband_fec=True, use_dtx=True)),
        ("usedtx=0;useinbandfec=0", OpusSettings()),
        ("maxplaybackrate=16000;maxaveragebitrate=24000", OpusSettings(max_playback_hz=16_000, max_average_bitrate=24_000)),
        ("maxplaybackrate=96000;maxaveragebitrate=9", OpusSettings()),
        ("maxplaybackrate=1e9;maxaveragebitrate=99999999999999", OpusSettings()),
        ("sprop-stereo=1;stereo=1;cbr=1;x", OpusSettings()),
        (";;=;a=;=b", OpusSettings()),
    ],
)  # fmt: skip
def test_what_the_peers_opus_decoder_asks_of_us(fmtp, wanted):
    assert chosen("96", "rtpmap:96 opus/48000/2", f"fmtp:96 {fmtp}").opus == wanted


def test_opus_settings_are_those_of_the_chosen_number():
    both = ("rtpmap:96 opus/48000/2", "rtpmap:97 opus/48000/2", "fmtp:97 usedtx=1")
    assert not chosen("96 97", *both).opus.use_dtx
    assert chosen("97 96", *both).opus.use_dtx


def test_events_fall_back_to_what_is_offered():
    lines = ("rtpmap:96 opus/48000/2", "rtpmap:97 telephone-event/16000", "rtpmap:98 telephone-event/8000")
    found = chosen("96 97 98", *lines)
    assert (found.dtmf_payload_type, found.dtmf_clock_rate_hz) == (98, 8_000)
    found = chosen("96 97", *lines)
    assert (found.dtmf_payload_type, found.dtmf_clock_rate_hz) == (97, 16_000)
    found = chosen("96 97 98 99", *lines, "rtpmap:99 telephone-event/48000")
    assert (found.dtmf_payload_type, found.dtmf_clock_rate_hz) == (99, 48_000)
    assert chosen("96", *lines).dtmf_payload_type is None


def test_our_decoder_is_described_not_the_peers():
    opus = chosen("96", "rtpmap:96 opus/48000/2", "fmtp:96 maxplaybackrate=8000;usedtx=1")
    written = attributes(agreed(opus))
    assert written["rtpmap"] == ["96 opus/48000/2"]
    assert written["fmtp"] == [
        "96 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;sprop-stereo=0;useinbandfec=1"
    ]


def test_nothing_is_written_that_was_not_agreed():
    assert attributes(agreed(MediaFormat(codec="PCMU", payload_type=0))) == {"rtpmap": ["0 PCMU/8000"]}


def test_refusal_names_what_is_taken():
    with pytest.raises(NoCodec, match="taken are OPUS, G722, PCMU, PCMA, L16"):
        chosen("18")


@pytest.mark.parametrize("names", [("PCMU",), ("OPUS",), ("L16", "OPUS"), TERMS.codecs])
def test_numbers_of_an_offer_are_distinct_and_its_events_have_the_clocks_of_its_codecs(names):
    lines = offered(Terms(codecs=names))
    numbers = [line.payload_type for line in lines]
    assert len(numbers) == len(set(numbers))
    voices = {line.rate_hz for line in lines if line.name not in {"TELEPHONE-EVENT", "CN"}}
    assert {line.rate_hz for line in lines if line.name == "TELEPHONE-EVENT"} == voices
    noise = [line for line in lines if line.name == "CN"]
    assert bool(noise) == (8_000 in voices)


def test_number_that_the_peer_gave_another_meaning_is_not_used():
    peer = [
        Codec(payload_type=96, name="ILBC", rate_hz=8_000),
        Codec(payload_type=101, name="OPUS", rate_hz=48_000),
    ]
    lines = {line.payload_type: line.name for line in offered(Terms(codecs=("OPUS", "PCMU")), peer)}
    assert lines[101] == "OPUS"
    assert 96 not in lines
