"""Callers behind bad networks, in virtual time: one leg of an engine per network, all in one run.

A `Network` says when each packet of a caller arrives. `carry` takes real speech through all of them and writes down when each
frame was heard; `Heard` has the figures. The oracle is the least fixed delay at which no more than 1 % of the packets
that arrive come too late: it knows the whole trace beforehand.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.g711 import MU_LAW
from tests.support.engine_caller import HOST, MS, TICK_NS, leg_setup, rtp
from tests.support.recordings import recordings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LATE = 0.01
OPEN_MS = 40
"""The legs are open before the first packet comes."""


@dataclass(frozen=True)
class Network:
    """`delays` of packets in ms; nan is a loss. `ppm`: how much slower the sender's clock is than ours."""

    name: str
    delays: Floats
    ppm: float = 0.0
    offset_ms: float = 7.0
    """Between the sender's packets and our ticks."""

    def sent_ms(self) -> Floats:
        return OPEN_MS + self.offset_ms + np.arange(len(self.delays)) * 20.0 * (1 + self.ppm / 1e6)

    def least_delay_ms(self) -> float:
        """The oracle."""
        arrived = np.sort(self.delays[~np.isnan(self.delays)])
        return float(arrived[int(np.ceil((1 - LATE) * len(arrived))) - 1])


@dataclass
class Heard:
    """What came of one network."""

    delay_ms: Floats
    """From sending to playing, of every frame that was heard."""
    frame: Ints
    """Which packet that was."""
    late: int
    received: int
    concealed: int
    made_up: int
    """Frames made up between the first packet and the last."""
    pcm: npt.NDArray[np.int16]

    def p95_ms(self) -> float:
        return float(np.percentile(self.delay_ms, 95))

    def late_share(self) -> float:
        return self.late / self.received


