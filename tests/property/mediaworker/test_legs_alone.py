"""A leg among others is heard as it would be alone: nothing of the array steps leaks from row to row.

The legs have networks, codecs and keys of their own; what each hears, and every figure of it, must be what an engine gives for the same
datagrams in which the other legs get none. (Legs keep their rows: targets are found for a part of the rows per tick.)
"""

import random

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup, LegStats, Samples
from shared.contracts import MediaFormat, RtpEndpoint, SrtpKeys
from tests.support.coded_caller import KINDS, coders
from tests.support.engine_caller import HOST, MS, PORT, TICK_NS, hand_over, rtp, tone
from tests.support.srtp_peer import SrtpPeer, keys

pytestmark = pytest.mark.property

TICKS = 150
LEGS: tuple[tuple[str, SrtpKeys | None], ...] = (
    ("PCMU", None), ("PCMA", None), ("G722", None), ("PCMU", keys()), ("OPUS", None), ("PCMU", None), ("L16/16000", keys("AEAD_AES_128_GCM")),
)  # fmt: skip

Arrivals = list[tuple[int, bytes]]


def setup_of(number: int, wanted: MediaFormat, srtp: SrtpKeys | None) -> LegSetup:
    return LegSetup(
        rtp_port=20_000, remote=RtpEndpoint(host=HOST, rtp_port=PORT + 2 * number), format=wanted, srtp=srtp,
        echo=True, detect_speech=True,
    )  # fmt: skip


def stream(name: str, srtp: SrtpKeys | None, draw: random.Random) -> Arrivals:
    """Datagrams with their times: speech-like bursts over a network that loses, reorders, repeats and stalls."""
    wanted = KINDS[name]
    encoder, _ = coders(wanted)
    size = 320 if name in {"G722", "OPUS", "L16/16000"} else 160
    peer = SrtpPeer(srtp) if srtp else None
    spread_ms, loss = draw.choice((0, 5, 40)), draw.choice((0, 2, 10))
    seq, stamp, out = draw.randrange(65_536), draw.getrandbits(32), []
    stall = draw.randrange(TICKS)
    hz = draw.uniform(200, 900)
    for tick in range(TICKS):
        loud = tick // 25 % 2 == 0
        pcm = tone(hz, size, start=tick * size, amplitude=6_000 if loud else 8)
        data = rtp(
            seq + tick,
            stamp + tick * wanted.clock_rate_hz // 50,
            encoder.encode(pcm),
            kind=wanted.payload_type,
        )
        data = peer.protect(data) if peer else data
        late_ms = draw.uniform(0, spread_ms) + (
            200 - (tick - stall) * 20 if stall <= tick < stall + 10 else 0
        )
        at_ns = int((tick * 20 + 1 + late_ms) * MS)
        if draw.randrange(100) >= loss:
            out.append((at_ns, data))
        if draw.randrange(50) == 0:
            out.append((at_ns + 30 * MS, data))
    return sorted(out, key=lambda one: one[0])


def heard(
    legs: list[tuple[int, MediaFormat, SrtpKeys | None, Arrivals]],
) -> list[tuple[list[Samples], list[str], LegStats]]:
    """What each leg's caller audio is, tick by tick; the events of its speech; its figures."""
    engine = Engine(len(legs), seed=1, phases=1)
    rows = [engine.open(setup_of(number, wanted, srtp), 0) for number, wanted, srtp, _ in legs]
    for row in rows:
        engine.start(row, 0)
    waiting = [list(arrivals) for *_, arrivals in legs]
    audio: list[list[Samples]] = [[] for _ in legs]
    events: list[list[str]] = [[] for _ in legs]
    for tick in range(1, TICKS + 20):
        now_ns = tick * TICK_NS
        for index, (number, *_) in enumerate(legs):
            while waiting[index] and waiting[index][0][0] <= now_ns:
                at_ns, data = waiting[index].pop(0)
                hand_over(engine, rows[index], data, at_ns, port=PORT + 2 * number)
        result = engine.tick(now_ns)
        engine.loose()
        for index, row in enumerate(rows):
            wide = bool(engine.rows.wide[row])
            audio[index].append((result.caller_wide if wide else result.caller_pcm)[row].copy())
            events[index] += [f"{tick} {event.kind.name}" for event in result.speech if event.row == row]
    return [(audio[index], events[index], engine.stats(row)) for index, row in enumerate(rows)]


@pytest.mark.parametrize("seed", range(3))
def test_a_leg_among_others_is_what_it_is_alone(seed: int):
    draw = random.Random(seed)
    order = draw.sample(range(len(LEGS)), len(LEGS))
    legs = [
        (number, KINDS[LEGS[number][0]], LEGS[number][1], stream(*LEGS[number], draw)) for number in order
    ]
    together = heard(legs)
    spoke = 0
    for leg, (audio, events, stats) in zip(legs, together, strict=True):
        quiet = [
            (number, wanted, srtp, arrivals if number == leg[0] else [])
            for number, wanted, srtp, arrivals in legs
        ]
        alone, events_alone, stats_alone = heard(quiet)[legs.index(leg)]
        for tick, (one, other) in enumerate(zip(audio, alone, strict=True)):
            assert np.array_equal(one, other), (leg[1].codec, tick)
        assert events == events_alone
        assert stats == stats_alone
        assert stats.packets_in > TICKS // 2
        spoke += bool(events)
    assert spoke == len(legs)
