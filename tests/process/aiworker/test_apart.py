"""PocketSphinx in its own process: what it hears is tried in tests/conformance; here is that it stays apart."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from aiworker.stt.apart import SphinxApart
from aiworker.stt.port import Utterance
from shared.errors import EngineError, EngineMissing
from tests.support.processes import wait_until
from tests.support.recordings import recordings

pytestmark = pytest.mark.process


@pytest.fixture
def engine() -> Iterator[SphinxApart]:
    made = SphinxApart(["goodbye", "one moment please"])
    made.load()
    yield made
    made.close()


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_decoding_lets_the_other_threads_of_the_worker_go_on(engine: SphinxApart) -> None:
    noise = np.random.default_rng(1).normal(0, 3_000, 8_000 * 25).astype(np.int16)
    decoding = threading.Thread(target=engine.decode, args=([Utterance(noise, 8_000)],))
    turns = 0
    decoding.start()
    while decoding.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 20, "a decoder that keeps the lock lets this thread in a few times at most"


def test_a_child_that_died_is_replaced_and_costs_what_it_was_doing(engine: SphinxApart) -> None:
    said = Utterance(recordings()["goodbye"], 8_000)
    before = engine.pid
    os.kill(before, signal.SIGKILL)
    with pytest.raises(EngineError, match="process"):
        engine.decode([said])
    assert [found.text for found in engine.decode([said])] == ["goodbye"]
    assert engine.pid not in {0, before}


def test_the_child_goes_with_the_engine_and_heeds_no_signal_of_the_group() -> None:
    engine = SphinxApart(["goodbye"])
    engine.load()
    child = engine.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, number)
    assert engine.decode([Utterance(np.zeros(100, np.int16), 8_000)])[0].text == ""
    del engine
    wait_until(lambda: not lives(child))


def test_a_grammar_that_cannot_be_is_told_at_load_and_leaves_no_child() -> None:
    engine = SphinxApart(["zzyzxqq goodbye"])
    with pytest.raises(EngineMissing, match="zzyzxqq"):
        engine.load()
    assert engine.pid == 0
    engine.close()


def test_what_fails_in_the_child_is_a_problem_of_that_request(engine: SphinxApart) -> None:
    said = Utterance(recordings()["goodbye"], 8_000)
    french = Utterance(said.samples, 8_000, "fr")
    assert [found.problem for found in engine.decode([french])] == ["language"]
    assert [found.text for found in engine.decode([said])] == ["goodbye"]
