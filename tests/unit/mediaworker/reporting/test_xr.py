import dataclasses

import pytest

from mediaworker.core.reporting import rtcp, xr

pytestmark = pytest.mark.unit

METRICS = xr.VoipMetrics(
    ssrc=7, loss_rate=12, discard_rate=3, burst_density=80, gap_density=2, burst_ms=300, gap_ms=60_000,
    round_trip_ms=48, end_delay_ms=90, signal_level=-18, noise_level=-60, echo_return_loss=55, gmin=16, r_factor=88,
    external_r_factor=70, mos_lq=41, mos_cq=40, receiver_config=xr.ENHANCED_CONCEALMENT | xr.ADAPTIVE_BUFFER,
    buffer_nominal_ms=60, buffer_max_ms=80, buffer_limit_ms=200,
)  # fmt: skip
WHOLE = xr.Extended(
    ssrc=9, reference_time=0x0102_0304_0506_0708, metrics=[METRICS],
    delays=[xr.DelaySince(ssrc=1, last=2, delay=3), xr.DelaySince(ssrc=4, last=5, delay=6)],
)  # fmt: skip


def test_blocks_read_back():
    data = xr.compose(WHOLE)
    assert data[:2] == bytes((0x80, 207))
    assert len(data) == 4 * (1 + int.from_bytes(data[2:4], "big"))
    assert xr.read(data[4:]) == WHOLE


def test_voip_metrics_lie_where_the_rfc_draws_them():
    """RFC 3611 section 4.7: block type 7, length 8, then eight words."""
    block = xr.compose(xr.Extended(ssrc=9, metrics=[METRICS]))[8:]
    assert block.hex(" ", 4) == (
        "07000008 00000007 0c035002 012cea60 0030005a eec43710 58462928 f000003c 005000c8"
    )


def test_a_report_without_blocks_is_none():
    assert xr.compose(xr.Extended(ssrc=9)) == b""


def test_blocks_of_other_types_are_passed_over():
    unknown = bytes((99, 0, 0, 1, 1, 2, 3, 4))
    extended = xr.read(b"\0\0\0\5" + unknown + xr.compose(WHOLE)[8:])
    assert extended == dataclasses.replace(WHOLE, ssrc=5)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0\0\0", b"\0\0\0\5\4\0", b"\0\0\0\5\x63\0\0\2\0\0\0\0", b"\0\0\0\5\4\0\0\1\0\0\0\0",
        b"\0\0\0\5\5\0\0\1\0\0\0\0", b"\0\0\0\5\7\0\0\1\0\0\0\0",
    ],
)  # fmt: skip
def test_a_block_that_does_not_fit_spoils_the_packet(body: bytes):
    assert xr.read(body) is None


def test_it_travels_in_a_compound_packet_after_the_name():
    report = rtcp.parse(rtcp.compound(9, "us@here", None, None, extended=WHOLE, bye=True))
    assert report is not None
    assert (report.extended, report.bye) == (WHOLE, [9])
    spoilt = rtcp.compound(9, "us@here", None, None, extended=WHOLE)[:-4]
    assert rtcp.parse(spoilt) is None


def test_units_are_bounded():
    assert [xr.in_256ths(share) for share in (-0.1, 0, 0.5, 1.0)] == [0, 0, 128, 255]
    assert [xr.in_ms(value) for value in (-1.0, 20.4, 1e9)] == [0, 20, 0xFFFF]
    assert [xr.in_tenths(value) for value in (-1.0, 1.0, 4.41, 9)] == [xr.UNKNOWN, 10, 44, 50]
