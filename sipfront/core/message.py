"""Requests and responses as the rest of the core sees them: checked once, here.

aiosipua splits a message into headers; what they mean and whether they may be so is decided here (RFC 3261 sections
8.1.1, 8.2, 18.3, 20; RFC 4475 for what is wrong with messages in the wild). A message that fails raises BadMessage,
which carries the code to answer with.
"""

import re
from dataclasses import dataclass

from aiosipua import SipMessage, SipRequest, SipResponse

from sipfront.core.address import BadAddress, NameAddr, Uri, Via, parse_name_addr, parse_uri, parse_via
from sipfront.core.datagram import head_of
from sipfront.core.mint import MAGIC

_REQUEST_LINE = re.compile(r"([A-Za-z0-9.!%*_+`'~-]+) ([^\s]+) SIP/(\d+)\.(\d+)", re.ASCII)
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6]\d\d)(?: (.*))?", re.IGNORECASE)
_CSEQ = re.compile(r"(\d{1,10})\s+([A-Za-z0-9.!%*_+`'~-]+)", re.ASCII)
_ONCE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type")
_CALL_ID_MAX = 256


class BadMessage(ValueError):
    """A message that breaks the rules; `code` and `phrase` answer it."""

    def __init__(self, code: int, phrase: str) -> None:
        super().__init__(f"{code} {phrase}")
        self.code = code
        self.phrase = phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose mandatory parts are there and well formed."""

    method: str
    uri: str
    target: Uri
    vias: tuple[str, ...]
    via: Via
    from_: str
    from_addr: NameAddr
    to: str
    to_addr: NameAddr
    sip_call_id: str
    cseq: int
    contact: str
    """URI of the first Contact of an INVITE, empty when there is none."""
    record_routes: tuple[str, ...]
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    """Every header in order, as given."""

    @property
    def from_tag(self) -> str:
        return self.from_addr.params.get("tag", "")

    @property
    def to_tag(self) -> str:
        return self.to_addr.params.get("tag", "")

    def values(self, name: str) -> list[str]:
        """All values of a header, by its full name."""
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower() == wanted]

    def transaction_key(self, method: str = "") -> tuple[str, ...]:
        """What identifies the server transaction (section 17.2.3); an ACK has the key of its INVITE."""
        method = method or ("INVITE" if self.method == "ACK" else self.method)
        sent_by = f"{self.via.host}:{self.via.port}"
        if self.via.branch.startswith(MAGIC):
            return (self.via.branch, sent_by, method)
        # RFC 2543 peers: the To tag is left out, for an ACK carries the one of our answer.
        return (self.uri, self.from_tag, self.sip_call_id, str(self.cseq), self.vias[0], method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response, as far as a client transaction and its user need it."""

    code: int
    phrase: str
    branch: str
    sip_call_id: str
    from_tag: str
    to_tag: str
    cseq: int
    method: str
    to: str
    contact: str


def parse(data: bytes) -> Request | Response:
    """The message in a clean datagram. Raises BadMessage."""
    lines = head_of(data).decode("utf-8", errors="replace").split("\r\n")
    start = lines[0]
    if any(":" not in line for line in lines[1:] if line and line[0] not in " \t"):
        raise BadMessage(400, "Malformed Header Line")
    request = _REQUEST_LINE.fullmatch(start)
    if not request and not _STATUS_LINE.fullmatch(start):
        raise BadMessage(400, "Malformed Start Line")
    if request and (request[3], request[4]) != ("2", "0"):
        raise BadMessage(505, "Version Not Supported")
    try:
        raw = SipMessage.parse(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise BadMessage(400, "Malformed Message") from error
    try:
        return _request(raw, data) if isinstance(raw, SipRequest) else _response(raw)
    except BadAddress as error:
        raise BadMessage(400, "Malformed Address") from error


def _request(raw: SipRequest, data: bytes) -> Request:
    headers = raw.headers
    for name in _ONCE:
        if len(headers.get(name)) > 1:
            raise BadMessage(400, f"Repeated {name.title()}")
    cseq, method = _cseq(_one(raw, "cseq"))
    if method != raw.method:
        raise BadMessage(400, "CSeq Method Differs")
    vias = tuple(headers.get("via"))
    from_addr, to_addr = parse_name_addr(_one(raw, "from")), parse_name_addr(_one(raw, "to"))
    if not vias or not from_addr.params.get("tag"):
        raise BadMessage(400, "Missing From Tag" if vias else "Missing Via")
    _check_length(raw, data)
    return Request(
        method=raw.method, uri=raw.uri, target=parse_uri(raw.uri), vias=vias, via=parse_via(vias[0]),
        from_=_one(raw, "from"), from_addr=from_addr, to=_one(raw, "to"), to_addr=to_addr,
        sip_call_id=_call_id(raw), cseq=cseq,
        contact=_target(headers.get("contact")) if method == "INVITE" else "",
        record_routes=tuple(headers.get("record-route")),
        content_type=headers.get_first("content-type") or "", body=raw.body,
        headers=tuple((name, value) for name, values in headers.items() for value in values),
    )  # fmt: skip


def _response(raw: SipResponse) -> Response:
    cseq, method = _cseq(_one(raw, "cseq"))
    vias = raw.headers.get("via")
    if len(vias) != 1:
        raise BadMessage(400, "Not Our Response")  # section 18.1.2: more than our own Via was misrouted
    contacts = raw.headers.get("contact")
    return Response(
        code=raw.status_code, phrase=raw.reason_phrase, branch=parse_via(vias[0]).branch,
        sip_call_id=_call_id(raw), from_tag=parse_name_addr(_one(raw, "from")).params.get("tag", ""),
        to_tag=parse_name_addr(_one(raw, "to")).params.get("tag", ""), cseq=cseq, method=method,
        to=_one(raw, "to"), contact=parse_name_addr(contacts[0]).uri if contacts else "",
    )  # fmt: skip


def _target(contacts: list[str]) -> str:
    """The Contact of an INVITE, the URI that our requests will carry."""
    if not contacts:
        return ""
    uri = parse_name_addr(contacts[0]).uri
    if parse_uri(uri).scheme not in {"sip", "sips"}:
        raise BadMessage(400, "Contact Is Not A SIP URI")
    return uri


def _one(raw: SipMessage, name: str) -> str:
    value = raw.headers.get_first(name)
    if not value:
        raise BadMessage(400, f"Missing {name.title()}")
    return str(value)


def _call_id(raw: SipMessage) -> str:
    value = _one(raw, "call-id")
    if len(value) > _CALL_ID_MAX or any(c.isspace() for c in value):
        raise BadMessage(400, "Malformed Call-Id")
    return value


def _cseq(text: str) -> tuple[int, str]:
    match = _CSEQ.fullmatch(text)
    if not match or int(match[1]) >= 2**31:  # section 8.1.1.5
        raise BadMessage(400, "Malformed CSeq")
    return int(match[1]), match[2]


def _check_length(raw: SipRequest, data: bytes) -> None:
    """Over UDP a body shorter than announced is an error, a longer one is cut (section 18.3)."""
    text = raw.headers.get_first("content-length")
    if text is None:
        return
    present = len(data.partition(b"\r\n\r\n")[2])
    if not re.fullmatch(r"\d{1,8}", text, re.ASCII) or int(text) > present:
        raise BadMessage(400, "Wrong Content-Length")
