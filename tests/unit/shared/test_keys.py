"""Key names: under one prefix, never two things under one name, and lifetimes that fit each other."""

from itertools import combinations

import pytest

from shared import keys
from shared.keys import Keys

pytestmark = pytest.mark.unit

NAMES = {
    "live": ("stt", "vf:live:stt"),
    "worker": ("stt-0.ab", "vf:worker:stt-0.ab"),
    "load": ("stt-0.ab", "vf:load:stt-0.ab"),
    "ports": ("media-0.ab", "vf:ports:media-0.ab"),
    "call": ("c1", "vf:call:c1"),
    "events": ("c1", "vf:call:c1:events"),
    "ctl": ("media-0.ab", "vf:ctl:media-0.ab"),
    "pcm": ("media-0.ab", "vf:pcm:media-0.ab"),
}


@pytest.mark.parametrize("method", NAMES)
def test_name_is_prefix_kind_and_identity(method: str) -> None:
    identity, name = NAMES[method]
    assert getattr(Keys("vf"), method)(identity) == name


def test_room_belongs_to_its_tenant() -> None:
    assert Keys("vf").room("acme", "r1") == "vf:room:acme:r1"
    assert Keys("vf").room("acme", "r1") != Keys("vf").room("other", "r1")


def test_every_public_method_is_under_test() -> None:
    methods = {name for name in vars(Keys) if not name.startswith("_")}
    assert methods == set(NAMES) | {"room"}


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_two_kinds_never_share_a_name(one: str, other: str) -> None:
    found = Keys("vf")
    assert getattr(found, one)("x") != getattr(found, other)("x")


def test_farms_with_different_prefixes_share_nothing() -> None:
    a, b = Keys("a"), Keys("b")
    assert {getattr(a, m)("x") for m in NAMES}.isdisjoint(getattr(b, m)("x") for m in NAMES)


def test_a_worker_beats_several_times_within_its_lease() -> None:
    assert keys.BEAT_MS * 3 <= keys.LEASE_MS


def test_call_records_are_refreshed_several_times_within_their_lease() -> None:
    assert keys.REFRESH_MS * 3 <= keys.CALL_LEASE_MS
    assert keys.REFRESH_MS * 3 <= keys.INBOX_TTL_MS
    assert keys.REFRESH_MS * 3 <= keys.EVENTS_TTL_MS


def test_dead_workers_are_noticed_long_before_their_calls_lapse() -> None:
    assert keys.LEASE_MS * 5 <= keys.CALL_LEASE_MS
