"""A farm's signalling in virtual time: telephones, a wire that loses and doubles, one front core, and a media worker.

The telephones are `voicefarm.core.uac`, which retransmits as a telephone must; the media worker is the smallest thing
that keeps its contract (one answer per message id, the same again). The bus between them can lose messages too, as a
Redis does that restarts without its memory.
"""

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable

from shared.config.model import DEFAULT_ROUTES
from shared.contracts import MediaAnswer, MediaClose, MediaEnded, MediaOpen, MediaStart
from shared.units import NS_PER_MS
from sipfront.core.desk import Settings
from sipfront.core.effects import Control, Count, Effect, Peer, Place, Release, Reserve
from sipfront.core.effects import Send as FrontSend
from sipfront.core.farm import FarmLoad
from sipfront.core.front import Front
from sipfront.core.mint import CountingMint
from sipfront.core.networks import Networks
from voicefarm.core.offer import Offer
from voicefarm.core.uac import Answered, Ended, Identity, Send, Uac
from voicefarm.core.uac_table import State

FRONT: Peer = ("192.0.2.10", 5060)
WORKER = "media-0.1"
BEAT_NS = 500 * NS_PER_MS


class Telephone:
    """One call of one telephone."""

    def __init__(self, number: int, user: str) -> None:
        self.address: Peer = (f"10.0.{number // 200}.{number % 200 + 1}", 5060)
        self.call_id = f"call-{number}@lossy"
        who = Identity(
            target=f"sip:{user}@{FRONT[0]}:{FRONT[1]}", host=self.address[0], port=5060, call_id=self.call_id,
            tag=f"tag{number}", branch=f"b{number}", headers={},
        )  # fmt: skip
        self.uac = Uac(who, Offer(host=self.address[0], rtp_port=26_000, session=number))
        self.dead = False
        """Hears nothing and says nothing any more."""
        self.answered: list[str] = []
        self.endings: list[Ended] = []

    @property
    def idle(self) -> bool:
        return self.dead or self.uac.state is State.ENDED


class Media:
    """The contract of a media worker, and the registry's books."""

    def __init__(self) -> None:
        self.free = list(range(20_000, 21_000, 2))
        self.held: dict[str, int] = {}
        """Port by call, as the registry has it."""
        self.legs: dict[str, MediaOpen] = {}
        self.acted: dict[str, list[str]] = defaultdict(list)
        """What was done for each call, repetitions left out."""
        self._answers: dict[str, MediaAnswer] = {}

    def reserve(self, call_id: str) -> Place:
        if call_id not in self.held:
            self.held[call_id] = self.free.pop()
        return Place(WORKER, self.held[call_id], "192.0.2.20")

    def release(self, call_id: str) -> None:
        port = self.held.pop(call_id, None)
        if port:
            self.free.append(port)

    def take(self, message: MediaOpen | MediaStart | MediaClose) -> MediaAnswer:
        known = self._answers.get(message.msg_id)
        if known is None:
            reason = self._act(message)
            known = MediaAnswer(msg_id=message.msg_id, call_id=message.call_id, ok=not reason, reason=reason)
            self._answers[message.msg_id] = known
        return known

    def _act(self, message: MediaOpen | MediaStart | MediaClose) -> str:
        self.acted[message.call_id].append(type(message).__name__)
        if isinstance(message, MediaOpen):
            self.legs[message.call_id] = message
        elif message.call_id not in self.legs:
            return "unknown_call"
        elif isinstance(message, MediaClose):
            del self.legs[message.call_id]
            self.release(message.call_id)
        return ""


