"""Our figures of impaired streams against tshark's, on the same trace: what the engine gets at a time is written to a
capture with that time. Nothing waits, so nothing depends on how busy the machine is."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegStats
from mediaworker.core.reporting import rtcp, xr
from shared.contracts import MediaFormat
from tests.support import capture, pcap
from tests.support.coded_caller import KINDS
from tests.support.engine_caller import HOST, MS, PORT, TICK_NS, hand_over, leg_setup, rtp

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not shutil.which("tshark"), reason="tshark not installed (apt-get install tshark)"),
]

CALLER, FARM = (HOST, PORT), ("192.0.2.20", 20_000)
SECONDS = 20
CLOSE = 0.05
"""What "agrees" means."""


@dataclass(frozen=True)
class Trace:
    """A stream and what the network does to each of its packets: delays of its copies in ms, none for a lost one."""

    name: str
    network: Callable[[random.Random, int], list[float]]
    codec: str = "PCMU"
    ptime_ms: int = 20
    first_seq: int = 100
    first_time: int = 5_000
    silence: tuple[int, int] = (0, 0)
    """Packets that are not sent (and have no number): from, to."""


def jittery(chance: random.Random, _: int) -> list[float]:
    return [chance.expovariate(1 / 8)]


def lossy(chance: random.Random, number: int) -> list[float]:
    kept = chance.random() > 0.1 or number == 0
    return [chance.uniform(0, 10)] if kept else []


def bursty(chance: random.Random, number: int) -> list[float]:
    return [] if number % 150 in range(60, 60 + number // 150) else [chance.uniform(0, 4)]


def reordered(chance: random.Random, number: int) -> list[float]:
    return [chance.uniform(0, 5) + (45 if number and chance.random() < 0.05 else 0)]


def duplicated(chance: random.Random, _: int) -> list[float]:
    delay = chance.uniform(0, 10)
    return [delay, delay + chance.uniform(0.1, 8)] if chance.random() < 0.05 else [delay]


def stalled(chance: random.Random, number: int) -> list[float]:
    """Each five seconds nothing comes for 200 ms, then all of it at once."""
    place = number % 250
    return [max(0.0, 200.0 - 20.0 * (place - 100)) if 100 <= place < 110 else chance.uniform(0, 3)]


TRACES = (
    Trace("jittery", jittery),
    Trace("lossy", lossy),
    Trace("losses in bursts", bursty),
    Trace("reordered", reordered),
    Trace("duplicated", duplicated),
    Trace("stalled", stalled),
    Trace("numbers and times wrap", jittery, first_seq=65_000, first_time=0xFFFF_FFFF - 80_000),
    Trace("lossy around the wrap", lossy, first_seq=65_400, first_time=0xFFFF_FFFF - 9_000),
    Trace("packets of 30 ms", lossy, ptime_ms=30),
    Trace("packets of 60 ms", reordered, ptime_ms=60),
    Trace("A-law", jittery, codec="PCMA"),
    Trace("G.722", jittery, codec="G722"),
    Trace("clock of Opus", lossy, codec="OPUS"),
    Trace("silence suppressed", jittery, silence=(300, 500)),
)


def packets(trace: Trace, kind: MediaFormat) -> list[tuple[int, bytes]]:
    """Arrival times and packets, in the order of arrival."""
    chance = random.Random(trace.name)
    units = kind.clock_rate_hz * trace.ptime_ms // 1_000
    payload = bytes([0x08] * 40) if trace.codec == "OPUS" else bytes([0x90] * (8 * trace.ptime_ms))
    sent, arrivals = 0, []
    for number in range(SECONDS * 1_000 // trace.ptime_ms):
        if trace.silence[0] <= number < trace.silence[1]:
            continue
        data = rtp(trace.first_seq + sent, trace.first_time + number * units, payload, kind=kind.payload_type)
        delays = trace.network(chance, number)
        arrivals += [(int((number * trace.ptime_ms + delay) * MS), data) for delay in delays]
        sent += 1
    return sorted(arrivals)


def engine_figures(kind: MediaFormat, arrivals: list[tuple[int, bytes]]) -> LegStats:
    """The engine's, each packet handed over in the tick after it came."""
    engine = Engine(1, seed=1, phases=1)
    setup = leg_setup(format=kind)
    row = engine.open(setup, 0)
    engine.start(row, 0)
    waiting = iter([*arrivals, (1 << 62, b"")])
    next_ns, data = next(waiting)
    for tick in range(1, (SECONDS + 1) * 50):
        while next_ns <= tick * TICK_NS:
            hand_over(engine, row, data, next_ns)
            next_ns, data = next(waiting)
        engine.tick(tick * TICK_NS)
    return engine.stats(row)


