"""A caller of the media engine whose phone speaks any codec, in virtual time."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mediaworker.core import codecs
from mediaworker.core.address import address_key
from mediaworker.core.codecs import Decoder, Encoder
from mediaworker.core.engine import Engine
from mediaworker.core.g711 import A_LAW, MU_LAW, Law
from mediaworker.core.legs import LegSetup, Samples, TickResult
from shared.contracts import MediaFormat, RtpEndpoint, SrtpKeys
from tests.support.engine_caller import HOST, PORT, TICK_NS, hand_over, rtp
from tests.support.srtp_peer import SrtpPeer

KINDS: dict[str, MediaFormat] = {
    "PCMU": MediaFormat(codec="PCMU", payload_type=0),
    "PCMA": MediaFormat(codec="PCMA", payload_type=8),
    "G722": MediaFormat(codec="G722", payload_type=9),
    "OPUS": MediaFormat(codec="OPUS", payload_type=111, clock_rate_hz=48_000),
    "L16/8000": MediaFormat(codec="L16", payload_type=96, clock_rate_hz=8_000),
    "L16/16000": MediaFormat(codec="L16", payload_type=97, clock_rate_hz=16_000),
    "L16/44100": MediaFormat(codec="L16", payload_type=11, clock_rate_hz=44_100),
}


class _Tables:
    """G.711 with the face of a coder."""

    def __init__(self, law: Law) -> None:
        self._law = law

    def encode(self, pcm: Samples) -> bytes:
        return self._law.encoder[pcm.view(np.uint16)].tobytes()

    def decode(self, payload: bytes) -> Samples:
        return self._law.decoder[np.frombuffer(payload, np.uint8)]

    def duration(self, payload: bytes) -> int:
        return len(payload)

    def conceal(self, samples: int, following: bytes | None = None) -> Samples:
        del following
        return np.zeros(samples, np.int16)

    def adapt(self, loss_ratio: float) -> None:
        """Tables do not."""


def coders(wanted: MediaFormat) -> tuple[Encoder, Decoder]:
    codec = codecs.find(wanted)
    if codec is None:
        tables = _Tables(A_LAW if wanted.codec == "PCMA" else MU_LAW)
        return tables, tables
    return codec.encoder(wanted, codecs.COMPLEXITY), codec.decoder()


@dataclass
class CodedCaller:
    """One leg of an engine and the phone at its other end. The phone's packets have `ptime_ms`; ours that of the format."""

    engine: Engine
    format: MediaFormat
    ptime_ms: int = 20
    port: int = PORT
    echo: bool = False
    room: int = -1
    keys: SrtpKeys | None = None
    """With them all packets are protected (tests/support/srtp_peer.py)."""
    now_ns: int = 0
    seq: int = 1_000
    stamp: int = 50_000
    ssrc: int = 77
    row: int = -1
    caller: list[Samples] = field(default_factory=list)
    """What the engine heard, at the leg's rate."""
    narrow: list[Samples] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """What the engine sent."""
    results: list[TickResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        setup = LegSetup(
            rtp_port=20_000, remote=RtpEndpoint(host=HOST, rtp_port=self.port), format=self.format,
            echo=self.echo, room=self.room, srtp=self.keys,
        )  # fmt: skip
        self.peer = SrtpPeer(self.keys) if self.keys else None
        self.row = self.engine.open(setup, self.now_ns)
        self.engine.start(self.row, self.now_ns)
        self.speak(self.format)

    def speak(self, wanted: MediaFormat) -> None:
        """The phone uses another codec from now on."""
        self.format = wanted
        self.encoder, self.decoder = coders(wanted)
        codec = codecs.find(wanted)
        self.rate_hz = 16_000 if codec and codec.wide else 8_000
        self.clock = codecs.clock_of(codec)

    def packets(self, wave: Samples) -> list[bytes]:
        """The next packets of the stream."""
        size = self.rate_hz * self.ptime_ms // 1_000
        made = []
        for at in range(0, len(wave) - size + 1, size):
            payload = self.encoder.encode(wave[at : at + size])
            data = rtp(self.seq, self.stamp, payload, ssrc=self.ssrc, kind=self.format.payload_type)
            made.append(self.peer.protect(data) if self.peer else data)
            self.seq += 1
            self.stamp += self.clock * self.ptime_ms // 20
        return made

    def say(self, wave: Samples, *, lost: Iterable[int] = ()) -> None:
        """Sends audio in packets, each arriving when its last sample was spoken; ticks as due."""
        gone, spoken = set(lost), 0
        for number, data in enumerate(self.packets(wave)):
            before, spoken = spoken // 20, spoken + self.ptime_ms
            for _ in range(before, spoken // 20):
                self.tick()
            if number not in gone:
                hand_over_long(self.engine, self.row, data, self.now_ns, port=self.port)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.now_ns += TICK_NS
            for _ in range(self.engine.phases):
                result = self.engine.tick(self.now_ns)
                if self.engine.last_phase == self.engine.rows.phase_of(self.row):
                    self._keep(result)

    def _keep(self, result: TickResult) -> None:
        rows = self.engine.rows
        self.results.append(result)
        self.narrow.append(rows.caller_pcm[self.row].copy())
        self.caller.append((rows.caller_wide if self.rate_hz == 16_000 else rows.caller_pcm)[self.row].copy())
        if self.row in self.engine.sending(self.engine.last_phase):
            self.sent.append(self.engine.packets[self.row].tobytes())
        loose = [data for row, data in self.engine.loose() if row == self.row]
        self.sent += [self.peer.unprotect(data) for data in loose] if self.peer else loose

    def said(self) -> Samples:
        return np.concatenate(self.caller)

    def heard(self) -> Samples:
        """What the phone plays of what was sent to it; comfort noise is silence."""
        audio = [data[12:] for data in self.sent if data[1] & 0x7F == self.format.payload_type]
        return np.concatenate([self.decoder.decode(payload) for payload in audio])


def hand_over_long(engine: Engine, row: int, data: bytes, arrived_ns: int, *, port: int = PORT) -> None:
    """A datagram of any length."""
    if len(data) <= 512:
        hand_over(engine, row, data, arrived_ns, port=port)
        return
    buffer = np.zeros((1, 8_192), np.uint8)
    buffer[0, : len(data)] = np.frombuffer(data, np.uint8)
    engine.receive(
        np.array([row]), buffer, np.array([len(data)]), np.array([address_key(HOST, port)], np.uint64),
        np.array([arrived_ns]),
    )  # fmt: skip
