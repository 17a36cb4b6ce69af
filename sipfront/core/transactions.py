"""The transaction layer: finds the transaction of a message, drives its table, keeps both tables bounded.

Every look-up is a dictionary access; a full table refuses new requests, so a flood costs no more than its bound (I6).
"""

from typing import NamedTuple

from sipfront.core.effects import Count, Effect, Peer, Send
from sipfront.core.fsm import step
from sipfront.core.message import Request, Response
from sipfront.core.mint import MAGIC
from sipfront.core.timers import T2_NS, TIMERS_NS, Due, TimerQueue
from sipfront.core.transaction import Act, ClientTransaction, Event, ServerTransaction, State

_CAPPED = {"E", "G"}
_RETRANSMISSION = "voicefarm_sip_retransmissions"


class Answered(NamedTuple):
    """A response to a request of ours; `response` None when none came in time."""

    owner: str
    method: str
    response: Response | None


class Transactions:
    """Server and client transactions; effects are appended to `out`."""

    def __init__(self, timers: TimerQueue, out: list[Effect], limit: int) -> None:
        self._timers = timers
        self._out = out
        self._limit = limit
        self._servers: dict[tuple[str, ...], ServerTransaction] = {}
        self._merged: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._clients: dict[tuple[str, str], ClientTransaction] = {}

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    def has_room(self, share: float = 1.0) -> bool:
        """Whether less than `share` of the bound is used."""
        return len(self) < self._limit * share

    # --- server side

    def find(self, request: Request, method: str = "") -> ServerTransaction | None:
        """The transaction a request belongs to; with `method`, the one of that method with the same branch."""
        return self._servers.get(request.transaction_key(method))

    def is_merged(self, request: Request) -> bool:
        """Whether another branch of the same request is being served (section 8.2.2.2)."""
        key = (request.sip_call_id, request.from_tag, str(request.cseq), request.method)
        return self._merged.get(key, request.transaction_key()) != request.transaction_key()

    def open(self, request: Request, source: Peer) -> ServerTransaction:
        """A transaction for a request that has none."""
        invite = request.method == "INVITE"
        txn = ServerTransaction(
            key=request.transaction_key(), request=request, source=source,
            state=State.PROCEEDING if invite else State.TRYING,
        )  # fmt: skip
        self._servers[txn.key] = txn
        self._merged[txn.merge_key] = txn.key
        return txn

    def repeated(self, txn: ServerTransaction, now_ns: int) -> None:
        """The request came again."""
        self._out.append(Count(_RETRANSMISSION, "in"))
        self._server_event(txn, Event.REQUEST, now_ns)

    def acknowledged(self, txn: ServerTransaction, now_ns: int) -> bool:
        """An ACK with the INVITE's branch came; True when it is one for a 2xx, which is the call's business."""
        return Act.DELIVER in self._server_event(txn, Event.ACK, now_ns)

    def respond(self, txn: ServerTransaction, code: int, data: bytes, now_ns: int) -> None:
        """Answers a request that has no final answer yet."""
        txn.last = data
        kind = Event.SAY_1XX if code < 200 else Event.SAY_2XX if code < 300 else Event.SAY_FAILURE
        self._server_event(txn, kind, now_ns)

    def unanswered(self, txn: ServerTransaction) -> bool:
        """Whether a final answer is still owed."""
        return txn.state in {State.TRYING, State.PROCEEDING}

    def resend(self, data: bytes, to: Peer) -> None:
        """Sends a message of the transaction's user again, counted as a retransmission."""
        self._send(data, to, again=True)

    # --- client side

    def request(self, method: str, branch: str, data: bytes, to: Peer, owner: str, now_ns: int) -> None:
        """Sends a request of ours until it is answered or given up."""
        invite = method == "INVITE"
        txn = ClientTransaction(
            key=(MAGIC + branch, method), owner=owner, to=to, last=data,
            state=State.CALLING if invite else State.TRYING,
        )  # fmt: skip
        self._clients[txn.key] = txn
        self._out.append(Send(data, to))
        for name in "AB" if invite else "EF":
            self._start(txn, name, now_ns)

    def receive_response(self, response: Response, now_ns: int) -> Answered | None:
        """What our user is told of a response; None for repeated and unknown ones."""
        txn = self._clients.get((response.branch, response.method))
        if txn is None:
            self._out.append(Count("voicefarm_sip_refused", "stray_response"))
            return None
        kind = (
            Event.GOT_1XX
            if response.code < 200
            else Event.GOT_2XX
            if response.code < 300
            else Event.GOT_FAILURE
        )
        acts = self._client_event(txn, kind, now_ns, response)
        return Answered(txn.owner, txn.method, response) if Act.DELIVER in acts else None

    # --- timers

    def timer(self, due: Due, now_ns: int) -> Answered | None:
        """A timer of a transaction ran out; says so when a request of ours stays unanswered."""
        event = Event(due.name)
        if due.owner == "server":
            self._server_event(self._servers[due.key], event, now_ns)  # type: ignore[index]
            return None
        txn = self._clients[due.key]  # type: ignore[index]
        acts = self._client_event(txn, event, now_ns)
        return Answered(txn.owner, txn.method, None) if Act.FAIL in acts else None

    # --- the machines

    def _server_event(self, txn: ServerTransaction, event: Event, now_ns: int) -> tuple[Act, ...]:
        txn.state, acts = step(txn.table, txn.state, event)
        for act in acts:
            if act in {Act.SEND, Act.REPEAT} and txn.last:
                self._send(txn.last, txn.source, again=act is Act.REPEAT)
            self._common(txn, act, event, now_ns)
        return acts

    def _client_event(
        self, txn: ClientTransaction, event: Event, now_ns: int, response: Response | None = None
    ) -> tuple[Act, ...]:
        txn.state, acts = step(txn.table, txn.state, event)
        for act in acts:
            if act is Act.REPEAT:
                self._send(txn.last, txn.to, again=True)
            elif act is Act.ACK and response:
                self._out.append(Send(failure_ack(txn.last, response), txn.to))
            self._common(txn, act, event, now_ns)
        return acts

    def _common(
        self, txn: ServerTransaction | ClientTransaction, act: Act, event: Event, now_ns: int
    ) -> None:
        if act is Act.FORGET:
            self._forget(txn)
        elif act is Act.QUIET:
            self._quiet(txn)
        elif act in {Act.LONGER, Act.LONGEST}:
            longer = T2_NS if act is Act.LONGEST else 2 * txn.interval_ns
            txn.interval_ns = min(longer, T2_NS) if event.value in _CAPPED else longer
            self._timers.set(_due(txn, event.value), now_ns + txn.interval_ns)
        elif act.value.startswith("start "):
            self._start(txn, act.value[-1], now_ns)

    def _start(self, txn: ServerTransaction | ClientTransaction, name: str, now_ns: int) -> None:
        if name in "AEG":
            txn.interval_ns = TIMERS_NS[name]
        self._timers.set(_due(txn, name), now_ns + TIMERS_NS[name])

    def _quiet(self, txn: ServerTransaction | ClientTransaction) -> None:
        for name in TIMERS_NS:
            self._timers.cancel(_due(txn, name))

    def _forget(self, txn: ServerTransaction | ClientTransaction) -> None:
        self._quiet(txn)
        if isinstance(txn, ServerTransaction):
            del self._servers[txn.key]
            if self._merged.get(txn.merge_key) == txn.key:
                del self._merged[txn.merge_key]
        else:
            del self._clients[txn.key]

    def _send(self, data: bytes, to: Peer, *, again: bool) -> None:
        if again:
            self._out.append(Count(_RETRANSMISSION, "out"))
        self._out.append(Send(data, to))


def _due(txn: ServerTransaction | ClientTransaction, name: str) -> Due:
    return Due("server" if isinstance(txn, ServerTransaction) else "client", txn.key, name)


def failure_ack(invite: bytes, response: Response) -> bytes:
    """The ACK for a failure response (section 17.1.1.3): the INVITE's own head with the To of the answer."""
    lines = invite.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    kept = [f"ACK {lines[0].split(' ')[1]} SIP/2.0"]
    for line in lines[1:]:
        name = line.partition(":")[0].lower()
        if name in {"via", "from", "call-id", "route", "max-forwards"}:
            kept.append(line)
    kept += [f"To: {response.to}", f"CSeq: {response.cseq} ACK", "Content-Length: 0", "", ""]
    return "\r\n".join(kept).encode()
