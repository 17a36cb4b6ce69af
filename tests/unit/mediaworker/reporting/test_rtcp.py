import pytest
from aiortp import RtcpPacket as PeerPacket
from hypothesis import given
from hypothesis import strategies as st

from mediaworker.core.reporting import rtcp

pytestmark = pytest.mark.unit

BLOCK = rtcp.Block(ssrc=9, fraction_lost=12, lost=-3, highest=70_000, jitter=44, lsr=5, dlsr=6)
SENDER = rtcp.SenderInfo(ntp=1 << 40, rtp_time=77, packets=10, octets=1_600)


def test_a_compound_packet_reads_back():
    report = rtcp.parse(rtcp.compound(4, "us@here", SENDER, BLOCK, bye=True))
    assert report is not None
    assert (report.ssrc, report.sender, report.blocks, report.bye) == (4, SENDER, [BLOCK], [4])


def test_without_sender_or_block_it_is_an_empty_receiver_report():
    report = rtcp.parse(rtcp.compound(4, "us@here", None, None))
    assert report is not None
    assert (report.ssrc, report.sender, report.blocks, report.bye) == (4, None, [], [])


def test_another_library_reads_our_packets():
    parts = PeerPacket.parse(rtcp.compound(4, "us@here", SENDER, BLOCK, bye=True))
    assert [type(part).__name__ for part in parts] == ["RtcpSrPacket", "RtcpSdesPacket", "RtcpByePacket"]


@pytest.mark.parametrize("length", range(12))
def test_names_of_any_length_keep_whole_words(length: int):
    assert len(rtcp.compound(1, "n" * length, None, None)) % 4 == 0


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80\xc9\x00", rtcp.compound(1, "x", SENDER, BLOCK)[:-4], b"\x81\xca\x00\x01\0\0\0\1",
        b"\x40" + rtcp.compound(1, "x", None, None)[1:], b"\x81\xc9\x00\x01\0\0\0\1", b"\xa0\xc9\x00\x01\0\0\0\1",
        b"\x80\xc9\x00\x01\0\0\0\1\x83\xcb\x00\x01\0\0\0\1",
    ],
)  # fmt: skip
def test_what_the_rfc_calls_invalid_is_none(data: bytes):
    assert rtcp.parse(data) is None


@given(st.binary(max_size=200))
def test_any_octets_are_survived(data: bytes):
    rtcp.parse(data)
    rtcp.parse(b"\x81\xc8" + data)


def test_round_trip_is_arrival_less_sending_less_the_peers_delay():
    assert rtcp.round_trip_ms(65_536 + 6_554 + 655, 65_536, 6_554) == pytest.approx(10, abs=0.1)
    assert rtcp.round_trip_ms(65_536 + 6_550, 65_536, 6_554) == 0
    assert rtcp.round_trip_ms(5, 0, 0) is None


def test_a_round_trip_survives_the_wrap_of_the_short_clock():
    assert rtcp.round_trip_ms(100, 0xFFFF_FFFF - 555, 0) == pytest.approx(656 / 65.536, abs=0.01)


@pytest.mark.parametrize(("last", "delay"), [(0x1234_5678, 0), (65_536, 2 * 65_536), (9 * 65_536, 0)])
def test_an_answer_that_cannot_be_to_us_gives_no_round_trip(last: int, delay: int):
    """A time we never sent, a delay longer than the time since, one from the future."""
    assert rtcp.round_trip_ms(2 * 65_536, last, delay) is None


def test_delays_count_in_65536ths_and_not_backwards():
    assert rtcp.since(0, 1_500_000_000) == 98_304
    assert rtcp.since(10, 5) == 0


def test_padding_at_the_end_is_taken_off():
    packet = rtcp.compound(4, "us@here", SENDER, BLOCK, bye=True)
    padded = packet[:-8] + b"\xa1\xcb\x00\x02" + packet[-4:] + b"\0\0\0\4"
    report = rtcp.parse(padded)
    assert report is not None
    assert report.bye == [4]
    for last in (b"\0\0\0\0", b"\0\0\0\xff"):
        assert rtcp.parse(padded[:-4] + last) is None


def test_the_first_report_of_a_compound_names_who_speaks():
    two = rtcp.compound(4, "us@here", SENDER, BLOCK) + rtcp.compound(5, "us@here", None, None)
    report = rtcp.parse(two)
    assert report is not None
    assert report.ssrc == 4


@pytest.mark.parametrize("nobody", [b"\x80\xca\0\0", b"\x80\xcb\0\0"])
def test_a_name_or_a_goodbye_of_nobody_is_valid(nobody: bytes):
    report = rtcp.parse(rtcp.compound(4, "us@here", SENDER, BLOCK) + nobody)
    assert report is not None
    assert (report.ssrc, report.blocks, report.bye) == (4, [BLOCK], [])


def test_ntp_counts_from_1900():
    assert rtcp.ntp_time(0) >> 32 == 2_208_988_800
    assert rtcp.ntp_time(500_000_000) & 0xFFFF_FFFF == 1 << 31
    assert rtcp.middle(0x0001_0002_0003_0004) == 0x0002_0003
