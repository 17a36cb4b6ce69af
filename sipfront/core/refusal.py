"""Answers to what cannot become a `Request`: from clean lines of the raw head, without state (section 8.2.7).

Never answers a response or an ACK, and never sends back a byte it did not check.
"""

import re

from sipfront.core.compose import stamped_via, write
from sipfront.core.datagram import MAX_BYTES, head_of
from sipfront.core.effects import Peer

_CLEAN = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_NAMES = {
    b"via": "Via", b"v": "Via", b"from": "From", b"f": "From", b"to": "To", b"t": "To", b"call-id": "Call-ID",
    b"i": "Call-ID", b"cseq": "CSeq",
}  # fmt: skip
_ORDER = ("Via", "From", "To", "Call-ID", "CSeq")
_LINES_MAX = 128


def bad_answer(
    data: bytes, source: Peer, code: int, phrase: str, tag: str, extra: tuple[tuple[str, str], ...] = ()
) -> bytes | None:
    """A response with what can be copied from a request, or None where none may or can be given."""
    start, *lines = head_of(data)[:MAX_BYTES].split(b"\r\n")[:_LINES_MAX]
    if start[:4].upper() == b"SIP/" or start.startswith(b"ACK ") or b" SIP/" not in start.upper():
        return None
    found = _copyable(lines)
    if not all(found[name] for name in _ORDER):
        return None
    top, *below = (part.strip() for via in found["Via"] for part in via.split(","))
    vias = [stamped_via(top, source), *below]
    to = found["To"][0] if ";tag=" in found["To"][0].lower() else f"{found['To'][0]};tag={tag}"
    headers = [*(("Via", via) for via in vias), ("From", found["From"][0]), ("To", to)]
    headers += [("Call-ID", found["Call-ID"][0]), ("CSeq", found["CSeq"][0]), *extra]
    return write(f"SIP/2.0 {code} {phrase}", headers)


def _copyable(lines: list[bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in _ORDER}
    for line in lines:
        name, _, value = line.partition(b":")
        known = _NAMES.get(name.strip().lower())
        if known and value.strip() and _CLEAN.fullmatch(line):
            found[known].append(value.strip().decode("utf-8", errors="replace"))
    return found
