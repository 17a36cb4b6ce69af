"""An exchange on a real engine without sockets: time moves by ticks, speech is what the test says it is."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from mediaworker.core.calls.effects import Command, Effect, Note, Send, SendAudio
from mediaworker.core.calls.exchange import Exchange, Limits
from mediaworker.core.engine import Engine
from mediaworker.core.legs import DtmfEvent, LegLost, PlayoutEvent, Speech, SpeechEvent, TickResult
from shared.contracts import (
    AiWorkers,
    AppSpec,
    MediaFormat,
    MediaOpen,
    MediaStart,
    Message,
    PcmToMedia,
    ReplyFrame,
    RtpEndpoint,
    StageTimes,
    TurnSettings,
    UtteranceFrame,
)
from shared.errors import Refused
from shared.units import NS_PER_MS, NS_PER_S

M = TypeVar("M", bound=Message)

TICK_NS = 20 * NS_PER_MS
AI = AiWorkers(stt="stt.1", llm="llm.1", tts="tts.1")


@dataclass
class MemoryWire:
    """Ports in memory; `strangers` are ports that somebody else has."""

    bound: dict[int, int] = field(default_factory=dict)
    strangers: set[int] = field(default_factory=set)

    def bind_pair(self, port: int, row: int) -> None:
        if port in self.strangers or port in self.bound.values():
            raise Refused("port_busy")
        self.bound[row] = port

    def close(self, row: int) -> None:
        del self.bound[row]


@dataclass
class MemoryTape:
    begun: dict[int, str] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    paused: set[int] = field(default_factory=set)

    def begin(self, row: int, call_id: str) -> None:
        self.begun[row] = call_id

    def pause(self, row: int) -> None:
        self.paused.add(row)

    def resume(self, row: int) -> None:
        self.paused.discard(row)

    def finish(self, row: int) -> None:
        self.paused.discard(row)
        self.finished.append(self.begun.pop(row))


def opening(call_id: str = "c1", kind: str = "agent", *, port: int = 20_000, **more: Any) -> MediaOpen:
    """A MediaOpen as a front sends it; `turn` and `options` go into the application."""
    ai = more.pop(
        "ai", AI if kind == "agent" else AiWorkers(stt="stt.1") if kind == "transcribe" else AiWorkers()
    )
    app = AppSpec(
        kind=kind, agent="demo" if kind == "agent" else "", turn=more.pop("turn", TurnSettings()),
        options=more.pop("options", {}),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "msg_id": f"open-{call_id}", "reply_to": "front.1", "call_id": call_id, "sip_call_id": f"sip-{call_id}",
        "tenant": "acme", "room_id": f"room-{call_id}", "session_id": "s", "rtp_port": port,
        "remote": RtpEndpoint(host="127.0.0.1", rtp_port=40_000), "ai": ai, "app": app,
        "format": MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=101),
    }  # fmt: skip
    return MediaOpen(**(fields | more))


class Bench:
    """One exchange; `effects` are all it ever asked for."""

    def __init__(self, capacity: int = 4, max_call_s: float = 600.0) -> None:
        self.engine = Engine(capacity, seed=1, phases=1, rtp_never_s=3_600.0)
        self.wire = MemoryWire()
        self.tape = MemoryTape()
        limits = Limits(media_id="media.1", max_call_ns=int(max_call_s * NS_PER_S))
        self.exchange = Exchange(self.engine, self.wire, self.tape, limits)
        self.now_ns = NS_PER_S
        self.effects: list[Effect] = []

    # --- doing

    def do(self, command: Command) -> list[Effect]:
        self.exchange.handle(command, self.now_ns)
        return self._take()

    def open(self, call_id: str = "c1", kind: str = "agent", *, start: bool = True, **more: Any) -> int:
        """Opens (and starts) a call; its row."""
        self.do(opening(call_id, kind, **more))
        if start:
            self.do(MediaStart(msg_id=f"start-{call_id}", reply_to="front.1", call_id=call_id))
        call = self.exchange.call(call_id)
        assert call is not None
        return call.row

    def tick(self, count: int = 1, *, inside: tuple[int, ...] = ()) -> list[Effect]:
        """So many ticks of the engine; `inside` are rows whose caller is speaking."""
        done: list[Effect] = []
        for _ in range(count):
            self.now_ns += TICK_NS
            result = self.engine.tick(self.now_ns)
            result.utterance_rows = np.array(inside, np.int32)
            self.exchange.after_tick(result, self.now_ns)
            done += self._take()
        return done

    def found(
        self, **parts: list[SpeechEvent] | list[DtmfEvent] | list[LegLost] | list[PlayoutEvent]
    ) -> list[Effect]:
        """A tick that found something."""
        result = self._result()
        for name, value in parts.items():
            setattr(result, name, value)
        self.exchange.after_tick(result, self.now_ns)
        return self._take()

    def speech(
        self, row: int, kind: Speech, *, inside: bool = False, loud_ago_ms: int = 60, silent_ms: int = 0
    ) -> list[Effect]:
        """The detector says something of a leg; `inside`: with a frame of the utterance."""
        first, last = self.now_ns - loud_ago_ms * NS_PER_MS, self.now_ns - silent_ms * NS_PER_MS
        result = self._result()
        result.speech = [SpeechEvent(row, kind, first, last)]
        if inside:
            result.utterance_rows = np.array([row], np.int32)
        self.exchange.after_tick(result, self.now_ns)
        return self._take()

    def _result(self) -> TickResult:
        rows = self.engine.rows
        return TickResult(
            caller_pcm=rows.caller_pcm, sent_pcm=rows.sent_pcm, caller_wide=rows.caller_wide, sent_wide=rows.sent_wide
        )  # fmt: skip

    def reply(
        self, turn: int, segment: int = 0, *, ms: int = 200, offset: int = 0, last: bool = True, call_id: str = "c1",
        times: StageTimes | None = None, rate_hz: int = 8_000,
    ) -> list[Effect]:  # fmt: skip
        """Agent audio arrives."""
        pcm = np.full(ms * rate_hz // 1_000, 1_000, np.int16).tobytes()
        frame = ReplyFrame(call_id, turn, segment, offset, pcm, last)
        return self.do(PcmToMedia(rate_hz=rate_hz, frames=[frame], times={call_id: times} if times else {}))

    def _take(self) -> list[Effect]:
        taken = self.exchange.take()
        self.effects += taken
        return taken


def sent(effects: list[Effect], kind: type[M], to: str | None = None) -> list[M]:
    """Messages of a kind among the effects."""
    return [
        effect.message for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, kind) and to in {None, effect.worker_id}
    ]  # fmt: skip


def notes(effects: list[Effect], kind: str) -> list[dict[str, Any]]:
    """Data of the event log entries of a kind."""
    return [effect.data for effect in effects if isinstance(effect, Note) and effect.kind == kind]


def frames(effects: list[Effect], worker: str = "stt.1") -> list[UtteranceFrame]:
    """Utterance frames on their way to an STT worker."""
    return [
        frame for effect in effects if isinstance(effect, SendAudio) and effect.worker_id == worker
        for frame in effect.message.frames
    ]  # fmt: skip