def tshark_figures(
    path: Path, kind: MediaFormat, arrivals: list[tuple[int, bytes]]
) -> tuple[capture.RtpStream, int]:
    """tshark's analysis of the stream, and how many packets it saw out of order."""
    name = {"OPUS": "opus/48000/2"}.get(kind.codec, f"{kind.codec}/{kind.clock_rate_hz}")
    datagrams = pcap.call_set_up(CALLER, FARM, kind.payload_type, name)
    datagrams += [pcap.Datagram(at_ns, CALLER, FARM, data) for at_ns, data in arrivals]
    text = tshark(pcap.write(path, datagrams), "rtp", "rtp.extseq", "-z", "rtp,streams")
    (stream,) = capture.streams_of(text)
    return stream, out_of_order(int(line) for line in text.splitlines() if line.isdecimal())


def tshark(path: Path, only: str, fields: str, *options: str) -> str:
    """Fields of every packet of a kind, and what the options add."""
    columns = [part for field in fields.split() for part in ("-e", field)]
    command = ["tshark", "-r", str(path), *options, "-Y", only, "-T", "fields", *columns]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def out_of_order(numbers: Iterable[int]) -> int:
    """RFC 4737 section 3: packets with a smaller number than one before them. Copies do not count."""
    highest, seen, count = -1, set[int](), 0
    for number in numbers:
        count += number < highest and number not in seen
        seen.add(number)
        highest = max(highest, number)
    return count


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_figures_of_a_trace_agree_with_tshark(trace: Trace, tmp_path: Path):
    kind = KINDS[trace.codec]
    arrivals = packets(trace, kind)
    ours = engine_figures(kind, arrivals)
    theirs, reordered_there = tshark_figures(tmp_path / "trace.pcap", kind, arrivals)
    print(
        f"\n{trace.name}: jitter mean {ours.jitter_mean_ms:.3f} / {theirs.mean_jitter} max {ours.jitter_max_ms:.3f} / "
        f"{theirs.max_jitter} ms, lost {ours.lost_in} / {theirs.lost}, reordered {ours.reordered_in} / "
        f"{reordered_there}, packets {ours.packets_in} / {theirs.packets} (ours / tshark)"
    )
    assert ours.packets_in == theirs.packets == len(arrivals)
    # tshark counts a copy as a packet that makes up for a lost one.
    assert ours.lost_in == pytest.approx(theirs.lost + ours.duplicate_in, rel=CLOSE)
    assert ours.duplicate_in == len(arrivals) - len({data for _, data in arrivals})
    assert ours.jitter_mean_ms == pytest.approx(theirs.mean_jitter, rel=CLOSE)
    assert ours.jitter_max_ms == pytest.approx(theirs.max_jitter, rel=CLOSE)
    assert ours.reordered_in == reordered_there


ROUND_TRIPS_MS = (40, 180, 700)
"""tshark counts whole milliseconds and passes over the shortest."""


@pytest.mark.parametrize("round_trip_ms", ROUND_TRIPS_MS)
def test_round_trip_agrees_with_tshark(round_trip_ms: int, tmp_path: Path):
    """The peer is half a round trip away, holds each report of ours for a while and says how long."""
    engine = Engine(1, seed=1, phases=1)
    engine.wall_offset_ns = pcap.EPOCH_NS
    row = engine.open(leg_setup(), 0)
    engine.start(row, 0)
    chance, way_ns = random.Random(1), round_trip_ms * MS // 2
    at_farm, at_caller = (FARM[0], FARM[1] + 1), (CALLER[0], CALLER[1] + 1)
    datagrams: list[pcap.Datagram] = []
    on_the_way: list[tuple[int, bytes]] = []
    found = []
    hand_over(engine, row, rtp(1, 160, bytes(160)), 0)
    for tick in range(1, 60 * 50):
        now_ns = tick * TICK_NS
        for arrived_ns, data in [one for one in on_the_way if one[0] <= now_ns]:
            on_the_way.remove((arrived_ns, data))
            datagrams.append(pcap.Datagram(arrived_ns, at_caller, at_farm, data))
            engine.receive_rtcp(row, data, address_key(*at_caller), arrived_ns)
            found.append(engine.stats(row).rtt_ms)
        engine.tick(now_ns)
        sent_ns = now_ns + chance.randrange(2 * MS)
        for packet in engine.rtcp_out(sent_ns):
            datagrams.append(pcap.Datagram(sent_ns, at_farm, at_caller, packet.data))
            held_ns = chance.randrange(2_000 * MS)
            answer = answer_to(packet.data, rtcp.since(0, held_ns))
            on_the_way.append((sent_ns + 2 * way_ns + held_ns, answer))
    path = pcap.write(tmp_path / "rtcp.pcap", datagrams)
    options = ("-o", "rtcp.show_roundtrip_calculation:TRUE", "-d", f"udp.port=={at_farm[1]},rtcp")
    text = tshark(path, "rtcp", "rtcp.roundtrip-delay", *options)
    theirs = [float(line) for line in text.splitlines() if line]
    print(f"\nround trip of {round_trip_ms} ms: ours {found}, tshark {theirs}")
    assert len(found) >= 6
    assert found == pytest.approx([round_trip_ms] * len(found), rel=CLOSE)
    assert len(theirs) == len(found)
    assert found == pytest.approx(theirs, rel=CLOSE)


