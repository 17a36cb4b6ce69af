"""The calls of a front: couples signalling (`call.CALL`), the media lease (`lease.LEASE`) and renegotiation.

A call leaves the table when its signalling is over and its lease is gone, on every path, once (I1). Bounded by
`Settings.max_dialogs`.
"""

from collections.abc import Callable, Iterator

from shared.contracts import EndReason, MediaAnswer, MediaEnded, MediaStart, MediaUpdate
from shared.units import NS_PER_S
from sipfront.core import dialog as dialogs
from sipfront.core import lease
from sipfront.core.call import CALL, Act, Call, Event, State, TalkEvent
from sipfront.core.compose import warning
from sipfront.core.desk import Desk
from sipfront.core.dialog import DialogKey
from sipfront.core.effects import Control, Count, LogEvent, MarkAnswered, Note, Observe, Place, Release
from sipfront.core.fsm import step
from sipfront.core.info import Press
from sipfront.core.lease import CLOSE_TRIES, LEASE, RESERVE_TRIES
from sipfront.core.media_messages import (
    close_message,
    digit_message,
    open_message,
    reservation,
    start_message,
    update_message,
)
from sipfront.core.message import Request
from sipfront.core.renegotiation import (
    Renegotiation,
    Repeater,
    answer_headers,
    answer_in,
    dialog_headers,
    our_description,
)
from sipfront.core.timers import Due
from sipfront.core.transaction import ServerTransaction

_TIMERS = ("lease", "2xx", "ack", "max", "talk", "ring", "start")
_VITAL_TRIES = 4
"""How often MediaStart is sent, each wait twice the last: Redis may have lost it, and a caller would hear nothing for ever."""


