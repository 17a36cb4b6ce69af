from collections import Counter

import numpy as np
import pytest

from mediaworker.core.formats import Formats
from mediaworker.core.inbound.coded import CodedLegs
from mediaworker.core.outbound.loose import LooseLegs
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows
from shared.contracts import MediaFormat
from shared.errors import Refused
from tests.support.coded_caller import KINDS

pytestmark = pytest.mark.unit


class Bench:
    def __init__(self, name: str = "PCMU") -> None:
        self.rows = Rows(2, 1)
        self.transmitter = Transmitter(self.rows, np.random.default_rng(1))
        self.loose = LooseLegs(self.rows, self.transmitter)
        self.coded = CodedLegs(self.rows, Counter())
        self.formats = Formats(self.rows, self.transmitter, self.loose, self.coded)
        self.row = self.rows.take(0)
        self.rows.started[self.row] = True
        self.formats.set(self.row, KINDS[name])
        self.transmitter.open(self.row, KINDS[name].payload_type)

    def stream(self) -> tuple[int, int, int]:
        rows = self.rows
        return int(rows.out_ssrc[self.row]), int(rows.out_seq[self.row]), int(rows.out_time[self.row])


@pytest.mark.parametrize(
    ("name", "coded", "wide", "clock"),
    [
        ("PCMU", False, False, 160), ("PCMA", False, False, 160), ("G722", True, True, 160), ("OPUS", True, True, 960),
        ("L16/8000", True, False, 160), ("L16/16000", True, True, 320), ("L16/44100", True, True, 882),
    ],
)  # fmt: skip
def test_a_row_knows_its_codecs_clock_and_rate(name: str, coded: bool, wide: bool, clock: int):
    bench = Bench(name)
    rows, row = bench.rows, bench.row
    assert (bool(rows.coded[row]), bool(rows.wide[row]), int(rows.clock[row])) == (coded, wide, clock)
    assert bool(rows.loose[row]) is coded
    assert bool(rows.first_word[row] & 0x8000) is coded, "no packet of it is a plain one"
    assert int(rows.first_word[row]) >> 8 & 0x7F == KINDS[name].payload_type


def test_direction_and_key_presses_are_columns():
    bench = Bench()
    rows, row = bench.rows, bench.row
    bench.formats.set(
        row, MediaFormat(codec="PCMA", payload_type=8, direction="sendonly", dtmf_payload_type=101)
    )
    assert (bool(rows.sends[row]), bool(rows.receives[row]), int(rows.dtmf_type[row])) == (True, False, 101)
    assert rows.alaw[row]
    bench.formats.set(row, MediaFormat(codec="PCMU", payload_type=0, direction="recvonly"))
    assert (bool(rows.sends[row]), bool(rows.receives[row]), int(rows.dtmf_type[row])) == (False, True, -1)
    assert not rows.alaw[row]


@pytest.mark.parametrize(
    ("before", "after", "anew", "same_stream"),
    [
        ("PCMU", "PCMU", False, True), ("PCMU", "PCMA", False, True), ("PCMU", "G722", True, True),
        ("G722", "PCMA", True, True), ("PCMU", "OPUS", True, False), ("OPUS", "L16/16000", True, False),
        ("OPUS", "OPUS", False, True), ("L16/8000", "L16/44100", True, False), ("L16/8000", "PCMU", True, True),
    ],
)  # fmt: skip
def test_a_stream_goes_on_as_long_as_its_clock_does(before: str, after: str, anew: bool, same_stream: bool):
    """RFC 7160 section 4.2: another clock rate is another SSRC."""
    bench = Bench(before)
    bench.rows.flowing[bench.row] = True
    stream = bench.stream()
    assert bench.formats.set(bench.row, KINDS[after]) is anew
    assert (bench.stream() == stream) is same_stream
    assert bool(bench.rows.flowing[bench.row]) is not anew


def test_a_hold_leaves_the_coders_alone_and_another_codec_does_not():
    bench = Bench("OPUS")
    packer, stream = bench.loose._packers[bench.row], bench.coded._streams[bench.row]
    held = MediaFormat(codec="OPUS", payload_type=112, clock_rate_hz=48_000, direction="inactive")
    bench.formats.set(bench.row, held)
    assert bench.loose._packers[bench.row] is packer
    assert bench.coded._streams[bench.row] is stream
    assert int(bench.rows.first_word[bench.row]) >> 8 & 0x7F == 112
    bench.formats.set(bench.row, KINDS["G722"])
    assert bench.loose._packers[bench.row] is not packer
    assert bench.coded._streams[bench.row] is not stream


def test_another_packet_time_is_another_packer_and_the_same_decoder():
    bench = Bench("G722")
    packer, stream = bench.loose._packers[bench.row], bench.coded._streams[bench.row]
    bench.formats.set(bench.row, MediaFormat(codec="G722", payload_type=9, ptime_ms=40))
    assert bench.loose._packers[bench.row] is not packer
    assert bench.coded._streams[bench.row] is stream


def test_back_to_g711_the_row_is_plain():
    bench = Bench("OPUS")
    bench.formats.set(bench.row, KINDS["PCMU"])
    assert not bench.rows.loose[bench.row]
    assert not bench.loose._packers
    assert not bench.coded._streams


def test_a_closed_row_is_forgotten():
    bench = Bench("OPUS")
    bench.formats.close(bench.row)
    assert not bench.loose._packers
    assert not bench.coded._streams
    stream = bench.stream()
    bench.formats.set(bench.row, KINDS["G722"])
    assert bench.stream() == stream, "the next leg of the row is no change of a format"


def test_what_cannot_be_done_is_refused_and_changes_nothing():
    bench = Bench("G722")
    impossible = MediaFormat(codec="OPUS", payload_type=9, clock_rate_hz=16_000)
    with pytest.raises(Refused):
        bench.formats.check(impossible)
    with pytest.raises(Refused):
        bench.formats.set(bench.row, impossible)
    assert int(bench.rows.clock[bench.row]) == 160
    assert bench.rows.coded[bench.row]
