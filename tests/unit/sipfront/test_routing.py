"""Routes: the first that matches in everything it says."""

import pytest

from shared.config import Route
from sipfront.core.identity import CallIdentity
from sipfront.core.routing import NEEDS, Routes, app_of, terms_of
from sipfront.core.terms import Terms

pytestmark = pytest.mark.unit


def call(user: str = "echo", tenant: str = "t", **extra: str) -> CallIdentity:
    names = {f"x-{key}": value for key, value in extra.items()}
    return CallIdentity(
        room_id="r", session_id="s", tenant=tenant, caller="c", callee="d", user=user, extra=names
    )


def test_first_route_whose_every_pattern_matches_wins():
    routes = Routes(
        [
            Route(user="a.*", tenant="acme", app="transcribe"), Route(header="X-Kind: bo[bt]", app="conference"),
            Route(user="a.*", app="echo"),
        ]
    )  # fmt: skip
    assert routes.find(call("ab", "acme")).app == "transcribe"
    assert routes.find(call("ab")).app == "echo"
    assert routes.find(call("zz", kind="bot")).app == "conference"
    assert routes.find(call("zz", kind="bottle")) is None
    assert routes.find(call("xab")) is None


def test_overlong_user_matches_nothing():
    assert Routes([Route(app="echo")]).find(call("a" * 129)) is None
    assert Routes([Route(app="echo")]).find(call("a" * 128))


def test_application_is_made_of_its_route():
    spec = app_of(Route(app="agent", agent="demo", language="de", options={"x": 1}))
    assert (spec.kind, spec.agent, spec.language, spec.options) == ("agent", "demo", "de", {"x": 1})
    assert NEEDS["agent"] == ("stt", "llm", "tts")


def test_route_without_wishes_leaves_the_terms_alone():
    general = Terms(codecs=("OPUS", "PCMU"), srtp="optional")
    assert terms_of(Route(), general) == general


def test_route_chooses_its_codecs_their_order_and_its_encryption():
    general = Terms(codecs=("OPUS", "G722", "PCMU"), srtp="optional")
    terms = terms_of(Route(codecs=("PCMU", "PCMA", "OPUS"), srtp="required"), general)
    assert terms.codecs == ("PCMU", "OPUS")  # never one that the media workers lack
    assert terms.our_order
    assert terms.srtp == "required"


def test_a_tenants_networks_are_its_own():
    routes = Routes([Route(tenant="acme", media_cidrs=("10.9.0.0/16",)), Route()])
    acme, other = (routes.find(call(tenant=tenant)) for tenant in ("acme", "other"))
    assert acme
    assert other
    assert terms_of(acme, Terms()).media_cidrs == ("10.9.0.0/16",)
    assert terms_of(other, Terms()).media_cidrs == ()
