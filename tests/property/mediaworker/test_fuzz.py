"""Damaged datagrams through every parser of what strangers send; the long form is `bench.fuzz`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzz.__main__ import ALL, feed, fuzz
from bench.fuzz.mutator import LONGEST, Mutator
from bench.fuzz.targets import OFFERS, rtcp_datagrams
from mediaworker.core import codecs
from mediaworker.core.codecs import BadPayload
from mediaworker.core.dtmf.events import decode
from mediaworker.core.reporting import rtcp
from tests.support.coded_caller import KINDS

pytestmark = pytest.mark.property

COUNT = 10_000
ANYTHING = st.binary(max_size=400)


@pytest.mark.parametrize("target", ALL)
def test_damaged_datagrams_raise_nothing_and_harm_nobody(target: str):
    assert feed(ALL[target](Mutator(seed=7)), COUNT) >= COUNT


def test_the_same_seed_gives_the_same_damage():
    def some(seed: int) -> list[bytes]:
        mutator = Mutator(seed)
        return [mutator.damage(data) for data in rtcp_datagrams() * 50]

    assert some(3) == some(3)
    assert some(3) != some(4)
    assert max(map(len, some(3))) <= LONGEST
    untouched = sum(a == b for a, b in zip(some(3), rtcp_datagrams() * 50, strict=True))
    assert 0.15 < untouched / len(some(3)) < 0.4


def test_a_parser_that_keeps_things_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """The bench's own check: a step that leaks is told from one that does not."""
    kept: list[bytes] = []

    def leaky(mutator: Mutator):
        return lambda: len(kept.append(mutator.damage(OFFERS[0] * 20)) or b"x")

    monkeypatch.setitem(ALL, "leaky", leaky)
    assert fuzz("leaky", 10_000, 1).leaks
    assert not fuzz("events", 10_000, 1).leaks


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_octets_are_read_or_refused(data: bytes):
    rtcp.parse(data)
    for event in decode(data):
        assert 0 <= event.duration <= 0xFFFF
    for wanted in KINDS.values():
        codec = codecs.find(wanted)
        if codec is None:
            continue
        decoder = codec.decoder()
        try:
            pcm = decoder.decode(data)
        except BadPayload:
            continue
        assert pcm.dtype.name == "int16"
