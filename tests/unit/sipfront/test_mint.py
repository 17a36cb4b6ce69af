"""Names: never twice, and the same for a repeated request where there is no state."""

import pytest

from sipfront.core.mint import CountingMint, RandomMint, stateless_tag

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("mint", [RandomMint(), CountingMint()])
def test_names_are_never_given_twice(mint):
    names = [mint.token() for _ in range(1_000)] + [mint.call_id() for _ in range(1_000)]
    assert len(set(names)) == 2_000
    assert {len(name) for name in names[:1_000]} == {16}


def test_stateless_tag_depends_on_secret_and_every_part():
    tags = {
        stateless_tag(secret, *parts)
        for secret in ("s1", "s2")
        for parts in (("a", "b"), ("a", "c"), ("ab", ""))
    }
    assert len(tags) == 6
    assert stateless_tag("s1", "a", "b") == stateless_tag("s1", "a", "b")


def test_secrets_are_as_long_as_asked_and_never_twice_the_same():
    for mint in (RandomMint(), CountingMint()):
        secrets = {mint.secret(30) for _ in range(100)}
        assert len(secrets) == 100
        assert {len(secret) for secret in secrets} == {30}
    assert CountingMint().secret(28) == CountingMint().secret(28)
