"""Re-INVITEs of the peer: hold, resume, a new address (RFC 3261 section 14.2, RFC 3264 section 8).

A change is accepted only after the media worker has made it; until then, and when it is refused, the session stays as it
was. Nothing here ends a call.
"""

from collections.abc import Callable

from sipfront.core import dialog as dialogs
from sipfront.core.body import session_description, taken_instead
from sipfront.core.call import RENEGOTIATION, Call, Talk, TalkAct, TalkEvent, Unacknowledged
from sipfront.core.compose import ALLOW, warning
from sipfront.core.desk import Desk
from sipfront.core.effects import Control
from sipfront.core.fsm import step
from sipfront.core.media_messages import update_message
from sipfront.core.message import BadMessage, Request
from sipfront.core.offer_answer import Agreement, NotAcceptable, accept, describe, negotiate, our_offer
from sipfront.core.sdp import BadSdp, read
from sipfront.core.terms import Terms
from sipfront.core.timers import ACK_WAIT_NS, T1_NS, T2_NS, Due
from sipfront.core.transaction import ServerTransaction


class Repeater:
    """Repeats a call's 2xx until its ACK comes (section 13.3.1.4)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def begin(self, call: Call, txn: ServerTransaction, data: bytes, now_ns: int) -> None:
        call.unacknowledged = Unacknowledged(data, txn.source, txn.request.cseq, T1_NS)
        self._desk.timers.set(Due("call", call.call_id, "2xx"), now_ns + T1_NS)
        self._desk.timers.set(Due("call", call.call_id, "ack"), now_ns + ACK_WAIT_NS)

    def again(self, call: Call, now_ns: int) -> None:
        """The interval ran out."""
        waiting = call.unacknowledged
        if waiting is None:
            return
        self._desk.transactions.resend(waiting.data, waiting.to)
        waiting.interval_ns = min(2 * waiting.interval_ns, T2_NS)
        self._desk.timers.set(Due("call", call.call_id, "2xx"), now_ns + waiting.interval_ns)

    def cease(self, call: Call) -> None:
        call.unacknowledged = None
        for name in ("2xx", "ack"):
            self._desk.timers.cancel(Due("call", call.call_id, name))


class Renegotiation:
    """Drives `RENEGOTIATION` for all calls."""

    def __init__(self, desk: Desk, repeater: Repeater) -> None:
        self._desk = desk
        self._repeater = repeater
        self._acts: dict[TalkAct, Callable[[Call, int], None]] = {
            TalkAct.UPDATE: self._update, TalkAct.ACCEPT: self._accept, TalkAct.REJECT: self._reject,
            TalkAct.TERMINATE: self._terminate, TalkAct.REVERT: self._revert, TalkAct.WAIT: self._wait,
            TalkAct.REST: self._rest, TalkAct.CEASE: lambda call, _now: repeater.cease(call),
        }  # fmt: skip

    def invited(self, call: Call, txn: ServerTransaction, now_ns: int) -> None:
        """A re-INVITE with a CSeq in order."""
        if call.talk is not Talk.SETTLED or call.unacknowledged:
            busy = (500, [("Retry-After", "1")]) if call.talk is Talk.UPDATING else (491, [])
            self._desk.answer(txn, busy[0], now_ns, extra=busy[1])
            return
        try:
            offer = session_description(txn.request)
            proposed = self._proposed(call, offer) if offer is not None else None
        except BadMessage as error:
            self._desk.answer(txn, error.code, now_ns, phrase=error.phrase, extra=taken_instead(error))
        except BadSdp:
            self._desk.answer(txn, 400, now_ns, phrase="Malformed Session Description")
        except NotAcceptable as error:
            extra = [warning(call.local_host, error.warning, error.text)]
            self._desk.answer(txn, 488, now_ns, extra=extra)
        else:
            call.reinvite, call.proposed = txn, proposed
            self.event(call, TalkEvent.LISTEN if proposed is None else TalkEvent.OFFER, now_ns)

    def acknowledged(self, call: Call, ack: Request, now_ns: int) -> None:
        """The ACK of a re-INVITE's 200; it carries the peer's answer when the offer was ours."""
        listened = call.talk is Talk.SAID and call.proposed is None
        self.event(call, TalkEvent.ACK, now_ns)
        answer = answer_in(ack, call.offer or call.agreement, call.terms) if listened else None
        call.offer = None
        if answer is None:
            return
        before, call.agreement = call.agreement, answer
        if not answer.same_media(before):
            self._tell(call, answer)

    def event(self, call: Call, event: TalkEvent, now_ns: int) -> None:
        call.talk, acts = step(RENEGOTIATION, call.talk, event)
        for act in acts:
            self._acts[act](call, now_ns)

    def _update(self, call: Call, now_ns: int) -> None:
        proposed = call.proposed
        if proposed is None:
            return
        if proposed.same_media(call.agreement):
            call.talk = Talk.SAID  # a refresh: the media worker has nothing to change
            self._accept(call, now_ns)
        else:
            self._tell(call, proposed)

    def _tell(self, call: Call, agreement: Agreement) -> None:
        call.update_id = self._desk.mint.token()
        if call.place:
            message = update_message(call, self._desk.settings, call.update_id, agreement)
            self._desk.out.append(Control(call.place.worker, message))

    def _revert(self, call: Call, _now_ns: int) -> None:
        self._tell(call, call.agreement)
        call.update_id = ""

    def _accept(self, call: Call, now_ns: int) -> None:
        txn = call.reinvite
        if txn is None:
            return
        agreed = call.proposed or self._offered(call)
        call.dialog = dialogs.retargeted(call.dialog, txn.request)
        if call.proposed and call.proposed != call.agreement:
            call.agreement = call.proposed
            call.version += 1
        elif call.proposed is None:
            call.version += 1
        body = our_description(call, agreed)
        extra = answer_headers(self._desk, call)
        data = self._desk.answer(txn, 200, now_ns, extra=extra, body=body)
        self._repeater.begin(call, txn, data, now_ns)

    def _proposed(self, call: Call, offer: str) -> Agreement:
        return negotiate(read(offer), call.terms, self._desk.mint.secret, call.agreement)

    def _offered(self, call: Call) -> Agreement:
        call.offer = our_offer(call.terms, self._desk.mint.secret, call.agreement)
        return call.offer

    def _reject(self, call: Call, now_ns: int) -> None:
        if call.reinvite:
            self._desk.answer(call.reinvite, 500, now_ns, phrase="Media Not Changed")

    def _terminate(self, call: Call, now_ns: int) -> None:
        if call.reinvite:
            self._desk.answer(call.reinvite, 487, now_ns)

    def _wait(self, call: Call, now_ns: int) -> None:
        if call.talk is Talk.UPDATING:
            due = Due("call", call.call_id, "talk")
            self._desk.timers.set(due, now_ns + self._desk.settings.answer_wait_ns)

    def _rest(self, call: Call, _now_ns: int) -> None:
        self._desk.timers.cancel(Due("call", call.call_id, "talk"))


def our_description(call: Call, agreement: Agreement) -> bytes:
    """Our side of the session as SDP; empty before a place is known."""
    if call.place is None:
        return b""
    return describe(agreement, call.place.host, call.place.port, call.session_id, call.version)


def dialog_headers(desk: Desk, call: Call) -> list[tuple[str, str]]:
    """Headers of every answer that makes a dialog; X-Call-ID leads tools to the event log."""
    contact = f"<sip:{desk.sent_by(call.local_host)}>"
    return [("Contact", contact), ("Allow", ALLOW), ("X-Call-ID", call.call_id)]


def answer_headers(desk: Desk, call: Call) -> list[tuple[str, str]]:
    """Headers of every 200 to an INVITE."""
    return [*dialog_headers(desk, call), ("Content-Type", "application/sdp")]


def answer_in(ack: Request, ours: Agreement, terms: Terms) -> Agreement | None:
    """What the answer in an ACK agrees to; None when there is none that can be used."""
    try:
        text = session_description(ack)
        return accept(read(text), ours, terms) if text else None
    except (BadMessage, BadSdp, NotAcceptable):
        return None
