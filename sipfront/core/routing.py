"""Which application a call gets: the first route whose every pattern matches (shared.config.Route)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.config import Route
from shared.contracts import AppSpec
from sipfront.core.identity import CallIdentity
from sipfront.core.terms import Terms

NEEDS: dict[str, tuple[str, ...]] = {
    "echo": (), "conference": (), "transcribe": ("stt",), "agent": ("stt", "llm", "tts"),
}  # fmt: skip
"""AI roles that must be reserved before a call of this application is answered."""

_USER_MAX = 128
"""Longer called users match nothing: a pattern is never run on text of unbounded length."""


@dataclass(frozen=True, slots=True)
class _Rule:
    route: Route
    user: re.Pattern[str] | None
    header: str
    pattern: re.Pattern[str] | None


class Routes:
    """The compiled routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._rules = [_compile(route) for route in routes]

    def find(self, call: CallIdentity) -> Route | None:
        """The route of a call, None when nothing is meant for it."""
        if len(call.user) > _USER_MAX:
            return None
        return next((rule.route for rule in self._rules if _matches(rule, call)), None)


def app_of(route: Route) -> AppSpec:
    """What the media worker is told."""
    return AppSpec(
        kind=route.app,
        agent=route.agent,
        language=route.language,
        turn=route.turn,
        options=dict(route.options),
    )


def terms_of(route: Route, general: Terms) -> Terms:
    """What the callers of a route are offered: its own codecs in its own order, where it names some."""
    codecs = tuple(name for name in route.codecs if name in general.codecs)
    terms = replace(general, media_cidrs=route.media_cidrs)
    terms = replace(terms, codecs=codecs, our_order=True) if codecs else terms
    return replace(terms, srtp=route.srtp) if route.srtp else terms


def _compile(route: Route) -> _Rule:
    name, _, pattern = route.header.partition(":")
    return _Rule(
        route, re.compile(route.user) if route.user else None, name.strip().lower(),
        re.compile(pattern.strip()) if name else None,
    )  # fmt: skip


def _matches(rule: _Rule, call: CallIdentity) -> bool:
    if rule.user and not rule.user.fullmatch(call.user):
        return False
    if rule.route.tenant and rule.route.tenant != call.tenant:
        return False
    return not rule.pattern or rule.pattern.fullmatch(call.extra.get(rule.header, "")) is not None
