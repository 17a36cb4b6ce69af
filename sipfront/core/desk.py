"""What every part of the core shares: settings, names, timers, transactions, the list of effects; and how it answers."""

from dataclasses import dataclass, field

from shared.units import NS_PER_MS, NS_PER_S
from sipfront.core.address import bracketed
from sipfront.core.compose import Headers, response
from sipfront.core.effects import Count, Effect, Observe, Send
from sipfront.core.message import Request
from sipfront.core.mint import Mint
from sipfront.core.networks import Networks
from sipfront.core.terms import Terms
from sipfront.core.timers import TimerQueue
from sipfront.core.transaction import ServerTransaction
from sipfront.core.transactions import Transactions

SERVED = frozenset({"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO"})
KNOWN = SERVED | {"REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER", "UPDATE"}
"""Methods of the RFCs; others are answered 501, known ones that we do not serve 405 (section 8.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator and the process decide. Defaults are those of shared.config."""

    front: str
    """Worker id of this process: where media workers answer."""
    port: int
    """SIP port, as bound."""
    trusted: Networks
    allowed: Networks
    media_cidrs: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)
    """Of routes that say nothing else."""
    max_transactions: int = 20_000
    max_dialogs: int = 10_000
    retry_after_s: int = 5
    answer_wait_ns: int = 2_000 * NS_PER_MS
    close_wait_ns: int = 4_000 * NS_PER_MS
    """How long a media worker may take to close a leg before we release it: longer than its lease."""
    ring_after_ns: int = 500 * NS_PER_MS
    """A set-up that takes longer is told to the caller with 180: a machine that answers at once needs none, silence for
    seconds makes people hang up."""
    max_call_ns: int = 14_400 * NS_PER_S


@dataclass(slots=True)
class Desk:
    """Shared by the parts of one core."""

    settings: Settings
    mint: Mint
    timers: TimerQueue = field(default_factory=TimerQueue)
    out: list[Effect] = field(default_factory=list)
    transactions: Transactions = field(init=False)
    arrivals: dict[tuple[str, ...], int] = field(default_factory=dict)
    """When the INVITEs that are not answered yet came, by transaction."""

    def __post_init__(self) -> None:
        self.transactions = Transactions(self.timers, self.out, self.settings.max_transactions)

    def sent_by(self, local_host: str) -> str:
        """Our own address as others see it."""
        return f"{bracketed(local_host)}:{self.settings.port}"

    def retry_after(self) -> tuple[str, str]:
        return ("Retry-After", str(self.settings.retry_after_s))

    def opened(self, request: Request, source: tuple[str, int], now_ns: int) -> ServerTransaction:
        """A transaction for a new request, counted."""
        known = request.method in KNOWN  # a label's values must not be a stranger's to choose (I6)
        self.out.append(Count("voicefarm_sip_requests", request.method if known else "other"))
        if request.method == "INVITE":
            self.arrivals[request.transaction_key()] = now_ns
        return self.transactions.open(request, source)

    def answer(
        self, txn: ServerTransaction, code: int, now_ns: int, *, to_tag: str = "", phrase: str = "",
        extra: Headers = (), body: bytes = b"",
    ) -> bytes:  # fmt: skip
        """Answers a transaction; returns what was sent."""
        data = response(txn.request, code, txn.source, phrase=phrase, to_tag=to_tag, extra=extra, body=body)
        if code >= 200 and txn.request.method == "INVITE":
            self.out.append(Count("voicefarm_sip_responses", str(code)))
            arrived = self.arrivals.pop(txn.key, now_ns)
            if not txn.request.to_tag:
                self.out.append(Observe("voicefarm_sip_setup_seconds", (now_ns - arrived) / NS_PER_S))
        self.transactions.respond(txn, code, data, now_ns)
        return data

    def answer_once(
        self,
        request: Request,
        source: tuple[str, int],
        code: int,
        *,
        tag: str,
        phrase: str = "",
        extra: Headers = (),
    ) -> None:
        """Answers without a transaction (section 8.2.7): a repeated request gets the same answer again."""
        self.out.append(Send(response(request, code, source, phrase=phrase, to_tag=tag, extra=extra), source))
