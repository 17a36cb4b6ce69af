"""The playout's array steps against their slow versions, and hostile streams."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.inbound import sequence
from mediaworker.core.inbound.delay import FRAME_NS, IN_TIME, STEP_NS, DelayTarget
from mediaworker.core.inbound.jitter import AHEAD, JitterRing
from mediaworker.core.rows import Rows
from tests.support import reference_playout as reference
from tests.support.engine_caller import HOST, MS, TICK_NS, Caller, hand_over, leg_setup, rtp, tone

pytestmark = pytest.mark.property

QUICK = settings(max_examples=60, deadline=None)
Array = npt.NDArray[np.generic]
STARTS = (100, 32_760, 65_530, 65_535)


@QUICK
@given(st.sampled_from(STARTS), st.lists(st.integers(-70, 70), min_size=1, max_size=80))
def test_what_came_before_and_what_came_after_a_later_one(first: int, steps: list[int]):
    rows, at = Rows(2, 1), np.array([1])
    for _ in range(2):
        rows.take(0)
    sequence.restart(rows, at, np.array([first]))
    numbers = reference.Numbers()
    numbers.top = first - 1
    ext = first
    for step in [0, *steps]:
        ext = max(first - 90, ext + step)
        again = sequence.repeated(rows, at, np.array([ext]))
        assert (again is not None and bool(again[0])) == numbers.packet(ext)
    assert (rows.duplicate[1], rows.reordered[1]) == (numbers.again, numbers.reordered)
    assert rows.duplicate[0] == rows.reordered[0] == 0


packets = st.tuples(st.integers(-30, 60), st.sampled_from([80, 160, 240, 320, 480]), st.integers(0, 3))


@QUICK
@given(st.lists(packets, max_size=40), st.lists(st.integers(0, 255), min_size=40, max_size=40))
def test_packets_of_any_length_in_any_order(story: list[tuple[int, int, int]], octets: list[int]):
    """Place in blocks of 10 ms from playout, size, ticks that follow. No octet is played that was not sent for that time."""
    rows = Rows(1, 1)
    rows.take(0)
    rows.flowing[0] = True
    ring, slow, at = JitterRing(rows), reference.Ring(AHEAD), np.array([0])
    taken: set[int] = set()
    for (place, size, ticks), octet in zip(story, octets, strict=False):
        position = max(0, int(rows.play[0]) * 160 + place * 80)
        blocks = range(position // 80, (position + size) // 80)
        if not taken.intersection(blocks):  # a sender does not send a moment twice under another number
            taken.update(blocks)
            data = np.full((1, 512), octet, np.uint8)
            one = np.array([1])
            ring.insert_blocks(at, np.array([position]), one, one, data, np.array([12]), np.array([size]))
            slow.packet(position, [octet] * size)
        assert rows.top[0] == max(slow.top, rows.top[0])
        for _ in range(ticks):
            payload = np.zeros((1, 160), np.uint8)
            have = ring.complete(slice(0, 1))[0]
            ring.read(slice(0, 1), payload)
            rows.play[0] += 1
            wanted = slow.tick()
            assert (payload[0].tolist() if have else None) == wanted
    assert rows.late[0] == slow.late


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from(["uniform", "exponential", "steps"]), st.integers(1, 120))
def test_the_target_is_the_quantile_of_lateness(seed: int, kind: str, spread_ms: int):
    rng = np.random.default_rng(seed)
    delays = {
        "uniform": lambda: rng.uniform(0, spread_ms, 600),
        "exponential": lambda: rng.exponential(spread_ms / 5, 600),
        "steps": lambda: rng.choice([0.0, spread_ms], 600, p=[0.9, 0.1]),
    }[kind]()
    delays[0] = 0
    rows, slow = Rows(1, 1), reference.Lateness()
    rows.take(0)
    target = DelayTarget(rows, 400 * MS)
    target.forget(0)
    for frame, delay in enumerate(np.minimum(delays, 250)):
        arrived = int(frame * FRAME_NS + delay * MS)
        target.note(np.array([0]), np.array([frame]), np.array([arrived]))
        slow.packet(arrived - frame * FRAME_NS)
        target.settle(slice(0, 1), frame)
    # What is forgotten over 12 s moves the quantile a little: by what lies between its neighbours.
    low, high = slow.target_ns(IN_TIME - 0.012), slow.target_ns(min(1.0, IN_TIME + 0.012))
    assert low - 2 * STEP_NS <= rows.target_ns[0] <= high + 2 * STEP_NS


@pytest.mark.parametrize("first", STARTS)
@pytest.mark.parametrize("stamp", [0, 2**31 - 800, 2**32 - 800])
def test_every_frame_is_heard_over_all_wraps(first: int, stamp: int):
    caller = Caller(Engine(1, seed=1, phases=1), leg_setup(), seq=first, stamp=stamp)
    caller.say(tone(300, 160 * 60))
    caller.tick(3)
    stats = caller.engine.stats(caller.row)
    assert (stats.lost_in, stats.late_in, stats.duplicate_in) == (0, 0, 0)
    heard = np.concatenate(caller.caller[3:58]).astype(float)
    assert np.sqrt(np.mean(heard**2)) > 5_000


def _hostile(rng: np.random.Generator, seq: int, stamp: int) -> bytes:
    """Mostly a stream, with jumps, repetitions, odd sizes and types, and bare rubbish."""
    kind = rng.integers(0, 12)
    if kind == 0:
        return rng.bytes(int(rng.integers(0, 400)))
    size = int(rng.choice([160, 160, 160, 80, 240, 320, 480, 0, 1, 37, 161, 1_000]))
    if kind == 1:
        seq, stamp = int(rng.integers(0, 1 << 16)), int(rng.integers(0, 1 << 32))
    if kind == 2:
        seq -= int(rng.integers(0, 200))
    if kind == 3:
        stamp += int(rng.integers(-100_000, 100_000))
    payload_type = int(rng.choice([0, 0, 0, 0, 13, 101, 8]))
    return rtp(
        seq, stamp, rng.bytes(size), ssrc=int(rng.choice([77, 77, 77, 78])), kind=payload_type,
        first=int(rng.choice([0x80, 0x80, 0x80, 0x90, 0xA0, 0x85])), marker=bool(rng.integers(0, 2)),
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_a_hundred_thousand_hostile_datagrams_leave_every_figure_sane():
    rng = np.random.default_rng(9)
    engine = Engine(50, seed=1, phases=1)
    rows = [
        engine.open(leg_setup(40_000 + 2 * n, detect_speech=True, dtmf_payload_type=101), 0)
        for n in range(50)
    ]
    for row in rows:
        engine.start(row, 0)
    seen = Counter[int]()
    made = [_hostile(rng, 1_000 + n, 160 * n) for n in range(4_000)]
    batches = [_batch(rng, rows, made, tick) for tick in range(200)]
    for tick in range(2_000):  # 50 datagrams each
        now = tick * TICK_NS
        engine.receive(*(part.copy() for part in batches[tick % 200]), np.full(50, now))
        result = engine.tick(now)
        seen.update(len(pcm) % 160 for pcm in result.own_time.values())
    state = engine.rows
    assert engine.snapshot().totals["packets_in"] > 20_000
    assert set(seen) <= {0}
    assert np.all(state.target_ns[rows] <= 200 * MS)
    assert np.all(state.held[rows] >= 0)
    assert np.all(state.waited[rows] >= 0)
    assert np.all(state.top[rows] < state.play[rows] + 2 * AHEAD)
    # And a telephone that takes one of those lines over is heard.
    now = 2_100 * TICK_NS
    for n in range(100):
        data = rtp(5_000 + n, 160 * n, bytes([0x90]) * 160, ssrc=99)
        hand_over(engine, rows[0], data, now + n * TICK_NS, host=HOST, port=40_000)
        engine.tick(now + n * TICK_NS)
    assert np.abs(state.caller_pcm[rows[0]].astype(int)).min() > 1_000


def _batch(rng: np.random.Generator, rows: list[int], made: list[bytes], tick: int) -> tuple[Array, ...]:
    block = np.zeros((50, 2_048), np.uint8)
    lengths = np.zeros(50, np.int64)
    for index in range(50):
        data = made[(tick * 2 + int(rng.integers(0, 6)) + 7 * index) % len(made)]
        block[index, : len(data)] = np.frombuffer(data, np.uint8)
        lengths[index] = len(data)
    sources = np.array([address_key(HOST, 40_000 + 2 * n) for n in range(50)], np.uint64)
    return np.array(rows), block, lengths, sources
