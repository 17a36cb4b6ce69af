"""`python -m bench.media.codec_cost [--legs 50] [--seconds 3] [--random 1000000 [--only G722,OPUS]]`

What each codec costs, in CPU-ms per call-second: its coders alone (a 20 ms packet encoded and one decoded, of something
like speech), and a whole echo leg of the engine (datagram in, time line, decoded, composed, encoded, datagram out) in virtual
time, sockets left out. `--random` gives every decoder so many damaged and random payloads instead, and watches the memory.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from mediaworker.core import codecs
from mediaworker.core.codecs import BadPayload
from mediaworker.core.engine import Engine
from shared.contracts import OpusSettings
from tests.support.coded_caller import KINDS, CodedCaller, coders
from tests.support.listening import voice

VARIANTS = {
    **KINDS,
    "OPUS, FEC": msgspec.structs.replace(KINDS["OPUS"], opus=OpusSettings(use_inband_fec=True)),
    "OPUS, 8 kHz": msgspec.structs.replace(KINDS["OPUS"], opus=OpusSettings(max_playback_hz=8_000)),
}
TICKS_PER_S = 50
BATCH = 10_000


@dataclass(frozen=True)
class Cost:
    """CPU-ms per call-second, bits per second of payload."""

    name: str
    encode: float
    decode: float
    leg: float
    bit_rate: float


def coder_cost(name: str, seconds: float) -> tuple[float, float, float]:
    wanted = VARIANTS[name]
    codec = codecs.find(wanted)
    rate = 16_000 if codec and codec.wide else 8_000
    wave = voice(rate, seconds)
    encoder, decoder = coders(wanted)
    frames = [
        wave[at : at + rate // TICKS_PER_S]
        for at in range(0, len(wave) - rate // TICKS_PER_S + 1, rate // TICKS_PER_S)
    ]
    begun = time.process_time()
    packets = [encoder.encode(frame) for frame in frames]
    between = time.process_time()
    for packet in packets:
        decoder.decode(packet)
    done = time.process_time()
    spoken = len(frames) / TICKS_PER_S
    return (
        (between - begun) * 1e3 / spoken,
        (done - between) * 1e3 / spoken,
        sum(map(len, packets)) * 8 / spoken,
    )


def leg_cost(name: str, legs: int, seconds: float) -> float:
    """Of an echo leg in an engine with `legs` of them."""
    engine = Engine(legs, seed=1)
    phones = [
        CodedCaller(engine, VARIANTS[name], port=40_000 + 2 * index, echo=True) for index in range(legs)
    ]
    streams = [
        phone.packets(voice(phone.rate_hz, 2, seed=index % 7)) for index, phone in enumerate(phones[:7])
    ]
    length = max(len(data) for stream in streams for data in stream)
    width = -(-max(length, 64) // 8) * 8
    rows = np.array([phone.row for phone in phones])
    sources = np.array([int(key) for key in engine.rows.negotiated[rows]], np.uint64)
    heads = np.frombuffer(b"".join(streams[0][0][:12] for _ in phones), np.uint8).reshape(-1, 12)
    now_ns, spent, count = 0, 0.0, int(seconds * TICKS_PER_S)
    for tick in range(count):
        packets = np.zeros((legs, width), np.uint8)
        sizes = np.zeros(legs, np.int64)
        for index in range(legs):
            stream = streams[index % len(streams)]
            payload = stream[tick % len(stream)][12:]
            packets[index, 12 : 12 + len(payload)] = np.frombuffer(payload, np.uint8)
            sizes[index] = 12 + len(payload)
        packets[:, :12] = heads
        packets.view(">u2")[:, 1] = 1_000 + tick
        packets.view(">u4")[:, 1] = 50_000 + tick * phones[0].clock
        arrivals = np.full(legs, now_ns, np.int64)
        begun = time.process_time()
        engine.receive(rows, packets, sizes, sources, arrivals)
        now_ns += 20_000_000
        for _ in range(engine.phases):
            engine.tick(now_ns)
            engine.loose()
        if tick >= TICKS_PER_S:  # after the first second every stream flows
            spent += time.process_time() - begun
    sent = int(engine.rows.packets_out[rows].sum())
    if sent < legs * (count - 5):
        raise SystemExit(f"{name}: {sent} packets sent, the legs do not flow")
    return spent * 1e3 / (legs * (count - TICKS_PER_S) / TICKS_PER_S)


def costs(legs: int = 50, seconds: float = 3.0) -> Iterator[Cost]:
    for name in VARIANTS:
        encode, decode, bit_rate = coder_cost(name, seconds)
        yield Cost(name, encode, decode, leg_cost(name, legs, seconds), bit_rate)


def table(legs: int = 50, seconds: float = 3.0) -> list[str]:
    """Markdown."""
    lines = [
        "| codec | encode | decode | whole echo leg | kbit/s of payload |",
        "|---|---|---|---|---|",
    ]
    for cost in costs(legs, seconds):
        coder = "tables | tables" if cost.name in codecs.G711 else f"{cost.encode:.2f} | {cost.decode:.2f}"
        lines.append(f"| {cost.name} | {coder} | {cost.leg:.2f} | {cost.bit_rate / 1_000:.0f} |")
    return lines


def memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def random_payloads(count: int, names: list[str]) -> None:
    """`count` per decoder: random octets, and real packets with a bit flipped or their end cut off."""
    for name in names:
        wanted = KINDS[name]
        random = np.random.default_rng(11)
        encoder, decoder = coders(wanted)
        codec = codecs.find(wanted)
        rate = 16_000 if codec and codec.wide else 8_000
        wave = voice(rate, 4)
        real = [
            encoder.encode(wave[at : at + rate // 50])
            for at in range(0, len(wave) - rate // 50 + 1, rate // 50)
        ]
        settled, bad = 0, 0
        for batch in range(0, count, BATCH):
            noise = random.bytes(1 << 16)
            draws = random.integers(0, 1 << 16, (BATCH, 3)).tolist()
            for place, choice, bit in draws:
                if choice % 2:
                    data = noise[place : place + choice % 300]
                else:
                    damaged = bytearray(real[place % len(real)])
                    damaged[bit % len(damaged)] ^= 1 << bit % 8
                    data = bytes(damaged[: choice % (len(damaged) + 1)] if choice % 5 == 0 else damaged)
                try:
                    decoder.decode(data)
                except BadPayload:
                    bad += 1
                if bit % 64 == 0:
                    decoder.conceal(320, data)
            if batch == count // BATCH // 5 * BATCH:
                settled = memory_kb()
        print(
            f"{name}: {count} payloads, {bad} refused, memory +{memory_kb() - settled} kB after the first fifth"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.media.codec_cost")
    parser.add_argument("--legs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument(
        "--only", default="G722,OPUS,L16/8000,L16/16000,L16/44100", help="decoders for --random"
    )
    options = parser.parse_args()
    if options.random:
        random_payloads(options.random, options.only.split(","))
    else:
        print("\n".join(table(options.legs, options.seconds)))


if __name__ == "__main__":
    main()
