"""Who a call belongs to, from its headers (DESIGN section 4).

X- headers are believed only from trusted proxies; a proxy appends its own after whatever the caller sent, so of several
values the last one counts. What becomes part of a key or a label is made safe here.
"""

import hashlib
from dataclasses import dataclass, field

from shared.ids import safe_label
from sipfront.core.address import BadAddress, parse_uri
from sipfront.core.message import Request

ROOM, SESSION, TENANT = "x-room-id", "x-session-id", "x-tenant-id"
DEFAULT_TENANT = "default"

_HEADERS_MAX = 32
_ALWAYS = frozenset({ROOM, SESSION, TENANT})
"""Taken also when a caller sent headers of its own up to the bound: what the proxy adds comes last."""
_VALUE_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CallIdentity:
    """`extra` are the trusted X- headers by lower-case name; `metadata` goes to the application."""

    room_id: str
    session_id: str
    tenant: str
    caller: str
    callee: str
    user: str
    """Called user, from the Request-URI."""
    extra: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def identify(request: Request, *, trusted: bool) -> CallIdentity:
    """The identity of a new call."""
    extra = _extra(request) if trusted else {}
    caller = _plain(request.from_addr.uri)
    return CallIdentity(
        room_id=unique_label(extra.get(ROOM) or request.sip_call_id),
        session_id=safe_label(extra.get(SESSION) or caller),
        tenant=safe_label(extra.get(TENANT) or DEFAULT_TENANT),
        caller=caller, callee=_plain(request.to_addr.uri), user=request.target.user,
        extra=extra, metadata={"from": request.from_[:_VALUE_MAX], "to": request.to[:_VALUE_MAX], **extra},
    )  # fmt: skip


def unique_label(text: str) -> str:
    """A safe label that differs where `text` does: two rooms never become one because of odd or many characters."""
    safe = safe_label(text)
    if safe == text:
        return safe
    return safe_label(f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}-{safe}")


def _extra(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        room_for_it = key in found or key in _ALWAYS or len(found) < _HEADERS_MAX
        if key.startswith("x-") and value and room_for_it:
            found[key] = value[:_VALUE_MAX]
    return found


def _plain(uri: str) -> str:
    """`user@host` of a URI, for people and labels."""
    try:
        parts = parse_uri(uri)
    except BadAddress:
        return uri[:_VALUE_MAX]
    text = f"{parts.user}@{parts.host}" if parts.user and parts.host else parts.user or parts.host
    return text[:_VALUE_MAX]
