import numpy as np
import pytest

from aiworker.core.batcher import STALE_NS, Batcher, Job, Priority
from aiworker.stt.port import Utterance
from shared.units import NS_PER_MS

pytestmark = pytest.mark.unit

SAID = Utterance(np.zeros(160, np.int16), 8_000)


def job(
    job_id: int,
    priority: Priority = Priority.FINAL,
    *,
    call: str = "a",
    turn: int = 1,
    bucket: object = 0,
    at_ms: int = 0,
) -> Job:
    return Job(job_id, call, turn, priority, SAID, bucket, at_ms * NS_PER_MS)


def batcher(*jobs: Job, batch_max: int = 8, queue_max: int = 8) -> Batcher:
    made = Batcher(batch_max=batch_max, queue_max=queue_max)
    for one in jobs:
        assert made.put(one) is None
    return made


def ids(jobs: list[Job]) -> list[int]:
    return [one.job_id for one in jobs]


def test_take_gives_everything_at_once_when_the_model_is_free() -> None:
    queue = batcher(job(1), job(2), job(3))
    assert ids(queue.take(0).batch) == [1, 2, 3]
    assert len(queue) == 0


def test_take_gives_nothing_when_nothing_waits() -> None:
    assert batcher().take(0) == ([], [])


def test_take_orders_finals_before_speculation_before_partials() -> None:
    queue = batcher(
        job(1, Priority.PARTIAL), job(2, Priority.SPECULATIVE), job(3), job(4, Priority.SPECULATIVE), job(5)
    )
    assert ids(queue.take(0).batch) == [3, 5, 2, 4, 1]


def test_take_leaves_what_exceeds_the_batch_for_the_next_one() -> None:
    queue = batcher(*(job(n) for n in range(1, 6)), batch_max=2)
    assert [ids(queue.take(0).batch) for _ in range(4)] == [[1, 2], [3, 4], [5], []]


def test_take_mixes_no_buckets_and_starts_with_the_most_urgent() -> None:
    queue = batcher(
        job(1, Priority.SPECULATIVE, bucket="short"),
        job(2, bucket="long"),
        job(3, bucket="short"),
        job(4, bucket="long"),
    )
    assert ids(queue.take(0).batch) == [2, 4]
    assert ids(queue.take(0).batch) == [3, 1]


@pytest.mark.parametrize("priority", [Priority.SPECULATIVE, Priority.PARTIAL])
def test_take_drops_what_waited_too_long(priority: Priority) -> None:
    limit_ms = STALE_NS[priority] // NS_PER_MS
    queue = batcher(job(1, priority), job(2, priority, at_ms=1))
    taken = queue.take((limit_ms + 1) * NS_PER_MS)
    assert (ids(taken.batch), ids(taken.stale)) == ([2], [1])
    assert len(queue) == 0


def test_finals_are_never_stale() -> None:
    assert ids(batcher(job(1)).take(10**18).batch) == [1]


def test_speculation_is_stale_after_half_a_second() -> None:
    assert STALE_NS[Priority.SPECULATIVE] == 500 * NS_PER_MS


def test_promoted_speculation_is_a_final() -> None:
    queue = batcher(job(1, Priority.SPECULATIVE), job(2))
    assert queue.promote(1)
    taken = queue.take(10**18)
    assert [(one.job_id, one.priority) for one in taken.batch] == [(1, Priority.FINAL), (2, Priority.FINAL)]


def test_promote_says_when_the_job_does_not_wait() -> None:
    queue = batcher(job(1))
    queue.take(0)
    assert not queue.promote(1)
    assert len(queue) == 0


def test_cancel_forgets_one_turn_of_one_call() -> None:
    queue = batcher(
        job(1, turn=1), job(2, turn=2), job(3, turn=1, call="b"), job(4, Priority.SPECULATIVE, turn=1)
    )
    assert ids(queue.cancel("a", 1)) == [1, 4]
    assert ids(queue.take(0).batch) == [2, 3]


def test_put_refuses_the_youngest_of_equals_when_full() -> None:
    queue = batcher(job(1), job(2), queue_max=2)
    late = job(3)
    assert queue.put(late) is late
    assert ids(queue.take(0).batch) == [1, 2]


def test_put_gives_up_the_least_urgent_when_full() -> None:
    queue = batcher(job(1, Priority.PARTIAL), job(2, Priority.SPECULATIVE), queue_max=2)
    lost = queue.put(job(3))
    assert lost is not None
    assert lost.job_id == 1
    assert ids(queue.take(0).batch) == [3, 2]
