"""One call's dialogue: takes messages, tokens and the time, gives effects. The states are in `turn`.

Fencing (I4): what belongs to an older turn, an older epoch or a stopped stream is dropped on entry. Nothing reaches TTS
before the caller's turn is confirmed, and what was said twice by a bus that delivers at least once is heard once.
It must not wait, send or read a clock.
"""

from collections.abc import Callable
from typing import Any

from aiworker.core.agent import Agent, call_variables, fill
from aiworker.core.effects import (
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
from aiworker.core.history import Pace
from aiworker.core.reply import Reply
from aiworker.core.script import PRESSED
from aiworker.core.segments import split
from aiworker.core.stream import Stream, same_words
from aiworker.core.takeover import Rebuilt
from aiworker.core.turn import Action, Input, State, step
from shared.contracts import (
    DialogueAttach,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    ReplyEnd,
    SegmentPlayed,
    Speak,
    SpeakCancel,
    SpeechStarted,
    StageTimes,
    Transcript,
)
from shared.units import NARROWBAND_HZ, NS_PER_MS, NS_PER_S

_TALK_NS = 30 * NS_PER_S
"""A caller who took the floor is given this long before the idle clock runs: the longest utterance."""


class Dialogue:
    """The agent's side of one call. `handle` everything, then arm one timer for `deadline_ns`."""

    def __init__(
        self, attach: DialogueAttach, agent: Agent, chain: Chain, rebuilt: Rebuilt | None = None
    ) -> None:
        self.call_id = attach.call_id
        self.media = attach.media
        self.agent = agent
        self.values = call_variables(agent, attach.metadata)
        self.state = State.GREETING
        found = rebuilt or Rebuilt()
        self.turn = max(attach.turn, found.turn)
        self.history = found.history
        self.history.prompt = fill(agent.prompt, self.values)
        self._rebuilt = rebuilt
        self._attach = attach
        self._chain = chain
        self._reply = Reply(self.turn)
        self._pace = Pace()
        self._stream: Stream | None = None
        self._streams = 0
        self._final_turn = found.final_turn
        self._heard: Transcript | None = None
        self._heard_ns = 0
        self._digits = ""
        self._nudges = 0
        self._timers: dict[str, int] = {}
        self._now_ns = 0
        self._out: list[Effect] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            SpeechStarted: self._on_floor, Transcript: self._on_transcript, SegmentPlayed: self._on_played,
            DtmfReceived: self._on_digit, DialogueUpdate: self._on_update, DialogueDetach: self._on_detach,
            TimePassed: self._on_time, Token: self._on_token, Acted: self._on_act, StreamEnded: self._on_end,
            StreamFailed: self._on_failure,
        }  # fmt: skip
        self._actions: dict[Action, Callable[[], None]] = {
            Action.YIELD: self._yield, Action.SPECULATE: self._speculate, Action.ANSWER: self._answer,
            Action.OPEN: self._open, Action.REPROMPT: self._reprompt, Action.DROP: self._stop_stream,
            Action.APOLOGISE: self._apologise, Action.REST: self._rest, Action.NUDGE: self._nudge,
            Action.END: self._end,
        }  # fmt: skip

    # --- what the shell calls

    def begin(self, now_ns: int) -> list[Effect]:
        """The greeting; after a takeover whatever is owed to the caller."""
        self._now_ns = now_ns
        if self._rebuilt is None:
            self._reply.begin(split(fill(self.agent.greeting, self.values)))
            self._pump()
        else:
            self._resume(self._rebuilt)
            self._rebuilt = None
        return self._taken()

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Everything that `event` leads to."""
        self._now_ns = now_ns
        if self.state is not State.ENDED:
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event)
        return self._taken()

    def reattach(self, attach: DialogueAttach, now_ns: int) -> list[Effect]:
        """The media worker attached the call again (Redis lost its memory): what was under way is said again."""
        self._now_ns = now_ns
        if attach.epoch > self._attach.epoch and self.state is not State.ENDED:
            self._attach, self.media = attach, attach.media
            if attach.turn > self.turn:
                lost = SpeechStarted(call_id=self.call_id, epoch=attach.epoch, turn=attach.turn)
                self._take_floor(lost)
            self._say_again()
        return self._taken()

    def deadline_ns(self) -> int | None:
        return min(self._timers.values(), default=None)

    # --- messages

    def _on_floor(self, event: SpeechStarted) -> None:
        if event.epoch >= self._attach.epoch and event.turn > self.turn:
            self._take_floor(event)

    def _take_floor(self, event: SpeechStarted) -> None:
        if event.heard_turn == self._reply.turn and event.heard_segment >= 0:
            self._cut(event.heard_segment, event.heard_samples, event.heard_of_samples)
        else:
            self._cut(-1, 0, 0)
        self.turn = event.turn
        self._do(Input.FLOOR)

    def _on_transcript(self, event: Transcript) -> None:
        if event.kind == "partial" or event.turn < self.turn or event.turn <= self._final_turn:
            return
        if event.kind == "speculative":
            self._on_speculative(event)
            return
        if event.turn > self.turn:  # its SpeechStarted was lost with a worker: words are proof enough
            self._take_floor(SpeechStarted(call_id=self.call_id, epoch=self._attach.epoch, turn=event.turn))
        self._final_turn, self._heard, self._heard_ns = event.turn, event, self._now_ns
        self._nudges = 0
        stream = self._stream
        if stream and stream.gated and event.text and same_words(stream.text, event.text):
            self._do(Input.CONFIRMED)
        elif event.text.strip() or self.history.pending():
            self._do(Input.FINAL)
        else:
            self._do(Input.UNHEARD)

    def _on_speculative(self, event: Transcript) -> None:
        """A turn that has not the floor is a candidate only: it may still turn out to be a cough."""
        if event.turn != self.turn or not event.text.strip():
            return
        if self._stream and self._stream.gated and same_words(self._stream.text, event.text):
            return
        self._heard, self._heard_ns = event, self._now_ns
        self._do(Input.SPECULATION)

    def _on_played(self, event: SegmentPlayed) -> None:
        if event.turn != self._reply.turn or not self._reply.segment_played(event.segment):
            return
        self._pace.learn(self._reply.texts[event.segment], event.samples)
        self._pump()

    def _on_digit(self, event: DtmfReceived) -> None:
        self._digits += event.digit
        wanted = self.agent.dtmf
        if event.digit == "#" or len(self._digits) >= wanted.max_digits:
            self._send_digits()
        else:
            self._timers["digits"] = self._now_ns + wanted.timeout_ms * NS_PER_MS

    def _send_digits(self) -> None:
        self._timers.pop("digits", None)
        digits, self._digits = self._digits.rstrip("#") or self._digits, ""
        self._heard, self._heard_ns, self._nudges = None, self._now_ns, 0
        self.history.user(self.turn, f"{PRESSED}{digits}")
        self._do(Input.DIGITS)

    def _on_update(self, event: DialogueUpdate) -> None:
        """Another TTS worker: it gets what was not played. Another STT worker is the media worker's concern. Another rate
        counts from the next sentence on.
        """
        if event.rate_hz and event.epoch == self._attach.epoch:
            self._attach = _with(self._attach, rate_hz=event.rate_hz)
        if event.epoch <= self._attach.epoch:
            return
        moved = event.ai.tts != self._attach.ai.tts
        rate_hz = event.rate_hz or self._attach.rate_hz
        self._attach = _with(self._attach, epoch=event.epoch, ai=event.ai, rate_hz=rate_hz)
        if moved:
            self._say_again()

    def _on_detach(self, _event: DialogueDetach) -> None:
        self._cut(-1, 0, 0)
        self._do(Input.BYE)

    def _on_time(self, _event: TimePassed) -> None:
        due = [name for name, at in self._timers.items() if at <= self._now_ns]
        for name in due:
            del self._timers[name]
        if "digits" in due:
            self._send_digits()
        if "stall" in due and self._reply.texts:
            self._reply.segment_played(len(self._reply.texts) - 1)
            self._pump()
        if "idle" in due:
            self._do(Input.IDLE)

    # --- the stream of an engine

    def _on_token(self, event: Token) -> None:
        stream = self._current(event.generation)
        if stream is None:
            return
        if stream.first_token_ns is None and event.text.strip():
            stream.first_token_ns = self._now_ns
            self._chain.worked(stream.engine)
        stream.feed(event.text)
        self._pump()

    def _on_act(self, event: Acted) -> None:
        stream = self._current(event.generation)
        if stream is not None:
            stream.hangup = True

    def _on_end(self, event: StreamEnded) -> None:
        stream = self._current(event.generation)
        if stream is None:
            return
        stream.finish(fill(self.agent.farewell, self.values))
        if stream.empty():
            self._failed(stream)
            return
        self._chain.worked(stream.engine)
        self._pump()

    def _on_failure(self, event: StreamFailed) -> None:
        stream = self._current(event.generation)
        if stream is not None:
            self._failed(stream)

    def _failed(self, stream: Stream) -> None:
        """The next engine takes the turn, unless the caller may have heard a part of this one's reply."""
        self._chain.failed(stream.engine, self._now_ns)
        self._stream = None
        spoken = not stream.gated and self._reply.said()
        engine = None if spoken else self._chain.after(stream.engine, self._now_ns)
        if engine is None:
            self._do(Input.EXHAUSTED)
            return
        self._reply.waiting.clear()
        self._start(engine, stream.text, gated=stream.gated)

    def _current(self, generation: int) -> Stream | None:
        stream = self._stream
        return stream if stream and stream.generation == generation else None

    # --- actions

    def _do(self, happened: Input) -> None:
        self.state, action = step(self.state, happened)
        act = self._actions.get(action)
        if act is not None:
            act()

    def _yield(self) -> None:
        """Called after the history was cut: nothing of the old turn goes on."""
        self._stop_stream()
        reply = self._reply
        if reply.texts and not reply.finished():
            self._out.append(Count("interrupted"))
        if reply.unplayed():
            self._send(self._attach.ai.tts, SpeakCancel(call_id=self.call_id, turn=self.turn))
        self._reply = Reply(self.turn)
        self._timers.clear()
        self._digits = ""
        self._arm_idle(_TALK_NS)

    def _speculate(self) -> None:
        text = self._heard.text if self._heard else ""
        self._begin_stream(text, gated=True)

    def _answer(self) -> None:
        if self._heard is not None:
            self.history.user(self.turn, self._heard.text)
        self._reply.begin()
        self._timers.pop("idle", None)
        if self.history.user_turns() > self.agent.max_turns:
            self._stop_stream()
            self._phrase(self.agent.farewell, hangup=True)
        else:
            self._begin_stream("", gated=False)

    def _open(self) -> None:
        """The speculation was right: its text is what the caller said."""
        if self._heard is not None:
            self.history.user(self.turn, self._heard.text)
        self._out.append(Count("speculated"))
        self._reply.begin()
        self._timers.pop("idle", None)
        if self._stream is not None:
            self._stream.gated = False
        self._pump()

    def _reprompt(self) -> None:
        self._stop_stream()
        self._phrase(self.agent.unheard)

    def _apologise(self) -> None:
        self._stop_stream()
        self._out.append(Count("failed"))
        self._phrase(self.agent.apology, keep_stretch=True)

    def _rest(self) -> None:
        self._log_heard()
        self._timers.pop("stall", None)
        if self._reply.texts:
            self._out.append(Count("played"))
        if not self._reply.hangup:
            self._arm_idle(0)

    def _nudge(self) -> None:
        self._nudges += 1
        idle = self.agent.idle
        if self._nudges > idle.times:
            self._phrase(self.agent.farewell, hangup=True)
        else:
            self._phrase(idle.phrase)

    def _end(self) -> None:
        self._stop_stream()
        if self._reply.unplayed():
            self._send(self._attach.ai.tts, SpeakCancel(call_id=self.call_id, turn=self.turn + 1))
        self._timers.clear()

    # --- speaking

    def _phrase(self, text: str, *, hangup: bool = False, keep_stretch: bool = False) -> None:
        """Something of the agent's own, instead of an engine's."""
        pieces = split(fill(text, self.values))
        if keep_stretch and self._reply.said():
            self._reply.waiting.clear()
            self._reply.waiting.extend(pieces)
            self._reply.complete = True
        else:
            self._reply.begin(pieces, hangup=hangup)
        self._pump()

    def _pump(self) -> None:
        """Hands sentences to TTS as far as there is room, and says when the reply is whole or was played."""
        stream = self._stream
        if stream and not stream.gated:
            self._reply.waiting.extend(stream.taken())
            if stream.done:
                self._reply.complete, self._reply.hangup, self._stream = True, stream.hangup, None
        if stream and stream.gated:
            return
        while (text := self._reply.next(self.history)) is not None:
            self._speak(len(self._reply.texts) - 1, text, self._times(stream))
            self._do(Input.SAID)
        self._announce()
        if self._reply.finished():
            self._do(Input.PLAYED)
        elif self._reply.unplayed():
            self._timers["stall"] = self._now_ns + self._reply.stall_ns(self._pace, NARROWBAND_HZ)

    def _speak(self, segment: int, text: str, times: StageTimes) -> None:
        data = {"turn": self._reply.turn, "segment": segment, "text": text}
        data |= {"last": self._reply.is_last(), "hangup": self._reply.hangup}
        self._out.append(Log("agent.segment", data))
        self._to_tts(segment, text, times)

    def _to_tts(self, segment: int, text: str, times: StageTimes) -> None:
        attach = self._attach
        self._send(
            attach.ai.tts,
            Speak(
                call_id=self.call_id, epoch=attach.epoch, turn=self._reply.turn, segment=segment, text=text,
                media=self.media, rate_hz=attach.rate_hz, voice=self.agent.voice, language=self.agent.language,
                times=times,
            ),
        )  # fmt: skip

    def _announce(self) -> None:
        reply, segments = self._reply, len(self._reply.texts)
        if reply.is_last() and reply.announced != segments:
            reply.announced = segments
            end = ReplyEnd(call_id=self.call_id, turn=reply.turn, segments=segments, hangup=reply.hangup)
            self._send(self.media, end)

    def _times(self, stream: Stream | None) -> StageTimes:
        """The stages up to here, with the first sentence that answers a transcript."""
        heard, self._heard = self._heard, None
        if heard is None or heard.kind != "final" or stream is None or stream.first_token_ns is None:
            return StageTimes()
        return StageTimes(
            stt_wait_ms=heard.wait_ms,
            stt_decode_ms=heard.decode_ms,
            llm_first_token_ms=max(0, stream.first_token_ns - self._heard_ns) / NS_PER_MS,
            llm_first_segment_ms=(self._now_ns - self._heard_ns) / NS_PER_MS,
        )

    def _say_again(self) -> None:
        for segment, text in self._reply.unplayed():
            self._to_tts(segment, text, StageTimes())
        self._reply.announced = -1
        if self._reply.texts:
            self._announce()

    def _cut(self, segment: int, samples: int, total: int) -> None:
        self._reply.cut(segment, samples, total, self._pace)
        self._log_heard()

    def _log_heard(self) -> None:
        for entry in self._reply.heard():
            data = {"turn": entry.turn, "text": entry.text, "interrupted": entry.interrupted}
            self._out.append(Log("agent.heard", data))

    # --- streams and timers

    def _begin_stream(self, text: str, *, gated: bool) -> None:
        self._stop_stream()
        engine = self._chain.first(self._now_ns)
        if engine is None:
            self._do(Input.EXHAUSTED)
        else:
            self._start(engine, text, gated=gated)

    def _start(self, engine: int, text: str, *, gated: bool) -> None:
        self._streams += 1
        self._stream = Stream(self._streams, engine, text, gated=gated)
        extra = text if gated else ""
        messages = self.history.messages(self.agent.max_history, extra)
        self._out.append(Generate(self._streams, engine, messages))

    def _stop_stream(self) -> None:
        if self._stream is not None:
            self._out.append(Stop(self._stream.generation))
            self._stream = None

    def _arm_idle(self, extra_ns: int) -> None:
        if self.agent.idle.after_s > 0:
            self._timers["idle"] = self._now_ns + int(self.agent.idle.after_s * NS_PER_S) + extra_ns

    def _send(self, worker: str, message: Speak | SpeakCancel | ReplyEnd) -> None:
        self._out.append(Send(worker, message))

    def _taken(self) -> list[Effect]:
        out, self._out = self._out, []
        return out

    # --- takeover

    def _resume(self, found: Rebuilt) -> None:
        """A dead worker's dialogue: answer what waits, finish the greeting, or own up to a reply that broke off."""
        self.state = State.LISTENING
        greeting = split(fill(self.agent.greeting, self.values))
        same_turn = found.turn == self.turn
        if self.history.pending() and self.history.entries[-1].turn == self.turn:
            self._do(Input.FINAL)
        elif same_turn and self.turn == 0 and len(found.texts) < len(greeting):
            self._continue(found, greeting[len(found.texts) :])
            self.state = State.GREETING
            self._pump()
        elif same_turn and found.texts and not found.heard:
            self.state = State.SPEAKING
            rest = [] if found.last else split(fill(self.agent.apology, self.values))
            self._continue(found, rest)
            self._pump()
        else:
            self._arm_idle(_TALK_NS)

    def _continue(self, found: Rebuilt, rest: list[str]) -> None:
        reply = self._reply
        reply.texts, reply.played = list(found.texts), len(found.texts)
        reply.begin(rest, hangup=found.hangup)


def _with(attach: DialogueAttach, **changes: Any) -> DialogueAttach:
    fields = {name: getattr(attach, name) for name in attach.__struct_fields__}
    return DialogueAttach(**(fields | changes))