class Calls:
    """All calls of this front."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._calls: dict[str, Call] = {}
        self._dialogs: dict[DialogKey, str] = {}
        self._invites: dict[tuple[str, ...], str] = {}
        self._repeater = Repeater(desk)
        self.talks = Renegotiation(desk, self._repeater)
        self._acts = self._call_acts()
        self._lease_acts = self._media_acts()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def dialogs(self) -> int:
        return len(self._dialogs)

    def get(self, call_id: str) -> Call | None:
        return self._calls.get(call_id)

    def in_dialog(self, request: Request) -> Call | None:
        """The call whose dialog a request is in."""
        return self._calls.get(self._dialogs.get(dialogs.key_of(request), ""))

    def invited_by(self, txn: ServerTransaction) -> Call | None:
        """The call that an INVITE or re-INVITE transaction belongs to."""
        return self._calls.get(self._invites.get(txn.key, ""))

    # --- what happens to calls

    def begin(self, call: Call, now_ns: int) -> None:
        """A new call: reserve what it needs."""
        self._calls[call.call_id] = call
        self._dialogs[call.dialog.key] = call.call_id
        self._invites[call.invite.key] = call.call_id
        self._desk.out.append(reservation(call, self._desk.settings))
        self._wait(call, now_ns)
        self._desk.timers.set(Due("call", call.call_id, "ring"), now_ns + self._desk.settings.ring_after_ns)

    def reinvite(self, call: Call, txn: ServerTransaction, now_ns: int) -> None:
        """A re-INVITE with a CSeq in order."""
        if call.state is State.INVITED:  # in an early dialog (section 14.2)
            self._desk.answer(txn, 500, now_ns, extra=[("Retry-After", "1")])
            return
        if call.state is not State.CONFIRMED:
            self._desk.answer(txn, 491 if call.state is State.ANSWERED else 481, now_ns)
            return
        before = call.reinvite
        self.talks.invited(call, txn, now_ns)
        if call.reinvite is txn:
            self._invites.pop(before.key if before else (), None)
            self._invites[txn.key] = call.call_id

    def bye(self, call: Call, txn: ServerTransaction, now_ns: int) -> None:
        call.bye = txn
        self._set_reason(call, "bye")
        self._event(call, Event.BYE, now_ns)

    def cancel(self, call: Call, txn: ServerTransaction, now_ns: int) -> None:
        """A CANCEL of the transaction `txn`, which may be a re-INVITE's."""
        if txn is call.invite:
            if (
                call.state is State.INVITED
            ):  # else it crossed our answer, and something else will end the call
                self._set_reason(call, "cancel")
            self._event(call, Event.CANCEL, now_ns)
        elif self._desk.transactions.unanswered(txn):
            self.talks.event(call, TalkEvent.CANCEL, now_ns)

    def pressed(self, call: Call, press: Press) -> None:
        """A key press in an INFO: told to the media worker, which hears of the same press by RTP, perhaps."""
        if call.place and call.lease is lease.State.OPEN:
            message = digit_message(call, self._desk.settings, self._desk.mint.token(), press)
            self._desk.out.append(Control(call.place.worker, message))

    def acknowledge(self, call: Call, ack: Request, now_ns: int) -> None:
        """An ACK inside the dialog; only that of the 2xx we wait for counts."""
        waiting = call.unacknowledged
        if waiting is None or waiting.cseq != ack.cseq:
            return
        if call.state is State.CONFIRMED:
            self.talks.acknowledged(call, ack, now_ns)
            return
        call.ack = ack
        self._event(call, Event.ACK, now_ns)

    def bye_answered(self, call_id: str, now_ns: int) -> None:
        """Our BYE was answered, whatever the answer, or given up."""
        call = self._calls.get(call_id)
        if call and call.state is State.HANGING_UP:
            self._event(call, Event.BYE_DONE, now_ns)

    def reserved(self, call_id: str, place: Place, now_ns: int) -> None:
        call = self._calls.get(call_id)
        if call:
            call.place = place
            self._media(call, lease.Event.RESERVED, now_ns)

    def refused(self, call_id: str, reason: str, now_ns: int) -> None:
        """The registry has nothing for this call."""
        call = self._calls.get(call_id)
        if call:
            call.refusal = (503, "", reason)
            self._set_reason(call, "setup_failed")
            self._media(call, lease.Event.REFUSED, now_ns)

    def media_answer(self, message: MediaAnswer, now_ns: int) -> None:
        call = self._calls.get(message.call_id)
        if call is None:
            return
        if message.msg_id == call.awaited:
            call.awaited = ""
            self._lease_answer(call, message, now_ns)
        elif message.msg_id == call.update_id and message.msg_id:
            call.update_id = ""
            self.talks.event(call, TalkEvent.UPDATED if message.ok else TalkEvent.DENIED, now_ns)
        elif call.vital.pop(message.msg_id, None):
            self._vital_answered(call, ok=message.ok, now_ns=now_ns)

    def media_ended(self, message: MediaEnded, now_ns: int) -> None:
        """The media worker ended a leg by itself."""
        call = self._calls.get(message.call_id)
        if call and call.lease not in {lease.State.RESERVING, lease.State.WITHDRAWN}:
            self._set_reason(call, message.reason)
            self._media(call, lease.Event.ENDED, now_ns)

    def worker_lost(self, worker: str, now_ns: int) -> None:
        """A media worker's lease ran out: its calls have no media any more."""
        for call in [c for c in self._calls.values() if c.place and c.place.worker == worker]:
            if call.lease in {lease.State.OPENING, lease.State.OPEN, lease.State.CLOSING}:
                self._set_reason(call, "error")
                self._media(call, lease.Event.LOST, now_ns)

    def end(self, call_id: str, reason: EndReason, now_ns: int) -> None:
        """We end a call."""
        call = self._calls.get(call_id)
        if call:
            self._set_reason(call, reason)
            self._event(call, Event.END, now_ns)

    def timer(self, call_id: str, name: str, now_ns: int) -> None:
        call = self._calls[call_id]
        if name == "2xx":
            self._repeater.again(call, now_ns)
        elif name == "ack":
            self._set_reason(call, "no_ack")
            self._event(call, Event.NO_ACK, now_ns)
        elif name == "lease":
            self._lease_late(call, now_ns)
        elif name == "start":
            self._vital_late(call, now_ns)
        elif name == "ring":
            self._event(call, Event.SLOW, now_ns)
        elif name == "talk":
            self.talks.event(call, TalkEvent.LATE, now_ns)
        else:
            self.end(call_id, "max_duration", now_ns)

    # --- the machines

    def _event(self, call: Call, event: Event, now_ns: int) -> None:
        call.state, acts = step(CALL, call.state, event)
        for act in acts:
            self._acts[act](call, now_ns)
        self._forget_if_done(call)

    def _media(self, call: Call, event: lease.Event, now_ns: int) -> None:
        call.lease, acts = step(LEASE, call.lease, event)
        for act in acts:
            self._lease_acts[act](call, now_ns)
        self._forget_if_done(call)

    def _call_acts(self) -> dict[Act, Callable[[Call, int], None]]:
        return {
            Act.ANSWER: self._answer, Act.RING: self._ring, Act.REFUSE: self._refuse, Act.TERMINATE: self._terminate,
            Act.START: self._start, Act.CONFIRM_BYE: self._confirm_bye, Act.SAY_BYE: self._say_bye,
            Act.CEASE: self._cease, Act.OVER: self._over,
            Act.GIVE_UP: lambda call, now: self._media(call, lease.Event.GIVE_UP, now),
        }  # fmt: skip

    def _media_acts(self) -> dict[lease.Act, Callable[[Call, int], None]]:
        return {
            lease.Act.OPEN: self._open, lease.Act.AGAIN: self._again, lease.Act.CLOSE: self._close,
            lease.Act.REPEAT: self._close_again, lease.Act.RELEASE: self._release, lease.Act.RETURN: self._return,
            lease.Act.READY: lambda call, now: self._event(call, Event.READY, now),
            lease.Act.FAILED: lambda call, now: self._event_if_invited(call, Event.FAILED, now),
            lease.Act.OVER: lambda call, now: self._event(call, Event.END, now),
            lease.Act.LOST: self._lost, lease.Act.WAIT: self._wait, lease.Act.REST: self._rest,
        }  # fmt: skip

    # --- signalling

    def _ring(self, call: Call, now_ns: int) -> None:
        extra = dialog_headers(self._desk, call)
        self._desk.answer(call.invite, 180, now_ns, to_tag=call.dialog.local_tag, extra=extra)

    def _answer(self, call: Call, now_ns: int) -> None:
        self._desk.timers.cancel(Due("call", call.call_id, "ring"))
        call.answered_ns = now_ns
        body = our_description(call, call.agreement)
        data = self._desk.answer(
            call.invite,
            200,
            now_ns,
            to_tag=call.dialog.local_tag,
            extra=answer_headers(self._desk, call),
            body=body,
        )
        self._repeater.begin(call, call.invite, data, now_ns)
        self._desk.timers.set(Due("call", call.call_id, "max"), now_ns + self._desk.settings.max_call_ns)
        self._desk.out.append(MarkAnswered(call.call_id))
        self._note(call, "call answered", state=str(call.state))

    def _refuse(self, call: Call, now_ns: int) -> None:
        code, phrase, detail = call.refusal
        extra = [self._desk.retry_after()] if code == 503 else []
        if detail:
            extra.append(warning(call.local_host, 399, detail))
        self._final(call, code, now_ns, phrase=phrase, extra=extra)

    def _terminate(self, call: Call, now_ns: int) -> None:
        self._final(call, 487, now_ns)

    def _final(
        self,
        call: Call,
        code: int,
        now_ns: int,
        *,
        phrase: str = "",
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        self._desk.timers.cancel(Due("call", call.call_id, "ring"))
        headers = [*(extra or []), ("X-Call-ID", call.call_id)]
        self._desk.answer(
            call.invite, code, now_ns, to_tag=call.dialog.local_tag, phrase=phrase, extra=headers
        )

    def _start(self, call: Call, now_ns: int) -> None:
        if call.place is None:
            return
        settings = self._desk.settings
        messages: list[MediaUpdate | MediaStart] = []
        if call.agreement.offered:
            answer = answer_in(call.ack, call.agreement, call.terms) if call.ack else None
            if answer is None:
                self.end(call.call_id, "setup_failed", now_ns)
                return
            call.agreement = answer
            messages.append(update_message(call, settings, self._desk.mint.token(), answer))
        messages.append(start_message(call, settings, self._desk.mint.token()))
        call.vital = {message.msg_id: message for message in messages}
        self._tell_vital(call, now_ns)

    def _tell_vital(self, call: Call, now_ns: int) -> None:
        """Sends what is unanswered, under the same ids: a worker that has acted on it only answers again."""
        if call.place:
            self._desk.out += [Control(call.place.worker, message) for message in call.vital.values()]
        call.vital_wait_ns = 2 * call.vital_wait_ns or self._desk.settings.answer_wait_ns
        self._desk.timers.set(Due("call", call.call_id, "start"), now_ns + call.vital_wait_ns)

    def _vital_answered(self, call: Call, *, ok: bool, now_ns: int) -> None:
        if not ok:
            self._vital_failed(call, now_ns)
        elif not call.vital:
            self._desk.timers.cancel(Due("call", call.call_id, "start"))

    def _vital_late(self, call: Call, now_ns: int) -> None:
        if call.vital_wait_ns < self._desk.settings.answer_wait_ns << (_VITAL_TRIES - 1):
            self._tell_vital(call, now_ns)
        else:
            self._vital_failed(call, now_ns)

    def _drop_vital(self, call: Call) -> None:
        call.vital.clear()
        self._desk.timers.cancel(Due("call", call.call_id, "start"))

    def _vital_failed(self, call: Call, now_ns: int) -> None:
        self.media_ended(MediaEnded(msg_id="", call_id=call.call_id, reason="error"), now_ns)

    def _confirm_bye(self, call: Call, now_ns: int) -> None:
        if call.bye:
            self._desk.answer(call.bye, 200, now_ns)

    def _say_bye(self, call: Call, now_ns: int) -> None:
        branch = self._desk.mint.token()
        hop = dialogs.next_hop(call.dialog, self._desk.settings.allowed)
        call.dialog, data = dialogs.compose_request(
            call.dialog,
            "BYE",
            branch,
            self._desk.sent_by(call.local_host),
            [("Reason", _why(call.end_reason))],
        )
        self._desk.transactions.request("BYE", branch, data, hop, call.call_id, now_ns)

    def _cease(self, call: Call, now_ns: int) -> None:
        self._repeater.cease(call)
        if call.state is not State.CONFIRMED:
            self.talks.event(call, TalkEvent.OVER, now_ns)

    def _over(self, call: Call, now_ns: int) -> None:
        self._dialogs.pop(call.dialog.key, None)
        self._desk.timers.cancel(Due("call", call.call_id, "max"))
        self._desk.out.append(Count("voicefarm_calls", call.end_reason))
        if call.answered_ns is not None:
            seconds = (now_ns - call.answered_ns) / NS_PER_S
            self._desk.out.append(Observe("voicefarm_call_duration_seconds", seconds))
        self._note(call, "call over", reason=call.end_reason)

    # --- media

    def _lease_answer(self, call: Call, message: MediaAnswer, now_ns: int) -> None:
        if call.lease is lease.State.CLOSING:
            self._media(call, lease.Event.CLOSED if message.ok else lease.Event.UNKNOWN, now_ns)
            return
        if call.lease is not lease.State.OPENING:  # its deadline has passed
            return
        if message.ok:
            self._media(call, lease.Event.OPENED, now_ns)
            return
        # An address that the worker will not send to is the caller's doing, and no other worker would take it.
        code = 488 if message.reason == "remote_denied" else 503
        call.refusal = (code, "", message.reason)
        if message.reason == "port_busy" and call.tries < RESERVE_TRIES:
            call.tries += 1
            self._media(call, lease.Event.BUSY, now_ns)
            return
        self._set_reason(call, "setup_failed")
        self._media(call, lease.Event.DENIED, now_ns)

    def _lease_late(self, call: Call, now_ns: int) -> None:
        """Nobody answered in time: neither the registry nor the media worker."""
        closing = call.lease is lease.State.CLOSING
        if not closing:
            call.refusal = (503, "", "media_timeout")
            self._set_reason(call, "setup_failed")
        again = closing and call.close_tries + 1 < CLOSE_TRIES
        self._media(call, lease.Event.SILENT if again else lease.Event.LATE, now_ns)

    def _open(self, call: Call, _now_ns: int) -> None:
        call.awaited = self._desk.mint.token()
        if call.place:
            message = open_message(call, call.place, self._desk.settings, call.awaited)
            self._desk.out.append(Control(call.place.worker, message))

    def _again(self, call: Call, _now_ns: int) -> None:
        call.place = None
        self._desk.out.append(reservation(call, self._desk.settings, again=True))

    def _close(self, call: Call, _now_ns: int) -> None:
        call.awaited = self._desk.mint.token()
        self._drop_vital(call)
        self._tell_close(call)

    def _close_again(self, call: Call, _now_ns: int) -> None:
        call.close_tries += 1
        self._tell_close(call)

    def _tell_close(self, call: Call) -> None:
        if call.place:
            message = close_message(call, self._desk.settings, call.awaited)
            self._desk.out.append(Control(call.place.worker, message))

    def _release(self, call: Call, _now_ns: int) -> None:
        self._desk.out.append(Release(call.call_id))

    def _return(self, call: Call, _now_ns: int) -> None:
        self._desk.out.append(Release(call.call_id, call.place))

    def _lost(self, call: Call, now_ns: int) -> None:
        """Its worker cannot say so any more: the event log is closed by us."""
        self._drop_vital(call)
        began = call.started_ns if call.answered_ns is None else call.answered_ns
        data = {"reason": "error", "duration_ms": (now_ns - began) // 1_000_000}
        self._desk.out.append(LogEvent(call.call_id, "call.ended", data))
        self._event(call, Event.END, now_ns)

    def _wait(self, call: Call, now_ns: int) -> None:
        settings = self._desk.settings
        wait_ns = settings.close_wait_ns if call.lease is lease.State.CLOSING else settings.answer_wait_ns
        self._desk.timers.set(Due("call", call.call_id, "lease"), now_ns + wait_ns)

    def _rest(self, call: Call, _now_ns: int) -> None:
        self._desk.timers.cancel(Due("call", call.call_id, "lease"))

    # --- small things

    def _event_if_invited(self, call: Call, event: Event, now_ns: int) -> None:
        if call.state is State.INVITED:
            self._event(call, event, now_ns)

    def _set_reason(self, call: Call, reason: EndReason) -> None:
        call.reason = call.reason or reason

    def _forget_if_done(self, call: Call) -> None:
        if call.state is not State.OVER or call.lease is not lease.State.GONE:
            return
        if self._calls.pop(call.call_id, None) is None:
            return
        for name in _TIMERS:
            self._desk.timers.cancel(Due("call", call.call_id, name))
        for txn in (call.invite, call.reinvite):
            if txn:
                self._invites.pop(txn.key, None)

    def _note(self, call: Call, event: str, **more: str) -> None:
        who = call.identity
        fields = {
            "call_id": call.call_id, "room": who.room_id, "tenant": who.tenant, "app": call.app.kind,
            "media": call.place.worker if call.place else "", **more,
        }  # fmt: skip
        self._desk.out.append(Note(event, fields))


def _why(reason: EndReason) -> str:
    """The Reason header of our BYE (RFC 3326)."""
    return f'SIP;cause=200;text="{reason}"'
