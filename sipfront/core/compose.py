"""Writes responses and in-dialog requests (RFC 3261 sections 8.2.6, 12.2.1.1, 17.1.1.3, 18.2.1; RFC 3581).

Values go through aiosipua's header dictionary, which refuses line breaks; the lines are joined here because its writer
changes the case of X- names, which people grep for.
"""

from collections.abc import Iterable

from aiosipua.headers import CaseInsensitiveDict

from sipfront.core.address import BadAddress, bracketed, split_params
from sipfront.core.effects import Peer
from sipfront.core.message import Request

PHRASES = {
    100: "Trying", 180: "Ringing", 200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension",
    469: "Bad Info Package", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
}  # fmt: skip

SERVER = "voicefarm"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO"

_OURS_TO_SAY = frozenset({"rport", "received"})

Headers = Iterable[tuple[str, str]]


def write(start: str, headers: Headers, body: bytes = b"") -> bytes:
    """The bytes of a message. Raises ValueError when a value would start a line of its own."""
    checked = CaseInsensitiveDict()
    for name, value in headers:
        checked.append(name, value)
    lines = [start, *(f"{name}: {value}" for name, values in checked.items() for value in values)]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def stamped_via(via: str, source: Peer) -> str:
    """The top Via with the packet's true source; what the sender claims about it is taken out.

    A claim believed would send our answers to a third host (FACTS section 1).
    """
    try:
        sent, *params = split_params(via)
    except BadAddress:  # of a message that is refused for it
        sent, *params = via.split(";")
    names = [param.partition("=")[0].strip().lower() for param in params]
    kept = [param for param, name in zip(params, names, strict=True) if name not in _OURS_TO_SAY]
    rport = [f"rport={source[1]}"] if "rport" in names else []
    return ";".join([sent, *kept, f"received={source[0]}", *rport])


def response(
    request: Request, code: int, source: Peer, *, phrase: str = "", to_tag: str = "", extra: Headers = (),
    body: bytes = b"",
) -> bytes:  # fmt: skip
    """A response to a request that came from `source`."""
    first, *others = request.vias
    to = request.to if request.to_tag or not to_tag else f"{request.to};tag={to_tag}"
    forms_dialog = request.method == "INVITE" and 100 < code < 300
    headers = [
        ("Via", stamped_via(first, source)),
        *(("Via", via) for via in others),
        *(("Record-Route", route) for route in request.record_routes if forms_dialog),  # section 12.1.1
        ("From", request.from_), ("To", to), ("Call-ID", request.sip_call_id),
        ("CSeq", f"{request.cseq} {request.method}"), ("Server", SERVER), *extra,
    ]  # fmt: skip
    return write(f"SIP/2.0 {code} {phrase or PHRASES[code]}", headers, body)


def warning(host: str, number: int, text: str) -> tuple[str, str]:
    """A Warning header (section 20.43)."""
    quoted = text.replace("\\", "").replace('"', "'")
    return ("Warning", f'{number} {bracketed(host)} "{quoted}"')
