"""The SIP side of a caller: one INVITE dialog, without I/O (RFC 3261 sections 9, 12, 13, 15, 17.1; RFC 3264).

It takes datagrams and `now_ns` and returns effects. Requests are retransmitted (Timers A, B, E, F), final responses to
INVITE acknowledged, a late 2xx hung up, Record-Route and Contact followed, BYE, OPTIONS and re-INVITE of the farm
answered. It does not authenticate, and follows no redirect. The life of the call is the table `TRANSITIONS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aiosipua.header_codec import parse_uri, stringify_uri
from aiosipua.message import SipMessage, SipRequest, SipResponse

from shared.units import NS_PER_MS
from voicefarm.core.offer import Offer, Remote, answer_again, read_answer
from voicefarm.core.uac_table import TRANSITIONS, Event, State, Step

T1_NS = 500 * NS_PER_MS
T2_NS = 4_000 * NS_PER_MS
GIVE_UP_NS = 64 * T1_NS
"""Timers B and F."""
RING_NS = 180_000 * NS_PER_MS
"""Longer than this nobody lets a telephone ring (Timer C)."""


@dataclass(frozen=True, slots=True)
class Send:
    """A datagram for `host`, `port`."""

    data: bytes
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Ringing:
    code: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The call stands; `call_id` is the farm's own name for it, where it tells it."""

    remote: Remote
    call_id: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A re-INVITE changed where audio goes."""

    remote: Remote


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over. `code` is that of a refusal, 408 when nobody answered, 0 after a normal end."""

    by_farm: bool
    code: int = 0
    reason: str = ""


