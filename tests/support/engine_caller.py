"""A caller of the media engine in virtual time: makes RTP packets, hands them over, collects what comes back."""

import struct
from dataclasses import dataclass, field

import numpy as np

from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.legs import LegSetup, Samples, TickResult
from shared.contracts import MediaFormat, RtpEndpoint, TurnSettings

MS = 1_000_000
TICK_NS = 20 * MS
HOST = "192.0.2.10"
PORT = 40_000


def leg_setup(port: int = PORT, **changes: object) -> LegSetup:
    """An ordinary leg with changes: fields of LegSetup, or of its format (codec, payload_type, direction...)."""
    codec = str(changes.pop("codec", "PCMU"))
    kind: dict[str, object] = {"codec": codec, "payload_type": 8 if codec == "PCMA" else 0}
    for name in ("payload_type", "dtmf_payload_type", "direction", "ptime_ms", "rtcp_mux"):
        if name in changes:
            kind[name] = changes.pop(name)
    host = str(changes.pop("host", HOST))
    values: dict[str, object] = {
        "rtp_port": 20_000, "remote": RtpEndpoint(host=host, rtp_port=port), "format": MediaFormat(**kind),
        "turn": TurnSettings(),
    }  # fmt: skip
    return LegSetup(**(values | changes))  # type: ignore[arg-type]


def rtp(
    seq: int,
    stamp: int,
    payload: bytes,
    *,
    ssrc: int = 77,
    kind: int = 0,
    marker: bool = False,
    first: int = 0x80,
) -> bytes:
    return struct.pack(
        "!BBHII", first, kind | marker << 7, seq & 0xFFFF, stamp & 0xFFFF_FFFF, ssrc
    ) + payload  # fmt: skip


def tone(hz: float, samples: int, *, start: int = 0, amplitude: int = 8_000) -> Samples:
    time = np.arange(start, start + samples) / 8_000
    return (amplitude * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def hand_over(
    engine: Engine, row: int, data: bytes, arrived_ns: int, *, host: str = HOST, port: int = PORT
) -> None:
    """One datagram from host:port."""
    buffer = np.zeros((1, 512 if len(data) <= 512 else 2_048), np.uint8)
    buffer[0, : len(data)] = np.frombuffer(data, np.uint8)
    engine.receive(
        np.array([row]), buffer, np.array([len(data)]), np.array([address_key(host, port)], np.uint64),
        np.array([arrived_ns]),
    )  # fmt: skip


@dataclass
class Caller:
    """One leg of an engine and the phone at its other end."""

    engine: Engine
    setup: LegSetup
    ssrc: int = 77
    seq: int = 1_000
    stamp: int = 50_000
    now_ns: int = 0
    row: int = -1
    sent: list[bytes] = field(default_factory=list)
    """Packets that the engine prepared, as they would leave the socket."""
    results: list[TickResult] = field(default_factory=list)
    caller: list[Samples] = field(default_factory=list)
    heard: list[Samples] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.row = self.engine.open(self.setup, self.now_ns)
        self.engine.start(self.row, self.now_ns)

    @property
    def kind(self) -> int:
        return self.setup.format.payload_type

    def packet(self, pcm: Samples) -> bytes:
        """The next packet of the stream."""
        law = A_LAW if self.setup.format.codec == "PCMA" else MU_LAW
        data = rtp(
            self.seq, self.stamp, law.encoder[pcm.view(np.uint16)].tobytes(), ssrc=self.ssrc, kind=self.kind
        )
        self.seq += 1
        self.stamp += len(pcm)
        return data

    def say(self, pcm: Samples, *, size: int = 160) -> None:
        """Sends audio in packets of `size` samples, each arriving when its last sample was spoken; ticks as due."""
        for start in range(0, len(pcm), size):
            self.arrive(self.packet(pcm[start : start + size]))
            for _ in range((start + size) // 160 - start // 160):
                self.tick()

    def arrive(self, data: bytes, arrived_ns: int | None = None) -> None:
        remote = self.setup.remote
        arrived_ns = self.now_ns if arrived_ns is None else arrived_ns
        hand_over(self.engine, self.row, data, arrived_ns, host=remote.host, port=remote.rtp_port)

    def tick(self, times: int = 1) -> TickResult:
        """20 ms of all phases, of which this leg's is kept."""
        for _ in range(times):
            self.now_ns += TICK_NS
            for phase in range(self.engine.phases):
                result = self.engine.tick(self.now_ns)
                if phase == self.engine.rows.phase_of(self.row):
                    self._keep(result)
        return self.results[-1]

    def _keep(self, result: TickResult) -> None:
        self.results.append(result)
        self.caller.append(result.caller_pcm[self.row].copy())
        self.heard.append(result.sent_pcm[self.row].copy())
        if self.row in self.engine.sending(self.engine.last_phase):
            self.sent.append(self.engine.packets[self.row].tobytes())

    def said(self) -> Samples:
        return np.concatenate(self.caller)


def loudest_hz(pcm: Samples) -> float:
    """Frequency of the strongest component."""
    spectrum = np.abs(np.fft.rfft(pcm.astype(np.float64) * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * 8_000 / len(pcm))