def answer_to(data: bytes, delay: int) -> bytes:
    """The caller's receiver report about our stream."""
    report = rtcp.parse(data)
    assert report is not None
    assert report.sender is not None
    block = rtcp.Block(
        ssrc=report.ssrc,
        fraction_lost=0,
        lost=0,
        highest=1,
        jitter=0,
        lsr=rtcp.middle(report.sender.ntp),
        dlsr=delay,
    )
    return rtcp.compound(77, "caller@test", None, block)


XR_FIELDS = {
    "burstdensity": "burst_density", "gapdensity": "gap_density", "burstduration": "burst_ms", "gapduration": "gap_ms",
    "rtdelay": "round_trip_ms", "esdelay": "end_delay_ms", "signallevel": "signal_level", "gmin": "gmin",
    "rfactor": "r_factor", "jbnominal": "buffer_nominal_ms", "jbabsmax": "buffer_limit_ms",
}  # fmt: skip


def test_our_reports_are_whole_in_tsharks_eyes(tmp_path: Path):
    """Every packet of a lossy call, the last one with BYE: nothing malformed, and the metrics as we read them."""
    engine = Engine(1, seed=1, phases=1)
    engine.wall_offset_ns = pcap.EPOCH_NS
    row = engine.open(leg_setup(), 0)
    engine.start(row, 0)
    at_farm, at_caller = (FARM[0], FARM[1] + 1), (CALLER[0], CALLER[1] + 1)
    asks = xr.Extended(ssrc=77, reference_time=rtcp.ntp_time(pcap.EPOCH_NS))
    sent: list[pcap.Datagram] = []
    for tick in range(1, 15 * 50):
        now_ns = tick * TICK_NS
        if tick % 40 > 2:
            hand_over(engine, row, rtp(tick, 160 * tick, bytes([0x90]) * 160), now_ns)
        if tick == 20:
            engine.receive_rtcp(
                row,
                rtcp.compound(77, "caller@test", None, None, extended=asks),
                address_key(*at_caller),
                now_ns,
            )
        engine.tick(now_ns)
        sent += [pcap.Datagram(now_ns, at_farm, at_caller, packet.data) for packet in engine.rtcp_out(now_ns)]
    engine.close(row, now_ns)
    sent += [pcap.Datagram(now_ns, at_farm, at_caller, packet.data) for packet in engine.rtcp_out(now_ns)]
    path = pcap.write(tmp_path / "rtcp.pcap", sent)
    decode = ("-d", f"udp.port=={at_caller[1]},rtcp")
    assert tshark(path, "_ws.malformed || _ws.expert", "frame.number", *decode) == ""
    kinds = tshark(path, "rtcp", "rtcp.pt", *decode).split()
    assert kinds[0].split(",") == ["200", "202", "207"]
    assert kinds[-1].split(",") == ["200", "202", "207", "203"]
    last = rtcp.parse(sent[-1].data)
    assert last is not None
    assert last.extended is not None
    (metrics,) = last.extended.metrics
    assert metrics.burst_density > 0
    assert metrics.buffer_limit_ms == 200
    wanted = " ".join(f"rtcp.xr.voipmetrics.{name}" for name in XR_FIELDS)
    seen = tshark(path, "rtcp.xr.bt == 7", wanted, *decode).splitlines()[-1].split("\t")
    assert dict(zip(XR_FIELDS, map(float, seen), strict=True)) == {
        name: getattr(metrics, ours) for name, ours in XR_FIELDS.items()
    }
    answered = tshark(path, "rtcp.xr.bt == 5", "rtcp.xr.lrr", *decode).split()[-1]
    assert int(answered) == last.extended.delays[0].last
