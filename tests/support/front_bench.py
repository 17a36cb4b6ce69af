"""A front's core without a process: datagrams in, effects out, time moved by hand."""

from collections.abc import Sequence
from typing import Any, TypeVar

from shared.config import Route
from shared.config.model import DEFAULT_ROUTES
from shared.contracts import MediaAnswer, MediaClose, MediaEnded, MediaOpen, MediaStart
from shared.units import NS_PER_MS
from sipfront.core.call import Call
from sipfront.core.desk import Settings
from sipfront.core.effects import Control, Count, Effect, Peer, Place, Release, Reserve, Send
from sipfront.core.farm import FarmLoad
from sipfront.core.front import Front
from sipfront.core.mint import CountingMint
from sipfront.core.networks import Networks
from tests.support.sip_messages import Answer, Caller

E = TypeVar("E")

SOURCE = ("127.0.0.1", 5070)
PLACE = Place(worker="media-0.1", port=40_000, host="192.0.2.9")


class FrontBench:
    """Every effect lands in `effects`; datagrams to callers also in `sent`."""

    def __init__(self, routes: Sequence[Route] = DEFAULT_ROUTES, **settings: Any) -> None:
        base: dict[str, Any] = {
            "front": "front-0.1", "port": 5060, "trusted": Networks(["127.0.0.0/8"]),
            "allowed": Networks(["127.0.0.0/8", "10.0.0.0/8"]),
        }  # fmt: skip
        self.front = Front(Settings(**(base | settings)), routes, CountingMint())
        self.now_ns = 0
        self.effects: list[Effect] = []
        self.front.media_workers([PLACE.worker], FarmLoad(0, 100), 0, forgotten=False)

    # --- going on

    def send(self, data: bytes, source: Peer = SOURCE) -> list[Answer]:
        return self._take(self.front.receive(data, source, "127.0.0.1", self.now_ns))

    def advance(self, ms: float) -> list[Answer]:
        """Moves time, firing every timer at its own instant."""
        end_ns = self.now_ns + int(ms * NS_PER_MS)
        answers = []
        while (due_ns := self.front.next_timer_ns()) is not None and due_ns <= end_ns:
            self.now_ns = max(self.now_ns, due_ns)
            answers += self._take(self.front.handle_timer(self.now_ns))
        self.now_ns = end_ns
        return answers

    def reserved(self, place: Place = PLACE, call_id: str = "") -> list[Answer]:
        call_id = call_id or self.last(Reserve).call_id
        return self._take(self.front.reserved(call_id, place, self.now_ns))

    def refused(self, reason: str = "full_media") -> list[Answer]:
        return self._take(self.front.refused(self.last(Reserve).call_id, reason, self.now_ns))

    def media(self, ok: bool = True, reason: str = "", message: Any = None) -> list[Answer]:
        """The media worker answers the last request, or the given one."""
        request = message or self.controls()[-1]
        answer = MediaAnswer(msg_id=request.msg_id, call_id=request.call_id, ok=ok, reason=reason)
        return self._take(self.front.media_answer(answer, self.now_ns))

    def media_ended(self, reason: Any = "rtp_timeout") -> list[Answer]:
        message = MediaEnded(msg_id="e", call_id=self.last(Reserve).call_id, reason=reason)
        return self._take(self.front.media_ended(message, self.now_ns))

    def beat(
        self, live: Sequence[str] = (PLACE.worker,), forgotten: bool = False, load: FarmLoad | None = None
    ) -> list[Answer]:
        load = load or FarmLoad(0, 100)
        return self._take(self.front.media_workers(live, load, self.now_ns, forgotten=forgotten))

    def end(self, reason: Any = "drain") -> list[Answer]:
        """Hangs up every call."""
        going = [call.call_id for call in self.front.calls]
        return self._take(self.front.end(going, reason, self.now_ns))

    # --- in one go

    def answered(self, caller: Caller | None = None, data: bytes = b"") -> tuple[Caller, Answer]:
        """A call up to its 200."""
        caller = caller or Caller()
        self.send(data or caller.invite())
        self.reserved()
        answer = self.media()[-1]
        assert answer.code == 200
        caller.answered(answer)
        return caller, answer

    def confirmed(self, caller: Caller | None = None) -> tuple[Caller, Answer]:
        caller, answer = self.answered(caller)
        self.send(caller.ack())
        self.media(message=self.controls(MediaStart)[-1])
        return caller, answer

    # --- looking

    @property
    def call(self) -> Call:
        call = self.front.calls.get(self.last(Reserve).call_id)
        assert call
        return call

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    def controls(self, kind: type[Any] = object) -> list[Any]:
        return [effect.message for effect in self.all(Control) if isinstance(effect.message, kind)]

    def counted(self, name: str, label: str) -> int:
        return sum(effect == Count(name, label) for effect in self.effects)

    def released(self) -> list[Release]:
        return self.all(Release)

    def opens(self) -> list[MediaOpen]:
        return self.controls(MediaOpen)

    def closes(self) -> list[MediaClose]:
        return self.controls(MediaClose)

    def assert_empty(self) -> None:
        """Everything a call ever had is gone once all timers have run out."""
        self.advance(600_000)
        assert len(self.front.calls) == 0
        assert self.front.calls.dialogs() == 0
        assert self.front.transactions() == 0
        assert self.front.next_timer_ns() is None
        assert not self.front._desk.arrivals
        assert not self.front.calls._invites

    def _take(self, effects: list[Effect]) -> list[Answer]:
        self.effects += effects
        return [Answer(effect.data) for effect in effects if isinstance(effect, Send)]
