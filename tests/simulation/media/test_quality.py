"""Two engines that call each other over a bad network in virtual time: what one reports is what the other counted."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.legs import QualityEvent
from shared.contracts import RtpEndpoint
from tests.support.engine_caller import MS, TICK_NS, hand_over, leg_setup, rtp, tone

pytestmark = pytest.mark.simulation

SECOND = 50
SENDING_NS = MS
"""From the beginning of a tick to the end of its sends."""


@dataclass
class End:
    """One leg of an engine of its own, who talks all the time."""

    host: str
    port: int
    engine: Engine
    row: int = -1
    mute: bool = False
    events: list[QualityEvent] = field(default_factory=list)
    sent: int = 0
    coming: list[tuple[int, str, bytes]] = field(default_factory=list)

    def packets(self, now_ns: int) -> Iterator[tuple[str, bytes]]:
        """What leaves in one tick."""
        if not self.mute and self.engine.room(self.row) >= 160:
            self.engine.queue(self.row, 1, 0, tone(440, 160, start=160 * self.sent), last=False)
            self.sent += 1
        result = self.engine.tick(now_ns)
        self.events += result.quality
        for row in self.engine.sending(self.engine.last_phase).tolist():
            yield "rtp", self.engine.packets[row].tobytes()
        for packet in self.engine.rtcp_out(now_ns + SENDING_NS):
            yield "rtcp", packet.data


@dataclass
class Network:
    """From one end to the other: delay in ms, None for a lost packet."""

    rtp: Callable[[int], float | None]
    rtcp_ms: float
    number: int = 0
    """Packets of media so far."""

    def carries(self, kind: str) -> float | None:
        if kind != "rtp":
            return self.rtcp_ms
        self.number += 1
        return self.rtp(self.number)


def end(host: str, peer: str, *, mux: bool = False, **options: float) -> End:
    engine = Engine(1, seed=len(host), phases=1, **options)  # type: ignore[arg-type]
    made = End(host, 5_000, engine)
    setup = leg_setup(remote=RtpEndpoint(host=peer, rtp_port=5_000), rtcp_mux=mux)
    made.row = engine.open(setup, 0)
    engine.start(made.row, 0)
    return made


def call(
    seconds: int, there: Network, back: Network, *, mux: bool = False, **options: float
) -> tuple[End, End]:
    """Two ends that talk for so long."""
    ends = (
        end("192.0.2.1", "192.0.2.22", mux=mux, **options),
        end("192.0.2.22", "192.0.2.1", mux=mux, **options),
    )
    talk(ends, seconds, there, back, mux=mux)
    return ends


def talk(
    ends: tuple[End, End], seconds: int, there: Network, back: Network, *, begin: int = 1, mux: bool = False
) -> None:
    for tick in range(begin, begin + seconds * SECOND):
        now_ns = tick * TICK_NS
        for one, other, network in ((ends[0], ends[1], there), (ends[1], ends[0], back)):
            for kind, data in one.packets(now_ns):
                delay = network.carries(kind)
                if delay is not None:
                    other.coming.append((now_ns + SENDING_NS + int(delay * MS), kind, data))
            due = sorted(packet for packet in one.coming if packet[0] <= now_ns)
            one.coming = [packet for packet in one.coming if packet[0] > now_ns]
            for arrived_ns, kind, data in due:
                if kind == "rtp" or mux:
                    hand_over(one.engine, one.row, data, arrived_ns, host=other.host, port=other.port)
                else:
                    one.engine.receive_rtcp(
                        one.row, data, address_key(other.host, other.port + 1), arrived_ns
                    )


def clean(delay_ms: float = 20.0) -> Network:
    return Network(lambda _: delay_ms, delay_ms)


def lossy(share: float, delay_ms: float = 20.0) -> Network:
    chance = random.Random(3)
    return Network(lambda _: None if chance.random() < share else delay_ms + chance.uniform(0, 10), delay_ms)


@pytest.mark.parametrize("mux", [False, True], ids=["a port of its own", "one port"])
def test_a_clean_call_is_scored_full_in_both_directions(mux: bool):
    one, other = call(18, clean(), clean(), mux=mux)
    for at in (one, other):
        stats = at.engine.stats(at.row)
        assert stats.rtt_ms == pytest.approx(40, rel=0.05)
        assert stats.mos_in == pytest.approx(4.37, abs=0.05)
        assert stats.mos_out == pytest.approx(4.37, abs=0.05)
        assert at.events == []
        assert not at.engine.rejected


def test_what_one_end_loses_the_other_is_told():
    one, other = call(40, lossy(0.05), clean())
    here, there = one.engine.stats(one.row), other.engine.stats(other.row)
    assert there.lost_in == pytest.approx(0.05 * 2_000, rel=0.35)
    assert here.lost_out == pytest.approx(there.lost_in, rel=0.2)
    assert here.jitter_out_ms == pytest.approx(there.jitter_in_ms, abs=1.5)
    assert here.mos_out == pytest.approx(there.mos_in, abs=0.3)
    assert 3.2 < there.mos_in < 4.2
    assert here.mos_in > 4.3
    assert there.lost_frames == pytest.approx(there.lost_in, abs=12)


def test_a_long_way_costs_conversation_in_both_directions():
    one, other = call(20, clean(200), clean(200))
    for at in (one, other):
        rows = at.engine.rows
        assert at.engine.stats(at.row).rtt_ms == pytest.approx(400, rel=0.05)
        assert rows.mos_lq_in[at.row] > 4.38
        assert rows.mos_in[at.row] < 4.2


def test_losses_in_bursts_are_seen_as_such():
    bursts = Network(lambda number: None if number % 500 in range(100, 110) else 20.0, 20.0)
    even = Network(lambda number: None if number % 50 == 7 else 20.0, 20.0)
    bursty, steady = call(30, bursts, clean())[1], call(30, even, clean())[1]
    found, plain = (at.engine.stats(at.row) for at in (bursty, steady))
    assert found.lost_in == pytest.approx(plain.lost_in, rel=0.15)
    assert found.burst_losses >= 0.7 * found.lost_frames
    assert plain.burst_losses == 0
    assert found.mos_worst < plain.mos_worst - 0.2


def test_a_call_that_turns_bad_is_told_once_and_its_recovery():
    number_of_bad = range(20 * SECOND, 40 * SECOND)
    chance = random.Random(1)
    network = Network(
        lambda number: None if number in number_of_bad and chance.random() < 0.2 else 20.0, 20.0
    )
    one, other = call(70, network, clean())
    assert [(event.direction, event.state) for event in other.events] == [("in", "low"), ("in", "recovered")]
    assert [(event.direction, event.state) for event in one.events] == [("out", "low"), ("out", "recovered")]


def test_a_call_whose_one_direction_is_cut_is_one_way_at_both_ends():
    ends = call(20, clean(), clean(), rtp_timeout_s=500.0)
    assert [at.events for at in ends] == [[], []]
    cut = Network(lambda _: None, 20.0)
    talk(ends, 20, cut, clean(), begin=20 * SECOND + 1)
    one, other = ends
    causes = [[(event.kind, event.direction, event.data["cause"]) for event in at.events] for at in ends]
    assert causes == [[("one_way", "out", "not_received")], [("one_way", "in", "no_packets")]]
    snapshot = other.engine.snapshot()
    assert (snapshot.one_way.tolist(), snapshot.one_way_begun) == ([1], {("in", "no_packets"): 1})
    talk(ends, 20, clean(), clean(), begin=40 * SECOND + 1)
    assert [event.state for event in one.events if event.kind == "one_way"] == ["begun", "ended"]
    assert [event.state for event in other.events if event.kind == "one_way"] == ["begun", "ended"]


def test_a_caller_who_is_never_heard_is_one_way_after_half_a_minute():
    silent = Engine(1, seed=1, phases=1)
    row = silent.open(leg_setup(), 0)
    silent.start(row, 0)
    found = []
    for tick in range(1, 40 * SECOND):
        hand_over(silent, row, rtp(tick, 160 * tick, bytes([0xFF]) * 160), tick * TICK_NS)
        found += [(event.data["cause"], tick // SECOND) for event in silent.tick(tick * TICK_NS).quality]
    assert found == [("silence", 30)]


def test_legs_that_are_well_cost_no_look_of_python():
    """Reports and events are rare; a tick of sound legs makes none."""
    engine = Engine(32, seed=1, phases=1)
    rows = [engine.open(leg_setup(40_000 + 2 * number), 0) for number in range(32)]
    for row in rows:
        engine.start(row, 0)
    events, reports = 0, 0
    for tick in range(1, 10 * SECOND):
        for number, row in enumerate(rows):
            hand_over(
                engine,
                row,
                rtp(tick, 160 * tick, bytes([0x90]) * 160),
                tick * TICK_NS,
                port=40_000 + 2 * number,
            )
        events += len(engine.tick(tick * TICK_NS).quality)
        reports += len(engine.rtcp_out(tick * TICK_NS))
    assert events == 0
    assert 32 <= reports <= 32 * 5
    assert np.all(engine.rows.mos_in[rows] > 4.3)


@pytest.mark.parametrize(("paused_before", "told"), [(True, []), (False, ["no_packets"])])
def test_a_sender_seen_to_pause_is_not_one_way_while_it_pauses(paused_before: bool, told: list[str]):
    """Silence suppression without comfort noise: time goes on in the stream, numbers do not."""
    engine = Engine(1, seed=1, phases=1, rtp_timeout_s=500.0)
    row = engine.open(leg_setup(), 0)
    engine.start(row, 0)
    found, sent = [], 0
    for tick in range(1, 30 * SECOND):
        if tick < 10 * SECOND and not (paused_before and 200 < tick < 220):
            sent += 1
            hand_over(engine, row, rtp(sent, 160 * tick, bytes([0x90]) * 160), tick * TICK_NS)
        found += [event.data["cause"] for event in engine.tick(tick * TICK_NS).quality]
    assert found == told
