"""What the receiver does with batches; whole calls are in test_engine.py."""

from collections import Counter

import numpy as np
import pytest

from mediaworker.core.address import address_key, network
from mediaworker.core.dtmf import DtmfReceiver
from mediaworker.core.inbound.delay import DelayTarget
from mediaworker.core.inbound.intake import Intake
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.receive import Receiver
from mediaworker.core.inbound.sources import SSRC_SILENCE_NS
from mediaworker.core.inbound.timeline import NoCodedAudio
from mediaworker.core.rows import Rows
from tests.support.engine_caller import rtp

pytestmark = pytest.mark.unit


class Bed:
    """Legs at 10.0.0.1:4000, 4002...; payload type 0, key presses 101."""

    def __init__(self, legs: int) -> None:
        self.rows = Rows(legs, 1)
        self.rejected: Counter[str] = Counter()
        delay = DelayTarget(self.rows, 200_000_000)
        intake = Intake(self.rows, JitterRing(self.rows), delay, NoCodedAudio(), self.rejected)
        self.receiver = Receiver(self.rows, intake, DtmfReceiver(), self.rejected)
        for row in range(legs):
            self.rows.take(0)
            self.rows.negotiated[row] = address_key("10.0.0.1", 4_000 + 2 * row)
            self.rows.first_word[row] = 0x80
            self.rows.dtmf_type[row] = 101
            self.receiver.open(row, (network("10.9.0.0/16"),))

    def batch(
        self, packets: dict[int, bytes], *, sources: dict[int, int] | None = None, now_ns: int = 0
    ) -> None:
        block = np.zeros((len(packets), 256), np.uint8)
        for index, data in enumerate(packets.values()):
            block[index, : len(data)] = np.frombuffer(data, np.uint8)
        keys = [(sources or {}).get(row, int(self.rows.negotiated[row])) for row in packets]
        self.receiver.receive(
            np.array(list(packets)), block, np.array([len(data) for data in packets.values()]),
            np.array(keys, np.uint64), np.full(len(packets), now_ns),
        )  # fmt: skip


def sound(seq: int, *, ssrc: int = 7) -> bytes:
    return rtp(seq, 160 * seq, bytes(160), ssrc=ssrc)


def test_one_bad_packet_in_a_batch_spoils_no_other():
    bed = Bed(4)
    bed.batch({row: sound(1) for row in range(4)})
    bed.batch(
        {0: sound(2), 1: b"\x80", 2: sound(2, ssrc=8), 3: sound(2)}, sources={3: address_key("10.8.0.1", 1)}
    )
    assert bed.rows.received.tolist() == [2, 1, 1, 1]
    assert bed.rejected == {"short": 1, "ssrc": 1, "source": 1}
    bed.batch({row: sound(3) for row in range(4)})
    assert bed.rows.received.tolist() == [3, 2, 2, 2]


def test_a_pin_is_told_once():
    bed = Bed(2)
    bed.batch({1: sound(1)})
    assert bed.receiver.take_pinned() == [1]
    bed.batch({1: sound(2)})
    assert bed.receiver.take_pinned() == []


def test_a_bad_packet_pins_nothing():
    bed = Bed(1)
    for data in (b"", rtp(1, 1, b"", first=0x40), rtp(1, 1, bytes(160), kind=99)):
        bed.batch({0: data})
    assert not bed.rows.pinned[0]
    bed.batch({0: sound(1)}, sources={0: address_key("10.9.4.4", 99)})
    assert int(bed.rows.source[0]) == address_key("10.9.4.4", 99)


def test_a_first_packet_that_is_no_sound_begins_the_count():
    bed = Bed(1)
    bed.batch({0: rtp(65_535, 5, b"\x05\x0a\x00\xa0", ssrc=7, kind=101)})
    bed.batch({0: sound(65_536)})
    assert (bed.rows.received[0], bed.rows.ext_max[0] - bed.rows.base_ext[0]) == (2, 1)


def test_a_new_ssrc_waits_for_the_silence_of_the_old_one():
    bed = Bed(1)
    bed.batch({0: sound(1)}, now_ns=0)
    bed.batch({0: sound(9, ssrc=8)}, now_ns=SSRC_SILENCE_NS - 1)
    assert bed.rejected == {"ssrc": 1}
    bed.batch({0: sound(9, ssrc=8)}, now_ns=SSRC_SILENCE_NS)
    assert bed.rows.received[0] == 2
    assert bed.receiver.take_pinned() == [0, 0]


def test_a_closed_leg_has_no_networks():
    bed = Bed(1)
    assert bed.receiver.sources.allowed(0, address_key("10.9.0.1", 1))
    bed.receiver.close(0)
    bed.receiver.close(0)
    assert not bed.receiver.sources.allowed(0, address_key("10.9.0.1", 1))
