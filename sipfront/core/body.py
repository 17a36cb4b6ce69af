"""Finds the session description in a body (RFC 3261 sections 7.4, 20.11, 20.15; RFC 5621 for multipart)."""

import re

from sipfront.core.message import BadMessage, Request

SDP = "application/sdp"
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_PARTS_MAX = 16


def session_description(request: Request) -> str | None:
    """The SDP of a request, None when it has no body. Raises BadMessage 415 for bodies we do not read."""
    if not request.body:
        return None
    if any(value.strip().lower() != "identity" for value in request.values("content-encoding")):
        raise BadMessage(415, "Unsupported Content-Encoding")
    kind = _media_type(request.content_type)
    if kind == SDP:
        return request.body.decode("utf-8", errors="replace")
    if kind.startswith("multipart/"):
        return _from_parts(request)
    if not kind:
        raise BadMessage(400, "Missing Content-Type")
    if _optional(request):
        return None
    raise BadMessage(415, "Unsupported Media Type")


def taken_instead(error: BadMessage) -> list[tuple[str, str]]:
    """What a 415 must say (section 21.4.13)."""
    return [("Accept", SDP), ("Accept-Encoding", "identity")] if error.code == 415 else []


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower().replace(" ", "")


def _optional(request: Request) -> bool:
    """Content-Disposition may say that a body can be passed over (section 20.11)."""
    return any(
        "handling=optional" in value.lower().replace(" ", "")
        for value in request.values("content-disposition")
    )


def _from_parts(request: Request) -> str:
    found = _BOUNDARY.search(request.content_type)
    if not found:
        raise BadMessage(400, "Multipart Without Boundary")
    mark = b"--" + (found[1] or found[2]).encode()
    for part in request.body.split(mark)[1 : 1 + _PARTS_MAX]:
        head, _, content = part.partition(b"\r\n\r\n")
        for line in head.decode("utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in {"content-type", "c"} and _media_type(value) == SDP:
                return content.decode("utf-8", errors="replace")
    raise BadMessage(415, "Unsupported Media Type")
