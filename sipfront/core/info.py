"""Key presses in SIP INFO: `application/dtmf-relay` and `application/dtmf`, the two bodies that gateways and telephones send.

Neither has an RFC; both are the legacy usage that RFC 6086 section 4.2.1 leaves alone. RFC 4733 is what is negotiated:
a press that comes both ways is one event, which the media worker sees to. An INFO without a body says nothing and is
answered 200 (RFC 2976 section 2.4), one of an Info-Package 469 (RFC 6086 section 4.2.2), any other body 415.
"""

import re
from typing import NamedTuple

from sipfront.core.message import BadMessage, Request

RELAY, PLAIN = "application/dtmf-relay", "application/dtmf"
TAKEN = f"{RELAY}, {PLAIN}"
_BODY_MAX_BYTES = 256
_DURATION_MAX_MS = 60_000
_LINE = re.compile(r"\s*(signal|duration)\s*[=:]\s*(\S{1,8})\s*", re.IGNORECASE | re.ASCII)
_EVENTS = {
    "10": "*",
    "11": "#",
    "12": "A",
    "13": "B",
    "14": "C",
    "15": "D",
    "16": "!",
    "HF": "!",
    "FLASH": "!",
}
"""Some send the event's number of RFC 4733 section 3.2 instead of the key."""
_KEYS = frozenset("0123456789*#ABCD!")


class Press(NamedTuple):
    """A key; flash is `!`."""

    digit: str
    duration_ms: int
    """0: not said."""


def press(request: Request) -> Press | None:
    """The key press in an INFO, None when it has no body. Raises BadMessage with the code to answer."""
    if request.values("info-package"):
        raise BadMessage(469, "Bad Info Package")
    if not request.body:
        return None
    kind = request.content_type.partition(";")[0].strip().lower()
    coded = any(value.strip().lower() != "identity" for value in request.values("content-encoding"))
    if kind not in {RELAY, PLAIN} or coded:
        raise BadMessage(415, "Unsupported Media Type")
    if len(request.body) > _BODY_MAX_BYTES:
        raise BadMessage(400, "Malformed Key Press")
    return _read(request.body.decode("ascii", errors="replace"))


def _read(text: str) -> Press:
    values = {match[1].lower(): match[2] for match in map(_LINE.fullmatch, text.splitlines()) if match}
    signal = values.get("signal", text.strip()).upper()  # application/dtmf may be the key and nothing else
    digit = _EVENTS.get(signal, signal)
    if digit not in _KEYS:
        raise BadMessage(400, "Malformed Key Press")
    duration = values.get("duration", "")
    return Press(digit, min(int(duration), _DURATION_MAX_MS) if duration.isdecimal() else 0)
