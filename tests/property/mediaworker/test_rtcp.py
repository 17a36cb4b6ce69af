"""RTCP and XR: what is written reads back, and no datagram whatever raises."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaworker.core.reporting import rtcp, xr

pytestmark = pytest.mark.property

WORD, SHORT, OCTET = st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF), st.integers(0, 255)
LEVEL = st.integers(-128, 127)
DATAGRAMS = 100_000

BLOCKS = st.builds(
    rtcp.Block, ssrc=WORD, fraction_lost=OCTET, lost=st.integers(-0x80_0000, 0x7F_FFFF), highest=WORD, jitter=WORD,
    lsr=WORD, dlsr=WORD,
)  # fmt: skip
SENDERS = st.builds(
    rtcp.SenderInfo, ntp=st.integers(0, (1 << 64) - 1), rtp_time=WORD, packets=WORD, octets=WORD
)
METRICS = st.builds(
    xr.VoipMetrics, ssrc=WORD, loss_rate=OCTET, discard_rate=OCTET, burst_density=OCTET, gap_density=OCTET,
    burst_ms=SHORT, gap_ms=SHORT, round_trip_ms=SHORT, end_delay_ms=SHORT, signal_level=LEVEL, noise_level=LEVEL,
    echo_return_loss=OCTET, gmin=OCTET, r_factor=OCTET, external_r_factor=OCTET, mos_lq=OCTET, mos_cq=OCTET,
    receiver_config=OCTET, buffer_nominal_ms=SHORT, buffer_max_ms=SHORT, buffer_limit_ms=SHORT,
)  # fmt: skip
EXTENDED = st.builds(
    xr.Extended, ssrc=WORD, reference_time=st.none() | st.integers(0, (1 << 64) - 1),
    delays=st.lists(st.builds(xr.DelaySince, ssrc=WORD, last=WORD, delay=WORD), max_size=5),
    metrics=st.lists(METRICS, min_size=1, max_size=3),
)  # fmt: skip


@given(
    st.integers(1, 0xFFFF_FFFF), st.text(max_size=80), st.none() | SENDERS, st.none() | BLOCKS,
    st.none() | EXTENDED, st.booleans(),
)  # fmt: skip
def test_a_compound_packet_reads_back(
    ssrc: int,
    name: str,
    sender: rtcp.SenderInfo | None,
    block: rtcp.Block | None,
    extended: xr.Extended | None,
    bye: bool,
):
    data = rtcp.compound(ssrc, name, sender, block, extended=extended, bye=bye)
    assert len(data) % 4 == 0
    assert rtcp.parse(data) == rtcp.Report(
        ssrc=ssrc,
        sender=sender,
        blocks=[block] if block else [],
        bye=[ssrc] if bye else [],
        extended=extended,
    )


@given(EXTENDED)
def test_an_extended_report_reads_back(extended: xr.Extended):
    assert xr.read(xr.compose(extended)[4:]) == extended


def samples() -> list[bytes]:
    block = rtcp.Block(ssrc=1, fraction_lost=2, lost=-3, highest=4, jitter=5, lsr=6, dlsr=7)
    sender = rtcp.SenderInfo(ntp=1 << 50, rtp_time=9, packets=10, octets=11)
    extended = xr.Extended(
        ssrc=1,
        reference_time=5,
        delays=[xr.DelaySince(ssrc=1, last=2, delay=3)],
        metrics=[xr.VoipMetrics(ssrc=1)],
    )
    return [
        rtcp.compound(1, "a@b", None, None), rtcp.compound(1, "a@b", sender, block, bye=True),
        rtcp.compound(1, "a@b", sender, block, extended=extended, bye=True), xr.compose(extended)[4:],
    ]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four octets overwritten, then perhaps cut or doubled."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.choice(
            (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
        )
    cut = chance.random()
    if cut < 0.2:
        return bytes(changed[: chance.randrange(len(changed) + 1)])
    return bytes(changed + changed[: chance.randrange(len(changed))]) if cut < 0.3 else bytes(changed)


@pytest.mark.parametrize("parser", [rtcp.parse, xr.read])
def test_no_mutated_datagram_raises(parser):
    chance, originals = random.Random(11), samples()
    outcomes = [0, 0]
    for _ in range(DATAGRAMS):
        outcomes[parser(mutated(chance.choice(originals), chance)) is None] += 1
    assert min(outcomes) > DATAGRAMS // 50