def speech(frames: int) -> npt.NDArray[np.uint8]:
    """[frames, 160] octets of mu-law: recordings of people with a pause of 600 ms between the sentences."""
    pause = np.zeros(4_800, np.int16)
    once = np.concatenate([part for sound in recordings().values() for part in (sound, pause)])
    pcm = np.resize(once[: len(once) // 160 * 160], frames * 160)
    return MU_LAW.encoder[pcm.view(np.uint16)].reshape(frames, 160)


def carry(
    networks: list[Network],
    *,
    jitter_max_ms: int = 200,
    watch: Callable[[int, Engine], None] | None = None,
    octets: npt.NDArray[np.uint8] | None = None,
    payload_type: int = 0,
) -> list[Heard]:
    """All networks in one engine; `watch(tick, engine)` after every tick."""
    frames = max(len(network.delays) for network in networks)
    words = speech(frames) if octets is None else octets
    engine = Engine(len(networks), seed=1, phases=1, jitter_max_ms=jitter_max_ms, rtp_timeout_s=1e6)
    rows = [engine.open(leg_setup(40_000 + 2 * n), 0) for n in range(len(networks))]
    for row in rows:
        engine.start(row, 0)
    batches = _batches(networks)
    heard_frame, heard_pcm = [], []
    ticks = int(frames * 20.1 / 20) + 60
    head = np.frombuffer(rtp(0, 0, b"", kind=payload_type), np.uint8)
    for tick in range(ticks):
        now = tick * TICK_NS
        for at, packet, arrived in batches.until(now):
            _deliver(engine, np.array(rows)[at], head, packet, words, arrived)
        engine.tick(now)
        state = engine.rows
        heard_frame.append(np.where(state.hole_run[rows] == 0, state.last_good[rows], -1))
        heard_pcm.append(state.caller_pcm[rows].copy())
        if watch:
            watch(tick, engine)
    frame, pcm = np.stack(heard_frame), np.stack(heard_pcm)
    return [
        _heard(engine, row, network, frame[:, n], pcm[:, n])
        for n, (row, network) in enumerate(zip(rows, networks, strict=True))
    ]


class _Batches:
    """Arrivals in order, cut into batches with at most one packet per row."""

    def __init__(self, row: Ints, packet: Ints, arrived: Ints) -> None:
        order = np.argsort(arrived, kind="stable")
        self._row, self._packet, self._arrived = row[order], packet[order], arrived[order]
        self._next = 0

    def until(self, now: int) -> list[tuple[Ints, Ints, Ints]]:
        end = int(np.searchsorted(self._arrived, now, side="right"))
        out = []
        left = np.arange(self._next, end)
        self._next = end
        while left.size:
            _, first = np.unique(self._row[left], return_index=True)
            some = left[np.sort(first)]
            out.append((self._row[some], self._packet[some], self._arrived[some]))
            left = np.setdiff1d(left, some, assume_unique=True)
        return out


def _batches(networks: list[Network]) -> _Batches:
    rows, packets, times = [], [], []
    for number, network in enumerate(networks):
        arrived = network.sent_ms() + network.delays
        there = np.flatnonzero(~np.isnan(arrived))
        rows.append(np.full(len(there), number))
        packets.append(there)
        times.append((arrived[there] * MS).astype(np.int64))
    return _Batches(np.concatenate(rows), np.concatenate(packets), np.concatenate(times))


def _deliver(
    engine: Engine, at: Ints, head: npt.NDArray[np.uint8], packet: Ints, words: npt.NDArray[np.uint8], arrived: Ints
) -> None:  # fmt: skip
    block = np.zeros((len(at), 192), np.uint8)
    block[:, :12] = head
    block[:, 2:4] = (packet & 0xFFFF).astype(">u2")[:, None].view(np.uint8).reshape(len(at), 2)
    block[:, 4:8] = (packet * 160 & 0xFFFF_FFFF).astype(">u4")[:, None].view(np.uint8).reshape(len(at), 4)
    block[:, 12:172] = words[packet]
    sources = np.array([address_key(HOST, 40_000 + 2 * int(row)) for row in at], np.uint64)
    engine.receive(at, block, np.full(len(at), 172), sources, arrived)


def _heard(engine: Engine, row: int, network: Network, frame: Ints, pcm: npt.NDArray[np.int16]) -> Heard:
    state = engine.rows
    newest = int(state.rtp_last[row]) // 160
    base = int(state.position[row]) // 160 - newest
    tick = np.flatnonzero(frame >= 0)
    packet = frame[tick] - base
    good = (packet >= 0) & (packet < len(network.delays))
    tick, packet = tick[good], packet[good]
    delay = tick * 20.0 - network.sent_ms()[packet]
    stats = engine.stats(row)
    return Heard(
        delay_ms=delay, frame=packet, late=stats.late_in, received=stats.packets_in, concealed=stats.concealed,
        made_up=int(np.count_nonzero(frame[tick[0] : tick[-1]] < 0)), pcm=pcm.reshape(-1),
    )  # fmt: skip


# --- networks


def losing(rng: np.random.Generator, delays: Floats, share: float) -> Floats:
    """The first packet always arrives: the times are counted from it."""
    lost = rng.random(len(delays)) < share
    lost[0] = False
    return np.where(lost, np.nan, delays)


def uniform(rng: np.random.Generator, packets: int, spread_ms: float) -> Floats:
    return rng.uniform(0, spread_ms, packets)


def tailed(rng: np.random.Generator, packets: int, mean_ms: float) -> Floats:
    """A long tail, as of Wi-Fi: exponential."""
    return rng.exponential(mean_ms, packets)


def overtaken(rng: np.random.Generator, packets: int, share: float, by_ms: float) -> Floats:
    """A share of the packets comes later than those behind them."""
    return np.where(rng.random(packets) < share, rng.uniform(20, by_ms, packets), 0.0) + rng.uniform(
        0, 4, packets
    )


def stalling(rng: np.random.Generator, packets: int, stall_ms: float, every_s: float) -> Floats:
    """The network stands still for `stall_ms` now and then, then delivers everything at once."""
    delays = rng.uniform(0, 4, packets)
    for begin in np.arange(every_s * 50, packets - 50, every_s * 50).astype(int):
        for index in range(begin, begin + int(stall_ms // 20)):
            delays[index] = max(delays[index], stall_ms - 20.0 * (index - begin))
    return delays


def must_show(
    seed: int = 3, packets: int = 3_000, offsets: tuple[float, ...] = (1.0, 7.0, 18.0)
) -> list[Network]:
    """The networks of docs/jitter-buffer.md, each with its packets at several places between our ticks."""
    rng = np.random.default_rng(seed)
    makers: dict[str, Callable[[], Floats]] = {
        "steady": lambda: uniform(rng, packets, 0.5),
        "2.5 % loss": lambda: losing(rng, uniform(rng, packets, 0.5), 0.025),
        "10 % loss": lambda: losing(rng, uniform(rng, packets, 0.5), 0.1),
        "60 ms jitter": lambda: uniform(rng, packets, 60),
        "60 ms jitter, 2.5 % loss": lambda: losing(rng, uniform(rng, packets, 60), 0.025),
        "60 ms jitter, 10 % loss": lambda: losing(rng, uniform(rng, packets, 60), 0.1),
        "exponential jitter, mean 15 ms": lambda: tailed(rng, packets, 15),
        "5 % reordered by up to 60 ms": lambda: overtaken(rng, packets, 0.05, 60),
        "200 ms stall every 5 s": lambda: stalling(rng, packets, 200, 5),
        "200 ms stall every 20 s": lambda: stalling(rng, packets, 200, 20),
    }  # fmt: skip
    return [Network(name, make(), offset_ms=offset) for name, make in makers.items() for offset in offsets]


def drifting(seed: int, seconds: int) -> list[Network]:
    """Clocks 500 ppm off, either way, with and without jitter."""
    rng = np.random.default_rng(seed)
    return [
        Network(
            f"{ppm:+d} ppm, {spread:g} ms jitter", uniform(rng, seconds * 50, spread), ppm=ppm, offset_ms=3.0
        )
        for ppm in (-500, 500)
        for spread in (0.5, 15.0)
    ]


def table(networks: list[Network], heard: list[Heard]) -> str:
    """Markdown: the worst and the mean of each network over its offsets."""
    lines = [
        "| network | least fixed delay for 1 % late | p95 of our delay, worst | above the least, mean | worst | late | made up, of lost and late |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(network.name for network in networks):
        some = [(n, h) for n, h in zip(networks, heard, strict=True) if n.name == name]
        above = [h.p95_ms() - n.least_delay_ms() for n, h in some]
        late = sum(h.late for _, h in some) / sum(h.received for _, h in some)
        gone = sum(int(np.isnan(n.delays).sum()) for n, _ in some) + sum(h.late for _, h in some)
        made_up = sum(h.made_up for _, h in some)
        lines.append(
            f"| {name} | {max(n.least_delay_ms() for n, _ in some):.1f} ms | {max(h.p95_ms() for _, h in some):.1f} ms "
            f"| {np.mean(above):+.1f} ms | {max(above):+.1f} ms | {late:.2%} | {made_up} of {gone} |"
        )
    return "\n".join(lines)
