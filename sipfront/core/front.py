"""The SIP front as one object: datagrams, timers and answers of the farm go in, effects come out.

Every method takes `now_ns` and returns the effects to perform, in order; `next_timer_ns` says when `handle_timer` is due
(STYLE rule 1). Sources: RFC 3261 sections 8.2, 9.2, 12.2.2, 16.3 (what a UAS checks, in which order).
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from shared.config import Route
from shared.contracts import EndReason, MediaAnswer, MediaEnded
from sipfront.core import dialog as dialogs
from sipfront.core import info, lease
from sipfront.core.body import SDP, session_description, taken_instead
from sipfront.core.call import Call
from sipfront.core.calls import Calls
from sipfront.core.compose import ALLOW, PHRASES, Headers, warning
from sipfront.core.datagram import trim, why_refused
from sipfront.core.desk import KNOWN, SERVED, Desk, Settings
from sipfront.core.effects import Count, Effect, Peer, Place, Send
from sipfront.core.farm import GRACE_NS, FarmLoad, LeaseWatch
from sipfront.core.identity import CallIdentity, identify
from sipfront.core.message import BadMessage, Request, Response, parse
from sipfront.core.mint import Mint, stateless_tag
from sipfront.core.offer_answer import Agreement, Fresh, NotAcceptable, negotiate, our_offer
from sipfront.core.refusal import bad_answer
from sipfront.core.routing import NEEDS, Routes, app_of, terms_of
from sipfront.core.sdp import BadSdp, read
from sipfront.core.terms import Terms
from sipfront.core.transaction import ServerTransaction

_NEW_CALLS_SHARE = 0.9
"""New calls take at most this share of the transaction table: the rest is for BYE, CANCEL and re-INVITE."""


class Refusal(Exception):
    """A request that is answered with a failure."""

    def __init__(self, code: int, *, phrase: str = "", extra: Headers = ()) -> None:
        super().__init__(f"{code} {phrase}")
        self.code = code
        self.phrase = phrase
        self.extra = tuple(extra)


class Front:
    """The core of a front process."""

    def __init__(self, settings: Settings, routes: Sequence[Route], mint: Mint) -> None:
        self._desk = Desk(settings=settings, mint=mint)
        self._routes = Routes(routes)
        self._secret = mint.token()
        self._load = FarmLoad()
        self._load_ns = 0
        self._watch = LeaseWatch()
        self._draining = False
        self.calls = Calls(self._desk)

    # --- the shell's side

    def receive(self, data: bytes, source: Peer, local_host: str, now_ns: int) -> list[Effect]:
        """A datagram; `local_host` is our address as `source` sees it."""
        data = trim(data)
        refused = why_refused(data)
        if refused:
            self._count_refused(refused)
            if refused not in {"keepalive", "too_long"}:
                self._answer_raw(data, source, 400, "Malformed Message")
        elif source[0] not in self._desk.settings.allowed:
            self._count_refused("acl")
            self._answer_raw(data, source, 403, PHRASES[403])
        else:
            self._receive_clean(data, source, local_host, now_ns)
        return self._drain()

    def handle_timer(self, now_ns: int) -> list[Effect]:
        """Everything whose time has come."""
        while due := self._desk.timers.pop(now_ns):
            if due.owner == "call":
                self.calls.timer(str(due.key), due.name, now_ns)
                continue
            told = self._desk.transactions.timer(due, now_ns)
            if told:
                self.calls.bye_answered(told.owner, now_ns)
        return self._drain()

    def next_timer_ns(self) -> int | None:
        return self._desk.timers.next_ns()

    def reserved(self, call_id: str, place: Place, now_ns: int) -> list[Effect]:
        """The registry granted a `Reserve`."""
        self.calls.reserved(call_id, place, now_ns)
        return self._drain()

    def refused(self, call_id: str, reason: str, now_ns: int) -> list[Effect]:
        """The registry refused a `Reserve`, or cannot be reached."""
        self.calls.refused(call_id, reason, now_ns)
        return self._drain()

    def wants_place(self, call_id: str) -> bool:
        """Whether a `Reserve` is still of use: not when its call was given up while it waited its turn."""
        call = self.calls.get(call_id)
        return call is not None and call.lease is lease.State.RESERVING

    def media_answer(self, message: MediaAnswer, now_ns: int) -> list[Effect]:
        self.calls.media_answer(message, now_ns)
        return self._drain()

    def media_ended(self, message: MediaEnded, now_ns: int) -> list[Effect]:
        self.calls.media_ended(message, now_ns)
        return self._drain()

    def media_workers(
        self, live: Collection[str], load: FarmLoad, now_ns: int, *, forgotten: bool
    ) -> list[Effect]:
        """What the registry says at a beat; calls on workers that died are ended."""
        self._load, self._load_ns = load, now_ns
        needed = {call.place.worker for call in self.calls if call.place}
        for worker in self._watch.lost(needed, live, now_ns, forgotten=forgotten):
            self.calls.worker_lost(worker, now_ns)
        return self._drain()

    def drain(self) -> None:
        """No new calls from now on."""
        self._draining = True

    def end(self, call_ids: Collection[str], reason: EndReason, now_ns: int) -> list[Effect]:
        """Hangs up."""
        for call_id in call_ids:
            self.calls.end(call_id, reason, now_ns)
        return self._drain()

    def transactions(self) -> int:
        return len(self._desk.transactions)

    # --- datagrams

    def _receive_clean(self, data: bytes, source: Peer, local_host: str, now_ns: int) -> None:
        try:
            message = parse(data)
        except BadMessage as error:
            self._count_refused("malformed")
            self._answer_raw(data, source, error.code, error.phrase)
            return
        if isinstance(message, Response):
            told = self._desk.transactions.receive_response(message, now_ns)
            if told and told.response and told.response.code >= 200:
                self.calls.bye_answered(told.owner, now_ns)
            return
        txn = self._desk.transactions.find(message)
        if message.method == "ACK":
            self._acknowledge(message, txn, now_ns)
        elif txn:
            self._desk.transactions.repeated(txn, now_ns)
        elif message.method == "CANCEL":
            self._cancel(message, source, now_ns)
        elif message.to_tag:
            self._in_dialog(message, source, now_ns)
        else:
            self._outside(message, source, local_host, now_ns)

    def _acknowledge(self, ack: Request, txn: ServerTransaction | None, now_ns: int) -> None:
        """An ACK of a failure ends in its transaction; one of a 2xx is a message of the dialog (section 13.3.1.4)."""
        if txn and not self._desk.transactions.acknowledged(txn, now_ns):
            return
        call = self.calls.in_dialog(ack)
        if call:
            self.calls.acknowledge(call, ack, now_ns)
        else:
            self._count_refused("stray_ack")

    def _cancel(self, cancel: Request, source: Peer, now_ns: int) -> None:
        """Section 9.2. A CANCEL comes from the hop that sent the INVITE: the same branch from elsewhere is a forgery."""
        self._desk.out.append(Count("voicefarm_sip_requests", "CANCEL"))
        txn = self._desk.transactions.find(cancel, "INVITE")
        if txn is None or not _cancels(cancel, txn, source):
            self._answer_once(cancel, source, 481)
            return
        call = self.calls.invited_by(txn)
        tag = call.dialog.local_tag if call else self._tag(cancel)
        self._desk.answer_once(cancel, source, 200, tag=tag)
        if call:
            self.calls.cancel(call, txn, now_ns)

    # --- inside a dialog

    def _in_dialog(self, request: Request, source: Peer, now_ns: int) -> None:
        call = self.calls.in_dialog(request)
        if call is None:
            self._count_refused("no_dialog")
            self._answer_once(request, source, 481)
            return
        if not self._desk.transactions.has_room():
            self._answer_once(request, source, 503, extra=[self._desk.retry_after()])
            return
        txn = self._desk.opened(request, source, now_ns)  # of whatever method: it is answered like any other
        after = dialogs.received(call.dialog, request, source)
        if after is None:
            self._desk.answer(txn, 500, now_ns, phrase="CSeq Out Of Order")
            return
        call.dialog = after
        try:
            self._check(request)
        except Refusal as refusal:
            self._desk.answer(txn, refusal.code, now_ns, phrase=refusal.phrase, extra=refusal.extra)
            return
        self._serve_in_dialog(call, txn, now_ns)

    def _serve_in_dialog(self, call: Call, txn: ServerTransaction, now_ns: int) -> None:
        method = txn.request.method
        if method == "BYE":
            self.calls.bye(call, txn, now_ns)
        elif method == "INVITE":
            self.calls.reinvite(call, txn, now_ns)
        elif method == "INFO":
            self._info(call, txn, now_ns)
        else:  # OPTIONS
            self._desk.answer(txn, 200, now_ns, extra=_abilities())

    def _info(self, call: Call, txn: ServerTransaction, now_ns: int) -> None:
        try:
            pressed = info.press(txn.request)
        except BadMessage as error:
            extra = {415: [("Accept", info.TAKEN)], 469: [("Recv-Info", "")]}.get(error.code, [])
            self._desk.answer(txn, error.code, now_ns, phrase=error.phrase, extra=extra)
            return
        if pressed:
            self.calls.pressed(call, pressed)
        self._desk.answer(txn, 200, now_ns)

    # --- outside of dialogs

    def _outside(self, request: Request, source: Peer, local_host: str, now_ns: int) -> None:
        try:
            self._check(request)
            self._serve_outside(request, source, local_host, now_ns)
        except Refusal as refusal:
            self._count_refused(f"code_{refusal.code}")
            self._answer_once(request, source, refusal.code, phrase=refusal.phrase, extra=refusal.extra)

    def _serve_outside(self, request: Request, source: Peer, local_host: str, now_ns: int) -> None:
        if request.method == "INVITE":
            self._invite(request, source, local_host, now_ns)
        elif request.method == "OPTIONS":
            self._options(request, source, now_ns)
        else:  # BYE and INFO belong into dialogs
            raise Refusal(481)

    def _check(self, request: Request) -> None:
        """Section 8.2.1 to 8.2.2: method, scheme, extensions."""
        if request.method not in SERVED:
            code = 405 if request.method in KNOWN else 501
            raise Refusal(code, extra=[("Allow", ALLOW)])
        if request.target.scheme not in {"sip", "sips", "tel"}:
            raise Refusal(416)
        required = request.values("require")
        if required:
            raise Refusal(420, extra=[("Unsupported", ", ".join(required))])

    def _options(self, request: Request, source: Peer, now_ns: int) -> None:
        """The load balancer's question whether calls may come: no, too, while the registry cannot be asked (I2)."""
        self._desk.out.append(Count("voicefarm_sip_requests", "OPTIONS"))
        load = ("X-Farm-Load", f"{self._load.used}/{self._load.capacity}")
        stale = "registry" if now_ns - self._load_ns > GRACE_NS else ""
        closed = "draining" if self._draining else self._load.why_closed or stale
        if closed:
            extra = [self._desk.retry_after(), load, ("X-Farm-State", closed)]
            self._answer_once(request, source, 503, extra=extra)
        else:
            self._answer_once(request, source, 200, extra=[*_abilities(), load])

    def _invite(self, request: Request, source: Peer, local_host: str, now_ns: int) -> None:
        if self._desk.transactions.is_merged(request):
            raise Refusal(482)
        settings = self._desk.settings
        if len(self.calls) >= settings.max_dialogs or not self._desk.transactions.has_room(_NEW_CALLS_SHARE):
            raise Refusal(503, extra=[self._desk.retry_after(), ("X-Farm-State", "overload")])
        txn = self._desk.opened(request, source, now_ns)
        try:
            call = self._new_call(request, txn, source, local_host, now_ns)
        except Refusal as refusal:
            tag = self._desk.mint.token()
            self._desk.answer(
                txn, refusal.code, now_ns, to_tag=tag, phrase=refusal.phrase, extra=refusal.extra
            )
            return
        stamps = [("Timestamp", value) for value in request.values("timestamp")[:1]]  # section 8.2.6.1
        self._desk.answer(txn, 100, now_ns, extra=stamps)
        self.calls.begin(call, now_ns)

    def _new_call(
        self, request: Request, txn: ServerTransaction, source: Peer, local_host: str, now_ns: int
    ) -> Call:
        if self._draining:
            raise Refusal(503, extra=[self._desk.retry_after(), ("X-Farm-State", "draining")])
        identity = identify(request, trusted=source[0] in self._desk.settings.trusted)
        route = self._routes.find(identity)
        if route is None:
            raise Refusal(404)
        mint, terms = self._desk.mint, terms_of(route, self._desk.settings.terms)
        agreement = _agreement(request, local_host, terms, mint.secret)
        call_id = mint.call_id()
        return Call(
            call_id=call_id, identity=_with_call_id(identity, request), app=app_of(route), needs=NEEDS[route.app],
            record=route.record, dialog=dialogs.from_invite(request, mint.token(), source), invite=txn,
            local_host=local_host, session_id=int(mint.token(), 16) >> 2, agreement=agreement, terms=terms,
            started_ns=now_ns,
        )  # fmt: skip

    # --- small things

    def _answer_raw(self, data: bytes, source: Peer, code: int, phrase: str) -> None:
        tag = stateless_tag(self._secret, source[0], str(len(data)))
        answer = bad_answer(data, source, code, phrase, tag)
        if answer:
            self._desk.out.append(Send(answer, source))

    def _answer_once(
        self, request: Request, source: Peer, code: int, *, phrase: str = "", extra: Headers = ()
    ) -> None:
        if request.method == "INVITE":
            self._desk.out.append(Count("voicefarm_sip_responses", str(code)))
        self._desk.answer_once(request, source, code, tag=self._tag(request), phrase=phrase, extra=extra)

    def _tag(self, request: Request) -> str:
        return stateless_tag(self._secret, request.sip_call_id, request.from_tag, request.via.branch)

    def _count_refused(self, reason: str) -> None:
        self._desk.out.append(Count("voicefarm_sip_refused", reason))

    def _drain(self) -> list[Effect]:
        effects = self._desk.out[:]
        self._desk.out.clear()
        return effects


def _cancels(cancel: Request, txn: ServerTransaction, source: Peer) -> bool:
    invite = txn.request
    same = (cancel.sip_call_id, cancel.from_tag, cancel.cseq) == (
        invite.sip_call_id,
        invite.from_tag,
        invite.cseq,
    )
    return same and source[0] == txn.source[0]


def _agreement(request: Request, local_host: str, terms: Terms, fresh: Fresh) -> Agreement:
    """What an INVITE's offer comes to; without an offer, ours."""
    try:
        text = session_description(request)
        return negotiate(read(text), terms, fresh) if text is not None else our_offer(terms, fresh)
    except BadMessage as error:
        raise Refusal(error.code, phrase=error.phrase, extra=taken_instead(error)) from error
    except BadSdp as error:
        raise Refusal(400, phrase="Malformed Session Description") from error
    except NotAcceptable as error:
        raise Refusal(488, extra=[warning(local_host, error.warning, error.text)]) from error


def _with_call_id(identity: CallIdentity, request: Request) -> CallIdentity:
    return replace(identity, metadata={**identity.metadata, "sip_call_id": request.sip_call_id})


def _abilities() -> list[tuple[str, str]]:
    return [("Allow", ALLOW), ("Accept", SDP), ("Supported", "")]