class LossyFarm:
    """Runs until nothing is left to happen."""

    def __init__(self, seed: int, *, loss: float = 0.2, doubled: float = 0.2, bus_loss: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._loss, self._doubled, self._bus_loss = loss, doubled, bus_loss
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.now_ns = 0
        networks = Networks(["0.0.0.0/0"])
        settings = Settings(front="front-0.1", port=FRONT[1], trusted=Networks([]), allowed=networks)
        self.front = Front(settings, DEFAULT_ROUTES, CountingMint())
        self.media = Media()
        self.phones: dict[Peer, Telephone] = {}
        self.effects: list[Effect] = []
        self.carried = self.lost = 0
        self._beat()

    # --- what a test does

    def telephone(self, user: str = "echo") -> Telephone:
        phone = Telephone(len(self.phones), user)
        self.phones[phone.address] = phone
        return phone

    def at(self, ms: float, act: Callable[[], None]) -> None:
        at_ns = max(self.now_ns, int(ms * NS_PER_MS))
        heapq.heappush(self._heap, (at_ns, next(self._serial), act))

    def call(self, phone: Telephone) -> None:
        self._of_phone(phone, phone.uac.call(self.now_ns))

    def hang_up(self, phone: Telephone) -> None:
        self._of_phone(phone, phone.uac.hang_up(self.now_ns))

    def media_ends(self, phone: Telephone) -> None:
        """The media worker ends a leg by itself, as when packets stop."""
        found = [leg for leg in self.media.legs.values() if leg.sip_call_id == phone.call_id]
        for leg in found:
            del self.media.legs[leg.call_id]
            self.media.release(leg.call_id)
            message = MediaEnded(msg_id=f"{leg.call_id}-ended", call_id=leg.call_id, reason="rtp_timeout")
            self._of_front(self.front.media_ended(message, self.now_ns))

    def run(self, limit_s: float = 600.0) -> None:
        """Until every telephone is idle and the front has nothing left to wait for, or the limit."""
        while self._heap and self.now_ns < limit_s * 1e9:
            self.now_ns, _, act = heapq.heappop(self._heap)
            act()

    # --- what it finds

    def count(self, name: str, label: str) -> int:
        return sum(effect == Count(name, label) for effect in self.effects)

    def reserved(self, phone: Telephone) -> list[Reserve]:
        """Calls that the front made of one telephone's INVITE."""
        made = (effect for effect in self.effects if isinstance(effect, Reserve))
        return [effect for effect in made if effect.fields["sip_call_id"] == phone.call_id]

    # --- inside

    def _beat(self) -> None:
        """Goes on while anybody is busy."""
        load = FarmLoad(len(self.media.held), 1_000)
        self._of_front(self.front.media_workers([WORKER], load, self.now_ns, forgotten=False))
        if self.now_ns == 0 or len(self.front.calls) or not all(p.idle for p in self.phones.values()):
            self._later(BEAT_NS, self._beat)

    def _later(self, delay_ns: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_ns + delay_ns, next(self._serial), act))

    def _carry(self, deliver: Callable[[], None]) -> None:
        copies = 2 if self._random.random() < self._doubled else 1
        for _ in range(copies):
            self.carried += 1
            if self._random.random() < self._loss:
                self.lost += 1
            else:  # wide enough that packets overtake each other
                self._later(int(self._random.uniform(2, 90) * NS_PER_MS), deliver)

    def _on_bus(self, deliver: Callable[[], None]) -> None:
        if self._random.random() >= self._bus_loss:
            self._later(int(self._random.uniform(0.5, 12) * NS_PER_MS), deliver)

    def _of_front(self, effects: list[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, FrontSend):
                self._carry(lambda e=effect: self._to_phone(e.data, e.to))
            elif isinstance(effect, Reserve):
                self._later(NS_PER_MS, lambda e=effect: self._reserve(e.call_id))
            elif isinstance(effect, Release):
                self.media.release(effect.call_id)
            elif isinstance(effect, Control):
                self._on_bus(lambda e=effect: self._to_media(e.message))
        at_ns = self.front.next_timer_ns()
        if at_ns is not None:
            self._later(max(0, at_ns - self.now_ns), self._front_timer)

    def _front_timer(self) -> None:
        at_ns = self.front.next_timer_ns()
        if at_ns is not None and at_ns <= self.now_ns:
            self._of_front(self.front.handle_timer(self.now_ns))

    def _reserve(self, call_id: str) -> None:
        self._of_front(self.front.reserved(call_id, self.media.reserve(call_id), self.now_ns))

    def _to_media(self, message: MediaOpen | MediaStart | MediaClose) -> None:
        answer = self.media.take(message)
        self._on_bus(lambda: self._of_front(self.front.media_answer(answer, self.now_ns)))

    def _to_front(self, data: bytes, source: Peer) -> None:
        self._of_front(self.front.receive(data, source, FRONT[0], self.now_ns))

    def _to_phone(self, data: bytes, to: Peer) -> None:
        phone = self.phones[to]
        if not phone.dead:
            self._of_phone(phone, phone.uac.receive(data, FRONT, self.now_ns))

    def _of_phone(self, phone: Telephone, effects: list[object]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert (effect.host, effect.port) == FRONT
                self._carry(lambda e=effect: self._to_front(e.data, phone.address))
            elif isinstance(effect, Answered):
                phone.answered.append(effect.call_id)
            elif isinstance(effect, Ended):
                phone.endings.append(effect)
        if phone.uac.due_ns is not None and not phone.dead:
            self._later(max(0, phone.uac.due_ns - self.now_ns), lambda: self._phone_timer(phone))

    def _phone_timer(self, phone: Telephone) -> None:
        due_ns = phone.uac.due_ns
        if due_ns is not None and due_ns <= self.now_ns and not phone.dead:
            self._of_phone(phone, phone.uac.tick(self.now_ns))