Effect = Send | Ringing | Answered | Moved | Ended


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who calls whom from where; the tokens are made outside, for a core draws no random numbers."""

    target: str
    """Request-URI."""
    user: str = "caller"
    host: str
    port: int
    call_id: str
    tag: str
    branch: str
    """Tail of every branch of this call (after z9hG4bK)."""
    headers: Mapping[str, str]


class Uac:
    """One outgoing call."""

    def __init__(self, identity: Identity, offer: Offer) -> None:
        self._who = identity
        self._offer = offer
        self.state = State.IDLE
        uri = parse_uri(identity.target)
        self._next_hop = (uri.host, uri.port or 5060)
        self._remote_target = identity.target
        self._route: list[str] = []
        self._to = f"<{identity.target}>"
        self._cseq = 0
        self._invite_cseq = 0
        self._pending = b""
        self._interval_ns = T1_NS
        self._again_ns: int | None = None
        self._give_up_ns: int | None = None
        self._answers: dict[tuple[str, str], bytes] = {}

    # --- what the shell calls

    @property
    def due_ns(self) -> int | None:
        """When `tick` wants to be called."""
        return min((at for at in (self._again_ns, self._give_up_ns) if at is not None), default=None)

    def call(self, now_ns: int) -> list[Effect]:
        return self._happen(Event.CALL, now_ns)

    def hang_up(self, now_ns: int) -> list[Effect]:
        return self._happen(Event.HANG_UP, now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        if self._give_up_ns is not None and now_ns >= self._give_up_ns:
            self._stop_timers()
            return self._happen(Event.TIMEOUT, now_ns)
        if self._again_ns is not None and now_ns >= self._again_ns:
            return self._happen(Event.AGAIN, now_ns)
        return []

    def receive(self, data: bytes, source: tuple[str, int], now_ns: int) -> list[Effect]:
        """A datagram; what is not ours or not SIP is passed over."""
        try:
            message = SipMessage.parse(data)
            if message.call_id != self._who.call_id:
                return []
            if isinstance(message, SipResponse):
                return self._response(message, now_ns)
            return self._request(message, source, now_ns)
        except (ValueError, AttributeError, IndexError):  # aiosipua's parsers on malformed headers
            return []

    # --- the table

    def _happen(self, event: Event, now_ns: int, message: SipMessage | None = None) -> list[Effect]:
        found = TRANSITIONS[self.state].get(event)
        if found is None:
            return []
        self.state, steps = found
        return [effect for step in steps for effect in self._perform(step, message, now_ns)]

    def _perform(self, step: Step, message: SipMessage | None, now_ns: int) -> list[Effect]:
        if isinstance(message, SipResponse):
            done = self._perform_on_response(step, message, now_ns)
            if done is not None:
                return done
        return self._request_step(step, now_ns) or self._tell(step)

    def _request_step(self, step: Step, now_ns: int) -> list[Effect]:
        match step:
            case Step.INVITE:
                return self._begin(self._invite(), now_ns)
            case Step.CANCEL:
                return self._begin(self._cancel(), now_ns)
            case Step.SEND_BYE:
                return self._begin(self._bye(), now_ns)
            case Step.REPEAT:
                return self._repeat(now_ns)
            case _:
                return []

    def _tell(self, step: Step) -> list[Effect]:
        self._stop_timers()
        match step:
            case Step.TELL_TIMEOUT:
                return [Ended(by_farm=False, code=408, reason="no answer")]
            case Step.TELL_HUNG_UP:
                return [Ended(by_farm=True)]
            case _:
                return [Ended(by_farm=False)]

    def _perform_on_response(self, step: Step, response: SipResponse, now_ns: int) -> list[Effect] | None:
        """What needs the response; None for any other step."""
        match step:
            case Step.ACK:
                if not self._pending.startswith(
                    b"BYE "
                ):  # a 2xx that comes again must not end a BYE's retransmission
                    self._stop_timers()
                self._learn(response)
                return [self._to_peer(self._ack())]
            case Step.ACK_REFUSAL:
                self._stop_timers()
                return [self._to_peer(self._ack_refusal(response))]
            case Step.TELL_RINGING:
                self._again_ns, self._give_up_ns = None, now_ns + RING_NS
                return [Ringing(response.status_code)]
            case Step.TELL_ANSWERED:
                return self._answered(response, now_ns)
            case Step.TELL_REFUSED:
                return [Ended(by_farm=True, code=response.status_code, reason=response.reason_phrase)]
            case _:
                return None

    # --- timers

    def _begin(self, request: bytes, now_ns: int) -> list[Effect]:
        self._pending = request
        self._interval_ns = T1_NS
        self._again_ns, self._give_up_ns = now_ns + T1_NS, now_ns + GIVE_UP_NS
        return [self._to_peer(request)]

    def _repeat(self, now_ns: int) -> list[Effect]:
        doubled = 2 * self._interval_ns
        inviting = self.state in {State.CALLING, State.GIVING_UP}
        self._interval_ns = (
            doubled if inviting else min(doubled, T2_NS)
        )  # Timer A has no ceiling, Timer E has T2
        self._again_ns = now_ns + self._interval_ns
        return [self._to_peer(self._pending)]

    def _stop_timers(self) -> None:
        self._again_ns = self._give_up_ns = None

    # --- responses

    def _response(self, response: SipResponse, now_ns: int) -> list[Effect]:
        cseq = response.cseq
        if cseq is None or not _branch_of(response).endswith(self._who.branch):
            return []
        code = response.status_code
        if cseq.method == "INVITE" and cseq.seq == self._invite_cseq:
            event = Event.PROVISIONAL if code < 200 else Event.ACCEPTED if code < 300 else Event.REFUSED
            return self._happen(event, now_ns, response)
        if code < 200:
            return []
        if cseq.method == "BYE":
            return self._happen(Event.BYE_ANSWERED, now_ns, response)
        if cseq.method == "CANCEL" and self.state is State.CANCELLING:
            self._again_ns = None
        return []

    def _answered(self, response: SipResponse, now_ns: int) -> list[Effect]:
        remote = read_answer(response.body)
        if remote is None:
            hang_up = self._happen(Event.HANG_UP, now_ns)
            return [*hang_up, Ended(by_farm=True, code=488, reason="no usable audio in the answer")]
        return [Answered(remote, response.get_header("X-Call-ID") or "")]

    def _learn(self, response: SipResponse) -> None:
        """Dialog state from a 2xx (section 12.1.2)."""
        self._to = response.get_header("To") or self._to
        self._route = list(reversed(response.get_header_values("Record-Route")))
        self._refresh_target(response)

    def _refresh_target(self, message: SipMessage) -> None:
        contact = message.contact
        if contact:
            self._remote_target = stringify_uri(contact[0].uri)
        if self._route:
            uri = parse_uri(self._route[0].strip().strip("<>"))
            self._next_hop = (uri.host, uri.port or 5060)
        elif contact:
            self._next_hop = (contact[0].uri.host, contact[0].uri.port or 5060)

    # --- requests of the farm

    def _request(self, request: SipRequest, source: tuple[str, int], now_ns: int) -> list[Effect]:
        if request.method == "ACK":
            return []
        to_tag = request.to_addr.tag if request.to_addr else None
        if to_tag != self._who.tag or self.state in {State.IDLE, State.CALLING}:
            return [self._reply(request, source, "481 Call/Transaction Does Not Exist")]
        known = self._answers.get((_branch_of(request), request.method))
        if known:
            return [Send(known, *source)]
        return self._new_request(request, source, now_ns)

    def _new_request(self, request: SipRequest, source: tuple[str, int], now_ns: int) -> list[Effect]:
        match request.method:
            case "BYE":
                return [self._reply(request, source, "200 OK"), *self._happen(Event.BYE, now_ns)]
            case "INVITE" if self.state is State.TALKING:
                return self._reinvite(request, source)
            case "OPTIONS" | "INFO" | "NOTIFY" | "UPDATE" if not request.body:
                return [self._reply(request, source, "200 OK")]
            case _:
                return [
                    self._reply(
                        request, source, "405 Method Not Allowed", ("Allow", "INVITE, ACK, BYE, OPTIONS")
                    )
                ]

    def _reinvite(self, request: SipRequest, source: tuple[str, int]) -> list[Effect]:
        remote = read_answer(request.body)
        if remote is None:
            return [self._reply(request, source, "488 Not Acceptable Here")]
        self._refresh_target(request)
        body = answer_again(self._offer, remote)
        headers = (("Contact", self._contact()), ("Content-Type", "application/sdp"))
        return [self._reply(request, source, "200 OK", *headers, body=body), Moved(remote)]

    def _reply(
        self,
        request: SipRequest,
        source: tuple[str, int],
        status: str,
        *more: tuple[str, str],
        body: bytes = b"",
    ) -> Send:
        lines = [f"SIP/2.0 {status}"]
        lines += [f"Via: {value}" for value in request.get_header_values("Via")]
        lines += [f"Record-Route: {value}" for value in request.get_header_values("Record-Route")]
        lines += [f"{name}: {request.get_header(name) or ''}" for name in ("From", "To", "Call-ID", "CSeq")]
        lines += [f"{name}: {value}" for name, value in more]
        data = _message(lines, body)
        answered = [*self._answers.items(), ((_branch_of(request), request.method), data)]
        self._answers = dict(answered[-8:])  # for retransmissions of the latest few
        return Send(data, *source)

    # --- what we write

    def _to_peer(self, data: bytes) -> Send:
        return Send(data, *self._next_hop)

    def _contact(self) -> str:
        return f"<sip:{self._who.user}@{self._who.host}:{self._who.port}>"

    def _head(self, method: str, uri: str, cseq: int, branch: str, to: str) -> list[str]:
        who = self._who
        return [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {who.host}:{who.port};rport;branch={branch}",
            "Max-Forwards: 70",
            f"From: <sip:{who.user}@{who.host}>;tag={who.tag}",
            f"To: {to}",
            f"Call-ID: {who.call_id}",
            f"CSeq: {cseq} {method}",
        ]

    def _branch(self, number: int) -> str:
        return f"z9hG4bK{number}{self._who.branch}"

    def _invite(self) -> bytes:
        self._cseq += 1
        self._invite_cseq = self._cseq
        lines = self._head("INVITE", self._who.target, self._cseq, self._branch(self._cseq), self._to)
        lines += [
            f"Contact: {self._contact()}",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS",
            "User-Agent: voicefarm call",
        ]
        lines += [f"{name}: {value}" for name, value in self._who.headers.items()]
        return _message([*lines, "Content-Type: application/sdp"], self._offer.sdp())

    def _in_dialog(self, method: str, cseq: int, branch: str) -> bytes:
        lines = self._head(method, self._remote_target, cseq, branch, self._to)
        return _message(lines + [f"Route: {route}" for route in self._route])

    def _ack(self) -> bytes:
        return self._in_dialog("ACK", self._invite_cseq, self._branch(1_000 + self._invite_cseq))

    def _bye(self) -> bytes:
        self._cseq += 1
        return self._in_dialog("BYE", self._cseq, self._branch(self._cseq))

    def _ack_refusal(self, response: SipResponse) -> bytes:
        """Section 17.1.1.3: the INVITE's branch and Request-URI, the response's To."""
        to = response.get_header("To") or self._to
        return _message(
            self._head("ACK", self._who.target, self._invite_cseq, self._branch(self._invite_cseq), to)
        )

    def _cancel(self) -> bytes:
        to = f"<{self._who.target}>"
        return _message(
            self._head("CANCEL", self._who.target, self._invite_cseq, self._branch(self._invite_cseq), to)
        )


def _branch_of(message: SipMessage) -> str:
    return (message.via[0].params.get("branch") or "") if message.via else ""


def _message(lines: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
