import numpy as np
import pytest

from mediaworker.core.g711 import MU_LAW
from mediaworker.core.outbound.loose import LooseLegs
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows
from shared.contracts import MediaFormat

pytestmark = pytest.mark.unit


class Bench:
    """Two legs of one phase: row 0 as the format says, row 1 plain."""

    def __init__(self, **wanted: object) -> None:
        self.rows = Rows(2, 1)
        self.transmitter = Transmitter(self.rows, np.random.default_rng(1))
        self.loose = LooseLegs(self.rows, self.transmitter)
        self.format = MediaFormat(**({"codec": "PCMU", "payload_type": 0} | wanted))  # type: ignore[arg-type]
        for _ in range(2):
            row = self.rows.take(0)
            self.rows.started[row] = self.rows.sends[row] = True
            self.transmitter.open(row, 0)
        self.rows.first_word[0] = 0x80 | self.format.payload_type << 8
        self.loose.set_format(0, self.format, None)
        self.transmitter.changed(0)
        self.said = 0

    def tick(self, *, silent: bool = False) -> list[bytes]:
        ramp = np.arange(self.said, self.said + 160)
        self.said += 160
        self.rows.sent_pcm[:] = 0 if silent else ramp
        span = self.rows.span(0)
        self.transmitter.encode(span, np.ones(2, np.bool_))
        self.loose.send(0)
        self.transmitter.stamp(0, span)
        return [packet.data for packet in self.transmitter.take_loose()]


def time_of(data: bytes) -> int:
    return int.from_bytes(data[4:8], "big")


@pytest.mark.parametrize(("ptime_ms", "packets"), [(10, 24), (30, 8), (40, 6), (60, 4)])
def test_g711_goes_out_in_packets_of_any_length_whole_and_in_time(ptime_ms: int, packets: int):
    bench = Bench(ptime_ms=ptime_ms)
    begun = int(bench.rows.out_time[0])
    data = [packet for _ in range(12) for packet in bench.tick()]
    samples = ptime_ms * 8
    assert len(data) == packets
    assert {len(packet) for packet in data} == {12 + samples}
    assert [(time_of(packet) - begun) & 0xFFFF_FFFF for packet in data] == [
        samples * index for index in range(packets)
    ]
    assert [int.from_bytes(packet[2:4], "big") for packet in data] == [
        (int.from_bytes(data[0][2:4], "big") + index) & 0xFFFF for index in range(packets)
    ]
    sent = b"".join(packet[12:] for packet in data)
    assert sent == MU_LAW.encoder[np.arange(1_920, dtype=np.int16).view(np.uint16)].tobytes()


def test_twenty_ms_are_plain():
    bench = Bench()
    assert bench.transmitter.sending(0).tolist() == [0, 1]
    assert bench.tick() == []


def test_a_sealed_plain_leg_sends_one_packet_a_tick():
    bench = Bench()
    bench.transmitter.seal(0, bytes)
    (packet,) = bench.tick()
    assert packet[12:] == MU_LAW.encoder[np.arange(160)].tobytes()


def test_a_row_that_was_closed_leaves_nothing_behind():
    bench = Bench(ptime_ms=40)
    bench.tick()
    bench.loose.close(0)
    bench.loose.set_format(0, bench.format, None)
    assert len(bench.tick()) == 0
    (packet,) = bench.tick()
    assert packet[12] == MU_LAW.encoder[160]


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_silence_is_told_as_soon_as_the_packet_that_is_begun_is_full(ptime_ms: int):
    bench = Bench(ptime_ms=ptime_ms, comfort_noise_payload_type=13)
    kinds = [packet[1] & 0x7F for _ in range(15) for packet in bench.tick(silent=True)]
    assert kinds[-1] == 13
    assert kinds.count(13) == 1
    audio_ms = kinds.count(0) * ptime_ms
    assert 200 <= audio_ms < 200 + ptime_ms + 20


@pytest.mark.parametrize("ptime_ms", [20, 40])
def test_sound_after_silence_is_marked_also_where_its_format_changed_meanwhile(ptime_ms: int):
    bench = Bench(ptime_ms=20, comfort_noise_payload_type=13)
    for _ in range(15):
        bench.tick(silent=True)
    bench.loose.set_format(0, MediaFormat(codec="PCMU", payload_type=0, ptime_ms=ptime_ms), None)
    bench.transmitter.changed(0)
    sent = [packet for _ in range(ptime_ms // 20) for packet in bench.tick()]
    first = sent[0] if sent else bench.transmitter.packets[0].tobytes()
    assert first[1] & 0x80
