"""Sources of several legs at once against the policy of one leg, packet by packet."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.address import Network
from mediaworker.core.dtmf import DtmfReceiver
from mediaworker.core.inbound.delay import DelayTarget
from mediaworker.core.inbound.intake import Intake
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.receive import Receiver
from mediaworker.core.inbound.sources import LATCH_NS, SSRC_SILENCE_NS
from mediaworker.core.inbound.timeline import NoCodedAudio
from mediaworker.core.rows import Rows
from tests.support import reference_sources as reference
from tests.support.engine_caller import rtp

pytestmark = pytest.mark.property

LEGS = 3
ADDRESSES = [0x0100_0000_0000_0002 + (number << 40) for number in range(4)]
NETWORKS = [(), *[(Network(prefix=ADDRESSES[2], mask=~0 & 0xFFFF_FFFF_FFFF_FFFF),)] * 2]
STEP_MS = (0, 20, 199, 200, 600, 1_001)

packet = st.tuples(st.integers(0, 3), st.integers(1, 3))
event = st.one_of(
    st.tuples(st.just("packets"), st.lists(st.one_of(st.none(), packet), min_size=LEGS, max_size=LEGS)),
    st.tuples(st.just("watch"), st.none()),
    st.tuples(st.just("move"), st.tuples(st.integers(0, LEGS - 1), st.integers(0, 3))),
)


def test_the_reference_has_the_times_of_the_code():
    assert (reference.SILENCE_NS, reference.LATCH_NS) == (SSRC_SILENCE_NS, LATCH_NS)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(st.tuples(st.sampled_from(STEP_MS), event), max_size=30))
def test_every_packet_is_taken_or_refused_as_the_policy_says(latch: bool, story):
    """Row 0 has no media network, rows 1 and 2 have one that holds the third address."""
    rows, rejected = Rows(LEGS, 1), Counter[str]()
    delay = DelayTarget(rows, 200_000_000)
    intake = Intake(rows, JitterRing(rows), delay, NoCodedAudio(), rejected)
    receiver = Receiver(rows, intake, DtmfReceiver(), rejected, latch=latch)
    legs = []
    for row in range(LEGS):
        rows.take(0)
        rows.opened_ns[row] = 100_000_000 * row
        rows.negotiated[row] = ADDRESSES[0]
        rows.first_word[row] = 0x80
        receiver.open(row, NETWORKS[row])
        legs.append(reference.Leg(_allowed(row, 0), 100_000_000 * row, latch, bool(NETWORKS[row])))
    now_ns, wanted, taken, seq = 0, Counter[str](), [0] * LEGS, 0
    for step_ms, (kind, what) in story:
        now_ns += step_ms * 1_000_000
        if kind == "watch":
            receiver.sources.let_go(slice(0, LEGS), now_ns)
            for leg in legs:
                leg.watch(now_ns)
        elif kind == "move":
            row, number = what
            rows.negotiated[row] = ADDRESSES[number]
            receiver.sources.expect(row)
            legs[row].move(_allowed(row, number))
        else:
            seq += 1
            at = [row for row in range(LEGS) if what[row] is not None]
            for row in at:
                why = legs[row].packet(ADDRESSES[what[row][0]], what[row][1], now_ns)
                wanted[why] += 1
                taken[row] += why == ""
            _deliver(receiver, at, [what[row] for row in at], seq, now_ns)
    assert rejected == {reason: count for reason, count in wanted.items() if reason and count}
    assert rows.received.tolist() == taken
    expected = [leg.source if NETWORKS[row] else int(rows.negotiated[row]) for row, leg in enumerate(legs)]
    assert rows.source.tolist() == expected


def _allowed(row: int, number: int) -> frozenset[int]:
    return frozenset([ADDRESSES[number], *(ADDRESSES[2:3] if NETWORKS[row] else [])])


def _deliver(
    receiver: Receiver, at: list[int], packets: list[tuple[int, int]], seq: int, now_ns: int
) -> None:
    if not at:
        return
    block = np.zeros((len(at), 192), np.uint8)
    for index, (_, ssrc) in enumerate(packets):
        block[index, :172] = np.frombuffer(rtp(seq, 160 * seq, bytes(160), ssrc=ssrc), np.uint8)
    sources = np.array([ADDRESSES[number] for number, _ in packets], np.uint64)
    receiver.receive(
        np.array(at), block, np.full(len(at), 172), sources, np.full(len(at), now_ns)
    )  # fmt: skip
