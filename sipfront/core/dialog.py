"""One side's view of a dialog (RFC 3261 section 12): targets, routes, sequence numbers, requests inside it."""

from dataclasses import dataclass, replace

from sipfront.core.address import BadAddress, Uri, bracketed, parse_name_addr, parse_uri
from sipfront.core.compose import SERVER, Headers, write
from sipfront.core.effects import Peer
from sipfront.core.message import Request
from sipfront.core.mint import MAGIC
from sipfront.core.networks import Networks, is_address

DialogKey = tuple[str, str, str]
"""Call-ID, local tag, remote tag."""


def key_of(request: Request) -> DialogKey:
    """The dialog an incoming request claims to be in: its To is us."""
    return (request.sip_call_id, request.to_tag, request.from_tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """State of a dialog made by an INVITE that came in; a changed dialog is a new value."""

    sip_call_id: str
    local_tag: str
    remote_tag: str
    local: str
    """Our To (From in our requests), without tag."""
    remote: str
    """The caller's From with its tag."""
    target: str
    """Contact URI of the peer, the remote target (12.1.1)."""
    routes: tuple[str, ...]
    local_cseq: int
    remote_cseq: int
    source: Peer
    """Where the peer's last request came from."""
    direct: bool
    """The INVITE had one Via: whoever sent it is the peer itself, so its true address is where it is reached."""

    @property
    def key(self) -> DialogKey:
        return (self.sip_call_id, self.local_tag, self.remote_tag)


def from_invite(request: Request, local_tag: str, source: Peer) -> Dialog:
    """The dialog an INVITE makes when it is answered; without a Contact the caller is reached where it called from."""
    return Dialog(
        sip_call_id=request.sip_call_id, local_tag=local_tag, remote_tag=request.from_tag,
        local=request.to, remote=request.from_,
        target=request.contact or f"sip:{bracketed(source[0])}:{source[1]}",
        routes=request.record_routes, local_cseq=0, remote_cseq=request.cseq, source=source,
        direct=len(request.vias) == 1 and not request.record_routes,
    )  # fmt: skip


def received(dialog: Dialog, request: Request, source: Peer) -> Dialog | None:
    """The dialog after one more request of the peer; None when its CSeq is not higher than the last (12.2.2)."""
    if request.cseq <= dialog.remote_cseq:
        return None
    return replace(dialog, remote_cseq=request.cseq, source=source)


def retargeted(dialog: Dialog, request: Request) -> Dialog:
    """Target refresh: a re-INVITE that is accepted brings a new Contact; the route set stays (12.2)."""
    return replace(dialog, target=request.contact) if request.contact else dialog


def compose_request(
    dialog: Dialog, method: str, branch: str, sent_by: str, extra: Headers = ()
) -> tuple[Dialog, bytes]:
    """A request of ours inside the dialog (12.2.1.1), and the dialog with our CSeq counted up."""
    after = replace(dialog, local_cseq=dialog.local_cseq + 1)
    uri, routes = _uri_and_routes(dialog)
    headers = [
        ("Via", f"SIP/2.0/UDP {sent_by};rport;branch={MAGIC}{branch}"), ("Max-Forwards", "70"),
        *(("Route", route) for route in routes),
        ("From", f"{dialog.local};tag={dialog.local_tag}"), ("To", dialog.remote),
        ("Call-ID", dialog.sip_call_id), ("CSeq", f"{after.local_cseq} {method}"),
        ("Contact", f"<sip:{sent_by}>"), ("User-Agent", SERVER), *extra,
    ]  # fmt: skip
    return after, write(f"{method} {uri} SIP/2.0", headers)


def next_hop(dialog: Dialog, allowed: Networks) -> Peer:
    """Where our requests go: the first route, else the target (8.1.2), as far as it is an address we may talk to.

    A host name, an address outside the allowed networks, or a caller that sits behind a translator and came to us
    directly are reached where their last request came from.
    """
    if dialog.direct:
        return dialog.source
    hop = _parsed(dialog.routes[0] if dialog.routes else f"<{dialog.target}>")
    if hop is None or not is_address(hop.host) or hop.host not in allowed:
        return dialog.source
    return (hop.host, hop.port or 5060)


def _uri_and_routes(dialog: Dialog) -> tuple[str, tuple[str, ...]]:
    """A first route without `lr` is a strict router: it becomes the Request-URI, the target the last route."""
    first = _parsed(dialog.routes[0]) if dialog.routes else None
    if first is None or "lr" in first.params:
        return dialog.target, dialog.routes
    return parse_name_addr(dialog.routes[0]).uri, (*dialog.routes[1:], f"<{dialog.target}>")


def _parsed(route: str) -> Uri | None:
    try:
        return parse_uri(parse_name_addr(route).uri)
    except BadAddress:
        return None
