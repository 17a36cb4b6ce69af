"""The packets of all legs against a plain sender per leg: headers, laws, silence, marks, legs that rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows
from tests.support import reference
from tests.support.reference_transmit import PlainSender

pytestmark = pytest.mark.property

LEGS = 4
SPAN = slice(0, LEGS)

action = st.sampled_from(["tick", "tick", "tick", "sends", "mark", "retype"])
story = st.lists(
    st.tuples(action, st.integers(0, LEGS - 1), st.integers(0, 15), st.integers(-32_768, 32_767)),
    min_size=8,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 65_535), st.integers(0, 2**32 - 1), story)
def test_every_leg_sends_what_a_plain_sender_would(
    seq: int, stamp: int, steps: list[tuple[str, int, int, int]]
):
    rows = Rows(LEGS, 1)
    transmitter = Transmitter(rows, np.random.default_rng(1))
    legs = []
    for row in range(LEGS):
        rows.take(0)
        rows.alaw[row], rows.started[row], rows.sends[row] = row % 2, True, row != 3
        transmitter.open(row, 8 * (row % 2))
        rows.out_seq[row], rows.out_time[row] = (seq + row) & 0xFFFF, (stamp - row) & 0xFFFF_FFFF
        legs.append(
            PlainSender(
                int(rows.out_seq[row]), int(rows.out_time[row]), int(rows.out_ssrc[row]), 8 * (row % 2)
            )
        )
        legs[-1].sends = row != 3
    transmitter.changed(0)
    for kind, which, sounds, sample in steps:
        if kind == "sends":
            rows.sends[which] = legs[which].sends = not legs[which].sends
            transmitter.changed(0)
        elif kind == "mark":
            transmitter.mark(which)
            legs[which].to_mark = True
        elif kind == "retype":
            rows.alaw[which] = not rows.alaw[which]
            legs[which].kind = 8 if rows.alaw[which] else 0
            transmitter.retype(which, legs[which].kind)
        else:
            sound = np.array([bool(sounds >> row & 1) for row in range(LEGS)])
            rows.sent_pcm[sound] = ((np.arange(160) * 97 + sample) % 65_536 - 32_768).astype(np.int16)
            transmitter.encode(SPAN, sound)
            transmitter.stamp(0, SPAN)
            sending = set(transmitter.sending(0).tolist())
            for row, leg in enumerate(legs):
                wanted = leg.tick(rows.sent_pcm[row].tolist() if sound[row] else None)
                assert (row in sending) == (wanted is not None)
                if wanted is not None:
                    assert transmitter.packets[row].tobytes() == wanted
    assert rows.packets_out.tolist() == [leg.sent for leg in legs]
    assert transmitter.sent == sum(leg.sent for leg in legs)


def test_the_references_laws_are_those_of_the_recommendation():
    assert [reference.mu_law_encode(0), reference.a_law_encode(0)] == [0xFF, 0xD5]
