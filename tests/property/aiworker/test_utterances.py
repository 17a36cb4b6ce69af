"""Whatever order frames, results and times come in: no error, one final per turn, nothing kept for ever."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiworker.core.batcher import Batcher
from aiworker.core.utterances import Decode, Effect, Hasten, Say, Utterances, Void
from aiworker.stt.port import Hypothesis
from shared.contracts import Mark, SttAttach, SttDetach, UtteranceFrame
from shared.units import NS_PER_MS

pytestmark = pytest.mark.property

CALLS = st.sampled_from("ab")


def frames(epochs: st.SearchStrategy[int]) -> st.SearchStrategy[UtteranceFrame]:
    return st.builds(
        UtteranceFrame,
        call_id=CALLS,
        epoch=epochs,
        turn=st.integers(0, 4),
        offset=st.integers(0, 20).map(lambda n: n * 160),
        mark=st.sampled_from(Mark),
        pcm=st.integers(0, 2).map(lambda n: bytes(320 * n)),
        silence_ms=st.sampled_from([0, 200, 500]),
    )


ATTACH = st.builds(
    SttAttach,
    call_id=CALLS,
    tenant=st.just("t"),
    epoch=st.integers(1, 3),
    media=st.just("m"),
    llm=st.just("l"),
)
HAPPENINGS = st.sampled_from(["decode", "fail", "expire"])
QUIET = st.lists(st.one_of(frames(st.just(1)), frames(st.just(1)), HAPPENINGS), max_size=60)
WILD = st.lists(
    st.one_of(
        frames(st.integers(1, 3)),
        frames(st.integers(1, 3)),
        ATTACH,
        st.builds(SttDetach, call_id=CALLS),
        HAPPENINGS,
        st.just("media gone"),
    ),
    max_size=60,
)


class World:
    def __init__(self) -> None:
        self.now_ns = NS_PER_MS
        self.core = Utterances(capacity=2, bucket=lambda _: 0)
        self.batcher = Batcher(batch_max=2, queue_max=3)
        self.finals: Counter[tuple[str, int]] = Counter()
        self.decodes: Counter[tuple[str, int]] = Counter()

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Decode(job):
                    self.decodes[job.call_id, job.turn] += 1
                    refused = self.batcher.put(job)
                    if refused is not None:
                        self.perform(self.core.lost(refused.job_id, self.now_ns))
                case Void(call_id, turn):
                    self.batcher.cancel(call_id, turn)
                case Hasten(job_id):
                    self.batcher.promote(job_id)
                case Say(said, _):
                    assert said.audio_ms >= 0
                    assert said.wait_ms >= 0
                    assert said.decode_ms >= 0
                    self.finals[said.call_id, said.turn] += said.kind == "final"

    def decode(self, *, well: bool) -> None:
        taken = self.batcher.take(self.now_ns)
        for job in taken.stale:
            self.perform(self.core.lost(job.job_id, self.now_ns))
        started_ns, self.now_ns = self.now_ns, self.now_ns + 50 * NS_PER_MS
        for job in taken.batch:
            if well:
                self.perform(self.core.decoded(job.job_id, Hypothesis("x", 1.0), started_ns, self.now_ns))
            else:
                self.perform(self.core.lost(job.job_id, self.now_ns))

    def step(self, step: UtteranceFrame | SttAttach | SttDetach | str) -> None:
        self.now_ns += 20 * NS_PER_MS
        match step:
            case UtteranceFrame():
                self.perform(self.core.frame(8_000, step, self.now_ns))
            case SttAttach():
                self.perform(self.core.attach(step, self.now_ns))
            case SttDetach():
                self.core.detach(step, self.now_ns)
            case "decode" | "fail":
                self.decode(well=step == "decode")
            case "media gone":
                self.core.media_alive((), self.now_ns)
                self.now_ns += 6_000 * NS_PER_MS
            case _:
                self.now_ns += 1_000 * NS_PER_MS
                self.perform(self.core.expire(self.now_ns))


@settings(max_examples=200, deadline=None)
@given(QUIET)
def test_a_turn_has_one_final_at_most(steps: list[UtteranceFrame | str]) -> None:
    world = World()
    for call_id in "ab":
        world.step(SttAttach(call_id=call_id, tenant="t", epoch=1, media="m", llm="l"))
    for step in steps:
        world.step(step)
    assert all(number <= 1 for number in world.finals.values())


@settings(max_examples=200, deadline=None)
@given(WILD)
def test_nothing_breaks_and_nothing_stays(steps: list[UtteranceFrame | SttAttach | SttDetach | str]) -> None:
    world = World()
    for step in steps:
        world.step(step)
    assert world.finals <= world.decodes
    for call_id in "ab":
        world.step(SttDetach(call_id=call_id))
    for _ in range(20):
        world.step("expire")
        world.step("decode")
    assert world.core.calls() == 0
    assert len(world.batcher) == 0
