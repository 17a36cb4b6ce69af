"""Ten thousand digits over a network that loses, delays, reorders and repeats packets: none doubled, none missed.

A hundred legs of one engine send digits as telephone events to a hundred of another. A digit of 80 ms is six packets (four
reports, the last of them sent three times): with 5 % of packets lost at random all six go once in 64 million digits, and a
burst of up to five packets leaves one. What left no packet cannot be known of; all else must be told, once, in order.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest

from mediaworker.core.address import address_key
from mediaworker.core.dtmf.sender import Style
from mediaworker.core.engine import Engine
from tests.support.engine_caller import HOST, PORT, TICK_NS, leg_setup

pytestmark = pytest.mark.simulation

LEGS = 100
DIGITS = 100
EVENTS = 101
KEYS = "0123456789*#ABCD!"
STYLE = Style(duration_ms=80, gap_ms=40)
PACKETS = 6
TICKS_PER_DIGIT = 6

Wire = Iterator[list[int]]
"""For each packet of a leg: the delays in ticks of its copies; none: it is lost."""


def at_random(random: np.random.Generator, share: float = 0.05) -> Wire:
    while True:
        yield [] if random.random() < share else [0]


def in_bursts(random: np.random.Generator, share: float = 0.05, longest: int = 5) -> Wire:
    """Bursts of one to `longest` packets."""
    mean = (1 + longest) / 2
    while True:
        if random.random() < share / (mean * (1 - share)):
            for _ in range(random.integers(1, longest + 1)):
                yield []
        yield [0]


def shaken(random: np.random.Generator) -> Wire:
    """5 % lost, a tenth late by one or two ticks, a twentieth twice."""
    while True:
        late = int(random.integers(1, 3)) if random.random() < 0.1 else 0
        copies = [late, late + 1] if random.random() < 0.05 else [late]
        yield [] if random.random() < 0.05 else copies


class Network:
    """The packets between the two engines, and of which digits none arrived."""

    def __init__(self, receiver: Engine, wires: dict[int, Wire]) -> None:
        self._receiver = receiver
        self._wires = wires
        self._on_the_way: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self.sent: dict[tuple[int, int], int] = defaultdict(int)
        """Packets by row and timestamp of the press."""
        self.arrived: dict[tuple[int, int], int] = defaultdict(int)
        self.lost = self.packets = 0

    def carry(self, row: int, data: bytes, tick: int) -> None:
        press = (row, int.from_bytes(data[4:8], "big"))
        delays = next(self._wires[row])
        self.packets += 1
        self.lost += not delays
        self.sent[press] += 1
        self.arrived[press] += bool(delays)
        for delay in delays:
            self._on_the_way[tick + delay].append((row, data))

    def deliver(self, tick: int) -> None:
        """At most one packet per leg in a batch."""
        waiting = self._on_the_way.pop(tick, [])
        while waiting:
            batch, later = {}, []
            for row, data in waiting:
                if row in batch:
                    later.append((row, data))
                else:
                    batch[row] = data
            self.give(batch, tick)
            waiting = later

    def give(self, batch: dict[int, bytes], tick: int) -> None:
        packets = np.zeros((len(batch), 192), np.uint8)
        for index, data in enumerate(batch.values()):
            packets[index, : len(data)] = np.frombuffer(data, np.uint8)
        self._receiver.receive(
            np.array(list(batch)), packets, np.array([len(data) for data in batch.values()]),
            np.full(len(batch), address_key(HOST, PORT), np.uint64), np.full(len(batch), tick * TICK_NS),
        )  # fmt: skip


def dial(
    wire: str, seed: int, legs: int = LEGS, **options: object
) -> tuple[dict[int, str], dict[int, str], Network]:
    """What was pressed and what was told, by leg."""
    random = np.random.default_rng(seed)
    sender, receiver = (Engine(legs, seed=seed, phases=1) for _ in range(2))
    rows = []
    for engine in (sender, receiver):
        rows = [engine.open(leg_setup(dtmf_payload_type=EVENTS), 0) for _ in range(legs)]
        for row in rows:
            engine.start(row, 0)
    kinds = {"random": at_random, "bursts": in_bursts, "shaken": shaken}
    network = Network(receiver, {row: kinds[wire](random, **options) for row in rows})  # type: ignore[operator]
    pressed = {row: "".join(random.choice(list(KEYS), DIGITS).tolist()) for row in rows}
    told: dict[int, str] = dict.fromkeys(rows, "")
    waiting = dict(pressed)
    for tick in range(1, DIGITS * TICKS_PER_DIGIT + 60):
        if tick % (20 * TICKS_PER_DIGIT) == 5:
            for row in rows:
                sender.keys.press(row, waiting[row][:20], STYLE)
                waiting[row] = waiting[row][20:]
        sender.tick(tick * TICK_NS)
        if tick == 1:  # of the audio, the packet that pins the stream is enough
            network.give({row: sender.packets[row].tobytes() for row in rows}, tick)
        for row, data in sender.loose():
            network.carry(row, data, tick)
        network.deliver(tick)
        for event in receiver.tick(tick * TICK_NS).dtmf:
            told[event.row] += event.digit
    return pressed, told, network


@pytest.mark.parametrize("wire", ["random", "bursts", "shaken"])
def test_ten_thousand_digits_under_5_percent_loss(wire: str):
    pressed, told, network = dial(wire, seed=1)
    assert sum(map(len, pressed.values())) == 10_000
    assert len(network.sent) == 10_000
    assert set(network.sent.values()) == {PACKETS}
    assert 0.04 < network.lost / network.packets < 0.06
    assert told == pressed


def test_what_left_no_packet_is_all_that_is_missed():
    """Bursts of up to 240 ms swallow digits whole: what is told is what is left, in order, once each."""
    pressed, told, network = dial("bursts", 3, legs=20, share=0.3, longest=12)
    swallowed = 0
    for row, digits in pressed.items():
        stamps = [stamp for of, stamp in network.sent if of == row]
        left = "".join(digit for digit, at in zip(digits, stamps, strict=True) if network.arrived[row, at])
        swallowed += len(digits) - len(left)
        assert told[row] == left
    assert swallowed > 20, "the test would show nothing"
