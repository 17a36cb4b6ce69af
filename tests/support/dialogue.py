"""Drives a `Dialogue` in a test: sends events at times, remembers effects, plays the engine and the media worker."""

from typing import Any, TypeVar

from aiworker.core.agent import Agent, EngineSpec, Idle
from aiworker.core.dialogue import Dialogue
from aiworker.core.effects import (
    Act,
    Acted,
    Count,
    Effect,
    Event,
    Generate,
    Log,
    Send,
    Stop,
    StreamEnded,
    StreamFailed,
    TimePassed,
    Token,
)
from aiworker.core.failover import Chain
from aiworker.core.takeover import Rebuilt
from shared.contracts import (
    AiWorkers,
    DialogueAttach,
    Message,
    ReplyEnd,
    SegmentPlayed,
    Speak,
    SpeechStarted,
    Transcript,
)
from shared.units import NS_PER_MS

E = TypeVar("E")
M = TypeVar("M", bound=Message)
WORKERS = AiWorkers(stt="stt-0", llm="llm-0", tts="tts-0")


def agent(**fields: Any) -> Agent:
    """An agent with two engines and short phrases."""
    known: dict[str, Any] = {
        "name": "test", "prompt": "Be kind.", "greeting": "Hello there, who is it?", "apology": "Sorry about that, really.",
        "unheard": "Pardon me, what was that?", "farewell": "Goodbye then, my friend.", "fallback": [EngineSpec()],
    }  # fmt: skip
    return Agent(**(known | fields))


IDLE = Idle(after_s=5, phrase="Are you still there?", times=1)


def attach(**fields: Any) -> DialogueAttach:
    known: dict[str, Any] = {
        "call_id": "c1", "tenant": "t", "room_id": "r", "session_id": "s", "epoch": 1, "agent": "test",
        "media": "media-0", "ai": WORKERS,
    }  # fmt: skip
    return DialogueAttach(**(known | fields))


class Driver:
    """One dialogue, its clock in ms, and everything it did."""

    def __init__(self, who: Agent | None = None, rebuilt: Rebuilt | None = None, **fields: Any) -> None:
        self.agent = who or agent()
        self.chain = Chain(len(self.agent.engines()))
        self.dialogue = Dialogue(attach(**fields), self.agent, self.chain, rebuilt)
        self.now_ms = 1_000
        self.all: list[Effect] = []
        self.latest: list[Effect] = []
        self._note(self.dialogue.begin(self.now_ms * NS_PER_MS))

    # --- what happens

    def event(self, event: Event, after_ms: int = 0) -> list[Effect]:
        self.now_ms += after_ms
        return self._note(self.dialogue.handle(event, self.now_ms * NS_PER_MS))

    def floor(self, turn: int, **fields: Any) -> list[Effect]:
        return self.event(SpeechStarted(call_id="c1", turn=turn, **({"epoch": 1} | fields)))

    def heard(
        self, turn: int, text: str, kind: str = "final", after_ms: int = 0, **fields: Any
    ) -> list[Effect]:
        values = {"epoch": 1, "wait_ms": 3.0, "decode_ms": 40.0} | fields
        return self.event(Transcript(call_id="c1", turn=turn, text=text, kind=kind, **values), after_ms)  # type: ignore[arg-type]

    def says(self, turn: int, text: str) -> list[Effect]:
        return self.floor(turn) + self.heard(turn, text)

    def tokens(self, text: str, after_ms: int = 0) -> list[Effect]:
        """The engine's text, word by word."""
        out: list[Effect] = []
        for number, word in enumerate(text.split(" ")):
            out += self.event(Token(self.generation, f"{word} "), 0 if number else after_ms)
        return out

    def act(self) -> list[Effect]:
        return self.event(Acted(self.generation, Act("hangup")))

    def end(self) -> list[Effect]:
        return self.event(StreamEnded(self.generation))

    def fail(self, reason: str = "timeout") -> list[Effect]:
        return self.event(StreamFailed(self.generation, reason))

    def reply(self, text: str) -> list[Effect]:
        return self.tokens(text) + self.end()

    def played(self, *segments: int, turn: int | None = None, samples: int = 8_000) -> list[Effect]:
        out: list[Effect] = []
        for segment in segments:
            number = self.dialogue.turn if turn is None else turn
            out += self.event(SegmentPlayed(call_id="c1", turn=number, segment=segment, samples=samples))
        return out

    def greeted(self) -> "Driver":
        self.played(0)
        return self

    def time(self, ms: int) -> list[Effect]:
        return self.event(TimePassed(), ms)

    # --- what it did

    @property
    def generation(self) -> int:
        """The newest stream."""
        return max((effect.generation for effect in self.every(Generate)), default=0)

    def every(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.all if isinstance(effect, kind)]

    def sent(self, kind: type[M]) -> list[M]:
        return [s.message for s in self.every(Send) if isinstance(s.message, kind)]

    def spoken(self, turn: int | None = None) -> list[str]:
        return [speak.text for speak in self.sent(Speak) if turn is None or speak.turn == turn]

    def ends(self) -> list[tuple[int, int, bool]]:
        return [(end.turn, end.segments, end.hangup) for end in self.sent(ReplyEnd)]

    def asked(self) -> list[tuple[str, str]]:
        """Messages of the newest stream without the prompt."""
        return [(m.role, m.content) for m in self.every(Generate)[-1].messages if m.role != "system"]

    def counts(self) -> list[str]:
        return [count.result for count in self.every(Count)]

    def logged(self, kind: str) -> list[dict[str, Any]]:
        return [log.data for log in self.every(Log) if log.kind == kind]

    def stopped(self) -> list[int]:
        return [stop.generation for stop in self.every(Stop)]

    def _note(self, effects: list[Effect]) -> list[Effect]:
        self.all += effects
        self.latest = effects
        return effects
