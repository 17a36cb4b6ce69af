"""The whole receive path: an engine with legs of every kind, damaged datagrams on all of them in every tick.

One leg more is left alone: whatever happens to its neighbours, its caller must be heard without a gap (I9).
"""

import numpy as np
from pylibsrtp import Error

from bench.fuzz.mutator import Mutator
from bench.fuzz.targets import Step, encoded, rtcp_datagrams
from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegSetup
from mediaworker.core.refusals import REASONS
from shared.contracts import MediaFormat, RtpEndpoint, SrtpKeys
from tests.support.coded_caller import KINDS
from tests.support.engine_caller import TICK_NS, rtp
from tests.support.srtp_peer import SrtpPeer, keys

HOST = "192.0.2.10"
BYTES = 2_048
LEGS = 48


class Phone:
    """A leg of the engine and its stream of valid packets."""

    def __init__(self, engine: Engine, number: int, wanted: MediaFormat, srtp: SrtpKeys | None) -> None:
        self.format = wanted
        self.source = address_key(HOST, 4_000 + 2 * number)
        setup = LegSetup(
            rtp_port=20_000, remote=RtpEndpoint(host=HOST, rtp_port=4_000 + 2 * number), format=wanted, srtp=srtp,
            echo=True, detect_speech=number % 2 == 0, media_cidrs=("198.51.100.0/24",) if number % 3 == 0 else (),
        )  # fmt: skip
        self.row = engine.open(setup, 0)
        engine.start(self.row, 0)
        self.peer = SrtpPeer(srtp) if srtp else None
        self.seq, self.stamp = 65_000 + number, 0xFFFF_0000 + number
        self.units = wanted.clock_rate_hz // 50
        loud = bytes(range(160))
        self.payloads = [loud] if wanted.codec in {"PCMU", "PCMA"} else encoded(wanted, 160 if wanted.clock_rate_hz == 8_000 and wanted.codec == "L16" else 320)  # fmt: skip

    def packet(self, number: int) -> bytes:
        payload, kind = self.payloads[number % len(self.payloads)], self.format.payload_type
        if number % 17 == 5 and self.format.dtmf_payload_type:
            payload, kind = b"\x05\x8a\x03\x20", self.format.dtmf_payload_type
        if number % 31 == 7:
            payload, kind = b"\x40\x10", 13
        self.seq += 1
        self.stamp += self.units
        return rtp(self.seq, self.stamp, payload, kind=kind)

    def sealed(self, data: bytes) -> bytes:
        if not self.peer:
            return data
        try:
            return self.peer.protect(data)
        except (Error, ValueError):  # no RTP header is left, its number was used, or it is too long
            return data


def formats(number: int) -> MediaFormat:
    """All codecs in turns; key presses, mux and comfort noise in some."""
    base = list(KINDS.values())[number % len(KINDS)]
    return MediaFormat(
        codec=base.codec, payload_type=base.payload_type, clock_rate_hz=base.clock_rate_hz,
        dtmf_payload_type=101 if number % 2 else None, dtmf_clock_rate_hz=base.clock_rate_hz, rtcp_mux=number % 5 == 0,
        comfort_noise_payload_type=13 if number % 4 == 0 else None, ptime_ms=(20, 20, 10, 40)[number % 4],
    )  # fmt: skip


def whole_engine(mutator: Mutator) -> Step:
    """A step is one tick of 20 ms: a datagram, or two, for every leg, RTP mostly, RTCP of both kinds at times."""
    engine = Engine(LEGS + 1, seed=1, source_policy="latch")
    suites = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM")
    phones = [
        Phone(engine, number, formats(number), keys(suites[number % 2]) if number % 6 < 2 else None)  # type: ignore[arg-type]
        for number in range(LEGS)
    ]
    spared = Phone(engine, LEGS, MediaFormat(codec="PCMU", payload_type=0), None)
    reports = rtcp_datagrams()
    now_ns, number = 0, 0

    def datagram(phone: Phone) -> bytes:
        data = phone.packet(number)
        if mutator.random.randrange(20) == 0:
            return mutator.damage(mutator.random.choice(reports))
        if mutator.random.randrange(3) == 0:
            return phone.sealed(mutator.damage(data)[:1_300])  # authentic, and damaged: the codec's to bear
        return mutator.damage(phone.sealed(data))

    def source(phone: Phone) -> int:
        return phone.source if mutator.random.randrange(20) else mutator.random.getrandbits(63)

    def step() -> int:
        nonlocal now_ns, number
        number += 1
        now_ns += TICK_NS
        for _ in range(1 + (number % 4 == 0)):
            _deliver(engine, [(phone.row, datagram(phone), source(phone)) for phone in phones], now_ns)
        _deliver(engine, [(spared.row, spared.packet(0), spared.source)], now_ns)
        for phone in phones[number % 7 :: 7]:
            data = mutator.damage(mutator.random.choice(reports))
            engine.receive_rtcp(phone.row, data, source(phone) + (1 << 24), now_ns)
        for _ in range(engine.phases):
            engine.tick(now_ns)
            engine.loose()
            engine.rtcp_out(now_ns)
        engine.take_moved()
        stats = engine.stats(spared.row)
        if stats.packets_in != number or stats.concealed > 5:
            raise AssertionError(stats)
        if not engine.rejected.keys() <= REASONS.keys():
            raise AssertionError(engine.rejected)
        return LEGS * (1 + (number % 4 == 0)) + len(phones[number % 7 :: 7])

    return step


def _deliver(engine: Engine, datagrams: list[tuple[int, bytes, int]], now_ns: int) -> None:
    block = np.zeros((len(datagrams), BYTES), np.uint8)
    for index, (_, data, _) in enumerate(datagrams):
        block[index, : len(data)] = np.frombuffer(data, np.uint8)
    engine.receive(
        np.array([row for row, _, _ in datagrams]), block, np.array([len(data) for _, data, _ in datagrams]),
        np.array([source for _, _, source in datagrams], np.uint64), np.full(len(datagrams), now_ns),
    )  # fmt: skip
