"""Every vector step of the engine against its slow version, on drawn inputs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core import rtp
from mediaworker.core.inbound import plc, quality, sequence
from mediaworker.core.rooms.mix import clip, mix_minus
from mediaworker.core.rows import Rows
from mediaworker.core.speech.vad import Detector
from shared.contracts import TurnSettings
from tests.support import reference, reference_plc

pytestmark = pytest.mark.property

samples = st.integers(-32_768, 32_767)
QUICK = settings(max_examples=60, deadline=None)


def opened(count: int) -> Rows:
    rows = Rows(count, 1)
    for _ in range(count):
        rows.take(0)
    return rows


@QUICK
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=12), st.binary(min_size=2, max_size=2))
def test_headers(packets: list[bytes], stale: bytes):
    """The buffer keeps what was in it before: only `lengths` octets may count."""
    block = np.full((len(packets), 256), stale[0], np.uint8)
    for row, data in enumerate(packets):
        block[row, : len(data)] = np.frombuffer(data, np.uint8)
    found = rtp.read_variable(block, np.array([len(data) for data in packets]))
    for row, data in enumerate(packets):
        wanted = reference.rtp_payload(data)
        if isinstance(wanted, str):
            assert (bool(found.short[row]), bool(found.version[row])) == (
                wanted == "short",
                wanted == "version",
            )
            assert found.payload_bytes[row] == 0
        else:
            assert not found.short[row]
            assert not found.version[row]
            assert (found.payload_at[row], found.payload_bytes[row]) == wanted


@QUICK
@given(
    st.lists(st.integers(0, 65_535), min_size=1, max_size=4),
    st.lists(
        st.sampled_from([1, 1, 1, 1, 2, -1, -3, 99, -100, -101, 2_999, 3_000, 3_001, 30_000]), max_size=40
    ),
)
def test_sequence_numbers_of_several_legs(firsts: list[int], steps: list[int]):
    rows, at = opened(len(firsts)), np.arange(len(firsts))
    legs = [reference.Sequence(first) for first in firsts]
    rows.ext_max[:] = rows.base_ext[:] = firsts
    rows.received[:] = 1
    current = np.array(firsts)
    for step in steps:
        current = (current + step) & 65_535
        ext, jumped, _ = sequence.extend(rows, at, current)
        for row, leg in enumerate(legs):
            wanted = leg.packet(int(current[row]))
            refused = jumped is not None and bool(jumped[row])
            assert refused == (wanted is None)
            assert refused or ext[row] == wanted
            assert rows.ext_max[row] == leg.ext_max


@QUICK
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-2, 6)), min_size=1, max_size=60))
def test_jitter(packets: list[tuple[int, int]]):
    """Arrival in ms since the packet before, frames since it: reordered packets included."""
    rows, at = opened(1), np.array([0])
    arrivals, stamps, arrived, stamp = [], [], 0, 100_000
    for gap_ms, frames in packets:
        arrived += gap_ms * 1_000_000
        stamp += frames * 160
        arrivals.append(arrived)
        stamps.append(stamp)
        quality.jitter(rows, at, np.array([arrived]), np.array([stamp]))
    assert rows.jitter_ns[0] == pytest.approx(reference.jitter(arrivals, stamps), rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 3), st.floats(50, 400))
def test_concealment(seed: int, run: int, hz: float):
    noise = np.random.default_rng(seed).integers(-32_768, 32_768, 480).astype(np.int16)
    voice = (9_000 * np.sin(2 * np.pi * hz * np.arange(480) / 8_000) + noise / 30).astype(np.int16)
    history = np.stack([noise, voice])
    filled = plc.conceal(history, np.array([run, run]))
    for row in range(2):
        slow = reference_plc.conceal(history[row].tolist(), run)
        assert np.abs(filled[row].astype(int) - slow).max() <= 1  # sums in another order, rounded


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(samples, min_size=5, max_size=5)), min_size=1, max_size=8)
)
def test_mix_minus(legs: list[tuple[int, list[int]]]):
    legs.sort(key=lambda leg: leg[0])
    _, starts, room = np.unique([leg[0] for leg in legs], return_index=True, return_inverse=True)
    heard = clip(mix_minus(np.array([leg[1] for leg in legs], np.int16), starts, room))
    wanted = reference.mix_minus(
        {index: leg[1] for index, leg in enumerate(legs)}, {index: leg[0] for index, leg in enumerate(legs)}
    )
    assert heard.tolist() == [wanted[index] for index in range(len(legs))]


levels = st.lists(
    st.tuples(st.sampled_from([-90.0, -60.0, -50.0, -44.0, -38.0, -29.0, -20.0, -3.0]), st.integers(1, 30)),
    min_size=1, max_size=20,
)  # fmt: skip


@QUICK
@given(
    levels,
    st.builds(
        TurnSettings, onset_ms=st.integers(0, 200), pause_ms=st.integers(20, 400), endpoint_ms=st.integers(20, 900),
        barge_in_ms=st.integers(0, 400), max_utterance_ms=st.integers(200, 3_000),
    ),
)  # fmt: skip
def test_the_energy_gate_and_the_order_of_its_events(sounds: list[tuple[float, int]], turn: TurnSettings):
    detector, gate = Detector(3), reference.Gate(turn, -45.0)
    detector.open(1, turn, -45.0)
    inside = False
    for level, frames in sounds:
        for _ in range(frames):
            wanted = gate.step(level)
            told = detector.step(np.array([1]), np.array([level]), np.array([0]))
            assert [event.kind.name for event in told] == wanted
            assert math.isclose(detector.floor_db[1], gate.floor_db, rel_tol=1e-12)
            for name in wanted:
                assert inside != (name == "ONSET")
                inside = name != "END" if name in {"ONSET", "END"} else inside
