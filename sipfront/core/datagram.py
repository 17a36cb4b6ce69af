"""The first look at a datagram, before any parser sees it.

Kamailio lets a bare CR inside a header pass and the parser behind would split the line there, so a caller could choose
the room (FACTS section 1). Bare CR, bare LF, NUL and control bytes in the head of a message are therefore refused here.
The body is left alone: only the SDP reader looks at it.
"""

import re

MAX_BYTES = 16_384
"""Ours are below 1,500; a peer with long Record-Route and SDP stays below this."""
MAX_HEADERS = 128

_UNCLEAN = re.compile(rb"\r(?!\n)|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WHY = {b"\r": "bare_cr", b"\n": "bare_lf", b"\0": "nul"}


def trim(data: bytes) -> bytes:
    """Without the empty lines that may stand before a message (section 7.5)."""
    return data.lstrip(b"\r\n")


def head_of(data: bytes) -> bytes:
    """Start line and headers, without the empty line."""
    return data.partition(b"\r\n\r\n")[0]


def why_refused(data: bytes) -> str:
    """A metric label for a datagram not worth parsing, else empty. `data` is already trimmed."""
    if not data:
        return "keepalive"
    if len(data) > MAX_BYTES:
        return "too_long"
    head = head_of(data)
    unclean = _UNCLEAN.search(head)
    if unclean:
        return _WHY.get(unclean[0], "control")
    if head.count(b"\r\n") > MAX_HEADERS:
        return "too_many_headers"
    return ""
