"""Tones over a network that loses packets: concealment carries a tone over a hole, so keys are neither doubled nor invented."""

import numpy as np
import pytest

from mediaworker.core.address import address_key
from mediaworker.core.dtmf.tones import PAIRS, tone
from mediaworker.core.engine import Engine
from mediaworker.core.g711 import MU_LAW
from tests.support.engine_caller import HOST, PORT, TICK_NS, leg_setup, rtp

pytestmark = pytest.mark.simulation

LEGS, DIGITS = 50, 20
FRAME = 160


def said(digits: str, random: np.random.Generator) -> np.ndarray:
    """Keys of 100 ms with pauses of 100 ms, anywhere in a frame."""
    parts = [np.zeros(1_600 + random.integers(0, FRAME), np.int16)]
    for digit in digits:
        parts += [tone(digit, 100, -12), np.zeros(800, np.int16)]
    whole = np.concatenate(parts)
    return np.concatenate([whole, np.zeros(FRAME * (DIGITS * 10 + 30) - len(whole), np.int16)])


def dial(loss: float) -> tuple[list[str], list[str]]:
    """What was pressed and what was told."""
    random = np.random.default_rng(1)
    engine = Engine(LEGS, seed=1, phases=1)
    rows = np.array([engine.open(leg_setup(inband_dtmf="auto"), 0) for _ in range(LEGS)])
    for row in rows.tolist():
        engine.start(row, 0)
    pressed = ["".join(random.choice(list(PAIRS), DIGITS).tolist()) for _ in rows]
    line = MU_LAW.encoder[np.stack([said(digits, random) for digits in pressed]).view(np.uint16)]
    told = dict.fromkeys(rows.tolist(), "")
    for tick in range(line.shape[1] // FRAME):
        arrived = np.flatnonzero(random.random(LEGS) >= loss)
        packets = np.zeros((len(arrived), 192), np.uint8)
        packets[:, :12] = np.frombuffer(rtp(1_000 + tick, FRAME * tick, b""), np.uint8)
        packets[:, 12 : 12 + FRAME] = line[arrived, tick * FRAME : (tick + 1) * FRAME]
        engine.receive(
            rows[arrived], packets, np.full(len(arrived), 12 + FRAME),
            np.full(len(arrived), address_key(HOST, PORT), np.uint64), np.full(len(arrived), tick * TICK_NS),
        )  # fmt: skip
        for key in engine.tick((tick + 1) * TICK_NS).dtmf:
            told[key.row] += key.digit
    return pressed, list(told.values())


def is_part_of(told: str, pressed: str) -> bool:
    """Whether `told` is `pressed` with keys left out."""
    rest = iter(pressed)
    return all(digit in rest for digit in told)


@pytest.mark.parametrize(("loss", "missed"), [(0.0, 0), (0.01, 0), (0.05, 0.005)])
def test_keys_of_100_ms_are_not_doubled_and_hardly_missed(loss: float, missed: float):
    pressed, told = dial(loss)
    assert all(is_part_of(*pair) for pair in zip(told, pressed, strict=True))
    assert sum(map(len, told)) >= (1 - missed) * LEGS * DIGITS
