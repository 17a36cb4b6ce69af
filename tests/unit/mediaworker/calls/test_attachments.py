"""AI workers of a call, and what follows when one dies."""

import pytest

from mediaworker.core.calls.attachments import RETRY_NS, SETTLE_NS, Attachments, Lost
from shared.contracts import AiWorkers

pytestmark = pytest.mark.unit

ALL = AiWorkers(stt="s.1", llm="l.1", tts="t.1")
LIVE = {"stt": frozenset({"s.1"}), "llm": frozenset({"l.1"}), "tts": frozenset({"t.1"})}


def test_a_call_without_ai_is_attached_to_nobody() -> None:
    links = Attachments(AiWorkers())
    assert not links
    assert links.worker("stt") == ""
    assert links.lost({"stt": frozenset()}, 0) == []


def test_a_worker_with_a_lease_is_not_lost() -> None:
    assert Attachments(ALL).lost(LIVE, 0) == []


def test_a_lost_worker_is_asked_for_again_only_after_a_while() -> None:
    links = Attachments(ALL)
    gone = LIVE | {"llm": frozenset({"l.2"})}
    assert links.lost(gone, 0) == [Lost("llm", "l.1")]
    assert links.lost(gone, RETRY_NS - 1) == []
    assert links.lost(gone, RETRY_NS) == [Lost("llm", "l.1")]


def test_a_role_that_was_not_looked_at_is_not_judged() -> None:
    assert Attachments(ALL).lost({"stt": frozenset({"s.1"})}, 0) == []


def test_a_replacement_raises_the_epoch() -> None:
    links = Attachments(ALL)
    assert links.assigned(
        "stt",
        "s.1",
        "s.2",
    )
    assert (links.epoch, links.worker("stt"), links.ai) == (
        2,
        "s.2",
        AiWorkers(stt="s.2", llm="l.1", tts="t.1"),
    )


@pytest.mark.parametrize(("leaving", "worker"), [("s.1", ""), ("s.0", "s.2")])
def test_no_replacement_and_a_stale_one_change_nothing(leaving: str, worker: str) -> None:
    links = Attachments(ALL)
    assert not links.assigned("stt", leaving, worker)
    assert (links.epoch, links.worker("stt")) == (1, "s.1")


def test_frames_wait_until_the_new_worker_was_told() -> None:
    links = Attachments(ALL)
    links.settle(1_000)
    assert links.stt_ready_ns == 1_000 + SETTLE_NS


def test_renewing_keeps_the_workers() -> None:
    links = Attachments(ALL)
    links.renew()
    assert (links.epoch, links.ai) == (2, ALL)
