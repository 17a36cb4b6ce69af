"""One call on this media worker: its floor, its utterance, its reply, its AI workers.

It tells the engine what to play and the farm what happened; decision 0001 says who does what. It must not touch sockets
or clocks: events come with their time, and what is asked of the outside goes to `Effects`.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from msgspec import structs

from mediaworker.core.calls.attachments import Attachments
from mediaworker.core.calls.effects import Assign, Count, Effects, Holding, Note, Observe, Send
from mediaworker.core.calls.floor import Effect, Event, Floor, State
from mediaworker.core.calls.ledger import Ledger, TurnLatency
from mediaworker.core.calls.rates import as_narrow
from mediaworker.core.calls.reply import Reply
from mediaworker.core.engine import Engine
from mediaworker.core.legs import (
    DtmfEvent,
    Heard,
    LegStats,
    PlayoutEvent,
    QualityEvent,
    Speech,
    SpeechEvent,
)
from mediaworker.core.speech.utterance import Ear, Utterance
from shared.contracts import (
    DialogueAttach,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    EndReason,
    Mark,
    MediaOpen,
    MediaUpdate,
    ReplyEnd,
    ReplyFrame,
    SegmentPlayed,
    SpeechStarted,
    StageTimes,
    SttAttach,
    SttDetach,
    UtteranceFrame,
)
from shared.units import NARROWBAND_HZ, NS_PER_MS, NS_PER_S

RECENT_NS = 10 * NS_PER_S
"""An ended utterance is sent again to a new STT worker for this long, unless the reply began: its text may be lost."""

QUALITY_NOTES = 50
"""Entries about quality in one call's event log."""

OVER_NS = NS_PER_S
"""A gap in a reply shorter than this still counts as the agent speaking."""

_NOTHING = Heard(-1, -1, 0)

_FLOOR_EVENTS = {
    Speech.LASTED: Event.LASTED,
    Speech.PAUSE: Event.PAUSE,
    Speech.RESUME: Event.RESUME,
    Speech.END: Event.END,
}

_STAGES = {
    "endpoint": "endpoint_ms",
    "stt_wait": "stt_wait_ms",
    "stt_decode": "stt_decode_ms",
    "llm_first_token": "llm_first_token_ms",
    "llm_first_segment": "llm_first_segment_ms",
    "tts_first_frame": "tts_first_frame_ms",
    "bus": "bus_ms",
}


class Call:
    """A leg with an application. `ending` is set when the application is done with the call."""

    def __init__(
        self, opened: MediaOpen, media: str, row: int, engine: Engine, out: Effects, busy: "dict[str, Call]"
    ) -> None:
        self.opened = opened
        self.row = row
        self.floor = Floor()
        self.links = Attachments(opened.ai)
        self.ledger = Ledger()
        self.ending: EndReason | None = None
        self.started_ns = -1
        self._media = media
        self._engine = engine
        self._out = out
        self._busy = busy
        self._turn = opened.app.turn
        self._utterance = Utterance(opened.call_id, self._turn.max_utterance_ms, self._turn.pre_roll_ms)
        self.rate_hz = engine.rate_hz(row)
        """Of the leg's audio; changes with its codec."""
        self._reply = Reply(0, self.rate_hz)
        self._parrot = opened.app.kind == "echo" and opened.app.options.get("mode") == "after_silence"
        self._resend = False
        self._stopped_ns = 0
        self._audible_ns = -OVER_NS
        self._heard = _NOTHING
        self._quality_notes = 0

    @property
    def call_id(self) -> str:
        return self.opened.call_id

    # --- life

    def introduce(self) -> None:
        """The leg is open."""
        o = self.opened
        self._note(
            "call.opened", tenant=o.tenant, room_id=o.room_id, session_id=o.session_id, app=o.app.kind,
            agent=o.app.agent, codec=o.format.codec, remote=f"{o.remote.host}:{o.remote.rtp_port}",
            metadata=o.metadata,
        )  # fmt: skip
        self._hold()
        self._attach_stt()

    def begin(self, now_ns: int) -> None:
        """The caller acknowledged: media flows and the application begins."""
        if self.started_ns >= 0:
            return
        self.started_ns = now_ns
        self._engine.start(self.row, now_ns)
        self._note("call.answered")
        self._hold()
        self._attach_llm(resumed=False)

    def update(self, message: MediaUpdate) -> None:
        """A re-INVITE changed the leg."""
        self._engine.update(self.row, message.remote, message.format, message.srtp)
        rate_hz = self._engine.rate_hz(self.row)
        if rate_hz != self.rate_hz:
            self.rate_hz = rate_hz
            self._reply.retune(rate_hz)
            self._update_llm()
        remote, chosen = message.remote, message.format
        self.opened = structs.replace(self.opened, remote=remote, format=chosen)
        self._note(
            "call.updated", codec=chosen.codec, direction=chosen.direction, remote=f"{remote.host}:{remote.rtp_port}",
            encrypted=message.srtp is not None,
        )  # fmt: skip
        self._hold()

    def close(self, reason: EndReason, stats: LegStats, now_ns: int) -> None:
        """The leg is gone: says goodbye to everybody."""
        if self.links.worker("stt"):
            self._send("stt", SttDetach(call_id=self.call_id))
        if self.links.worker("llm"):
            self._send("llm", DialogueDetach(call_id=self.call_id, reason=reason))
        duration = (now_ns - self.started_ns) // NS_PER_MS if self.started_ns >= 0 else 0
        self._note("call.ended", reason=reason, duration_ms=duration, rtp=_figures(stats))

    # --- the caller

    def hear(self, event: SpeechEvent, now_ns: int) -> None:
        """The speech detector said something. Raises FloorError where that cannot be."""
        self._carry_out(self._floor_event(event.kind, now_ns), event, now_ns)

    def listen(self, pcm: bytes, now_ns: int) -> None:
        """What the caller said in this tick inside an utterance of the detector's, at `rate_hz`: mostly one frame."""
        if not pcm or not self.floor.in_utterance:
            return
        frame = self._utterance.listen(self.links.epoch, pcm, self.rate_hz)
        if frame:
            self._to_stt(frame, now_ns)

    def ear(self, now_ns: int) -> Ear | None:
        """What does the same as `listen` until another step is taken, for whole frames at 8 kHz; None where nothing does."""
        worker = self.links.worker("stt")
        if not worker or self._resend or now_ns < self.links.stt_ready_ns or not self.floor.in_utterance:
            return None
        narrow = self.rate_hz == self._utterance.rate_hz == NARROWBAND_HZ
        return Ear(self._utterance, self.links.epoch, worker) if narrow else None

    def press(self, event: DtmfEvent) -> None:
        """A key was pressed."""
        self._out.add(Count("voicefarm_dtmf", (event.source,)))
        self._note("dtmf", digit=event.digit, duration_ms=event.duration_ms, source=event.source)
        if self.links.worker("llm"):
            self._send("llm", DtmfReceived(
                call_id=self.call_id, turn=self.floor.turn, digit=event.digit, duration_ms=event.duration_ms,
                source=event.source,
            ))  # fmt: skip

    def sounds(self, event: QualityEvent) -> None:
        """The leg began or ceased to sound bad or to be heard one way only; a call that goes on flapping is told of no
        further (I6).
        """
        self._quality_notes += 1
        if self._quality_notes <= QUALITY_NOTES:
            self._note(event.kind, direction=event.direction, state=event.state, **event.data)

    # --- the agent

    def take_audio(self, frame: ReplyFrame, rate_hz: int, now_ns: int) -> None:
        """Agent audio; what does not carry the floor's turn is dropped (I4)."""
        if not self.floor.accepts(frame.turn):
            self._count_dropped("late")
        elif not self._reply.add(frame, now_ns, rate_hz):
            self._count_dropped("refused")
        else:
            if self.floor.state is State.THINKING:
                self._utterance.forget()
            self._carry_out(Event.AUDIO, None, now_ns)
            self.service(now_ns)

    def take_times(self, turn: int, times: StageTimes) -> None:
        """What the stages before us measured."""
        self.ledger.stages(turn, times)

    def end_reply(self, message: ReplyEnd, now_ns: int) -> None:
        """The dialogue has said all it wants to in this turn."""
        if self.floor.accepts(message.turn):
            self._reply.end(message.segments, hangup=message.hangup)
            self._finish_reply(now_ns)

    def played(self, event: PlayoutEvent, now_ns: int) -> None:
        """A reply began, or one of its sentences was played to its end."""
        self._audible_ns = now_ns
        heard = event.heard
        if event.started:
            self._measure(self.ledger.first_packet(heard.turn, event.at_ns))
            return
        if self.links.worker("llm"):
            self._send("llm", SegmentPlayed(
                call_id=self.call_id, turn=heard.turn, segment=heard.segment,
                samples=as_narrow(heard.samples, self.rate_hz),
            ))  # fmt: skip
        if heard.turn == self._reply.turn:
            self._reply.played(heard.segment)
            self._finish_reply(now_ns)

    def service(self, now_ns: int) -> None:
        """Moves waiting audio into the engine's ring, and a waiting utterance to its new STT worker.

        While something still waits the call is in `busy`, and is serviced every tick.
        """
        if self._resend and now_ns >= self.links.stt_ready_ns:
            self._resend = False
            for frame in self._utterance.again(self.links.epoch):
                self._out.utterance(self.links.worker("stt"), frame, self._utterance.rate_hz)
        self._top_up()
        waiting = self._reply.waiting_samples > 0
        if waiting and not self._engine.playing(self.row) and self.floor.state is State.SPEAKING:
            self._reply.pass_over(now_ns)
        if waiting or self._resend:
            self._busy[self.call_id] = self
        else:
            self._busy.pop(self.call_id, None)

    # --- the AI workers

    def watch(self, live: Mapping[str, frozenset[str]], now_ns: int) -> None:
        """Asks for another worker where one of ours has no lease any more."""
        for role, leaving in self.links.lost(live, now_ns):
            self._out.add(Assign(self.call_id, role, leaving))

    def reattach(self, role: str, leaving: str, worker: str, now_ns: int) -> None:
        """Another worker was found."""
        if not self.links.assigned(role, leaving, worker):
            return
        self._out.add(Count("voicefarm_reattached", (role,)))
        self._note("attached", role=role, worker=worker, epoch=self.links.epoch)
        self._hold()
        if role == "llm":
            self._attach_llm(resumed=True)
        else:
            self._update_llm()
        if role != "tts":
            self._attach_stt()
            self._send_again(now_ns)

    def attach_anew(self, now_ns: int) -> None:
        """Messages may have been lost with the registry's memory: everybody is told again under a new epoch."""
        if not self.links:
            return
        self.links.renew()
        self._attach_stt()
        self._attach_llm(resumed=True)
        self._send_again(now_ns)

    # --- floor effects

    def _floor_event(self, kind: Speech, now_ns: int) -> Event:
        begins = kind is Speech.ONSET or (kind is Speech.RESUME and not self.floor.in_utterance)
        if not begins:
            return _FLOOR_EVENTS[kind]
        if self.floor.state not in {State.SPEAKING, State.TALKED_OVER}:
            return Event.ONSET
        if not self._turn.barge_in_ms:
            return Event.ONSET_IGNORED
        return Event.ONSET_OVER if self._agent_speaks(now_ns) else Event.ONSET

    def _agent_speaks(self, now_ns: int) -> bool:
        waiting = self._reply.waiting_samples > 0
        return waiting or self._engine.playing(self.row) or now_ns - self._audible_ns < OVER_NS

    def _carry_out(self, event: Event, speech: SpeechEvent | None, now_ns: int) -> None:
        for effect in self.floor.handle(event).effects:
            self._DO[effect](self, speech, now_ns)

    def _start(self, _speech: SpeechEvent | None, now_ns: int) -> None:
        pcm = self._engine.pre_roll(self.row).tobytes()
        frame = self._utterance.start(self.links.epoch, self.floor.utterance_turn, pcm, self.rate_hz)
        self._resend = False
        self._to_stt(frame, now_ns)

    def _mark_pause(self, speech: SpeechEvent | None, now_ns: int) -> None:
        self._mark(Mark.PAUSE, speech, now_ns)

    def _mark_resume(self, speech: SpeechEvent | None, now_ns: int) -> None:
        self._mark(Mark.RESUME, speech, now_ns)

    def _mark_end(self, speech: SpeechEvent | None, now_ns: int) -> None:
        self._mark(Mark.END, speech, now_ns)
        turn, last_loud_ns = self.floor.turn, speech.last_loud_ns if speech else now_ns
        self.ledger.speech_ended(turn, last_loud_ns, now_ns)
        self._note("speech.ended", turn=turn, audio_ms=self._utterance.ms)
        if self._parrot:
            self._say_back(turn, now_ns)

    def _abort(self, speech: SpeechEvent | None, now_ns: int) -> None:
        self._mark(Mark.ABORT, speech, now_ns)

    def _hold_playout(self, _speech: SpeechEvent | None, now_ns: int) -> None:
        self._engine.pause(self.row)
        self._stopped_ns = now_ns

    def _go_on(self, _speech: SpeechEvent | None, now_ns: int) -> None:
        self._engine.resume(self.row)
        self._audible_ns = now_ns

    def _cancel(self, _speech: SpeechEvent | None, now_ns: int) -> None:
        heard = self._engine.flush(self.row)
        self._heard = heard._replace(samples=as_narrow(heard.samples, self.rate_hz))
        self._engine.resume(self.row)
        if self._stopped_ns == 0:
            self._stopped_ns = now_ns

    def _take(self, speech: SpeechEvent | None, _now_ns: int) -> None:
        turn, heard, barged = self.floor.turn, self._heard, self._heard is not _NOTHING
        of_samples = self._reply.length(heard.segment) if heard.turn == self._reply.turn else 0
        self._reply = Reply(turn, self.rate_hz)
        data: dict[str, Any] = {"turn": turn, "barge_in": barged}
        if barged:
            stop_ns = self._stopped_ns - (speech.first_loud_ns if speech else self._stopped_ns)
            self._out.add(Observe("voicefarm_barge_in_seconds", (), stop_ns / NS_PER_S, self.call_id))
            data |= {
                "heard_turn": heard.turn, "heard_segment": heard.segment, "heard_samples": heard.samples,
                "stop_ms": stop_ns / NS_PER_MS,
            }  # fmt: skip
        self._note("speech.started", **data)
        if self.links.worker("llm"):
            self._send("llm", SpeechStarted(
                call_id=self.call_id, epoch=self.links.epoch, turn=turn, barge_in=barged,
                heard_turn=heard.turn, heard_segment=heard.segment, heard_samples=heard.samples,
                heard_of_samples=of_samples,
            ))  # fmt: skip
        self._heard, self._stopped_ns = _NOTHING, 0

    _DO: ClassVar[dict[Effect, Callable[["Call", SpeechEvent | None, int], None]]] = {
        Effect.START: _start,
        Effect.MARK_PAUSE: _mark_pause,
        Effect.MARK_RESUME: _mark_resume,
        Effect.MARK_END: _mark_end,
        Effect.ABORT: _abort,
        Effect.HOLD: _hold_playout,
        Effect.GO_ON: _go_on,
        Effect.CANCEL: _cancel,
        Effect.TAKE: _take,
    }

    # --- parts

    def _top_up(self) -> None:
        while piece := self._reply.next_piece():
            fits = min(len(piece.pcm), self._engine.room(self.row))
            whole = fits == len(piece.pcm)
            if not whole and not fits:
                return
            taken = self._engine.queue(
                self.row, self._reply.turn, piece.segment, piece.pcm[:fits], last=piece.last and whole
            )
            self._reply.took(taken)
            if taken < len(piece.pcm):
                return

    def _mark(self, mark: Mark, speech: SpeechEvent | None, now_ns: int) -> None:
        silence_ms = (now_ns - speech.last_loud_ns) // NS_PER_MS if speech else 0
        self._to_stt(self._utterance.note(self.links.epoch, mark, silence_ms, now_ns), now_ns)

    def _say_back(self, turn: int, now_ns: int) -> None:
        said = ReplyFrame(self.call_id, turn, 0, 0, self._utterance.pcm, last=True)
        self._reply.add(said, now_ns, self._utterance.rate_hz)
        self._reply.end(1, hangup=False)
        self._utterance.forget()
        self._carry_out(Event.AUDIO, None, now_ns)
        self.service(now_ns)

    def _finish_reply(self, now_ns: int) -> None:
        if not self._reply.done or not self.floor.accepts(self._reply.turn):
            return
        if self._reply.hangup:
            self.ending = "app"
        self._carry_out(Event.REPLY_DONE, None, now_ns)

    def _measure(self, latency: TurnLatency | None) -> None:
        if latency is None:
            return
        figures = {name: round(value, 3) for name, value in latency._asdict().items()}
        self._note("turn.latency", **figures)
        self._out.add(Observe(
            "voicefarm_turn_voice_to_voice_seconds", (self.opened.tenant,),
            latency.voice_to_voice_ms / 1_000, self.call_id,
        ))  # fmt: skip
        for stage, field in _STAGES.items():
            if figures[field] >= 0:
                seconds = figures[field] / 1_000
                self._out.add(Observe("voicefarm_stage_latency_seconds", (stage,), seconds, self.call_id))

    def _send_again(self, now_ns: int) -> None:
        recent = now_ns - self._utterance.ended_ns < RECENT_NS
        wanted = self._utterance.is_open or (self._utterance.mark is Mark.END and recent)
        if self.links.worker("stt") and wanted:
            self.links.settle(now_ns)
            self._resend = True
            self.service(now_ns)

    def _to_stt(self, frame: UtteranceFrame, now_ns: int) -> None:
        worker = self.links.worker("stt")
        # While the STT worker changes, the utterance only grows here: it is sent whole when the new one is attached.
        if worker and not self._resend and now_ns >= self.links.stt_ready_ns:
            self._out.utterance(worker, frame, self._utterance.rate_hz)

    def _attach_stt(self) -> None:
        if not self.links.worker("stt"):
            return
        options = self.opened.app.options
        self._send("stt", SttAttach(
            call_id=self.call_id, tenant=self.opened.tenant, epoch=self.links.epoch, media=self._media,
            llm=self.links.worker("llm"), language=self.opened.app.language,
            hotwords=_texts(options.get("hotwords")), grammar=_texts(options.get("grammar")),
        ))  # fmt: skip

    def _attach_llm(self, *, resumed: bool) -> None:
        if not self.links.worker("llm"):
            return
        o = self.opened
        self._send("llm", DialogueAttach(
            call_id=o.call_id, tenant=o.tenant, room_id=o.room_id, session_id=o.session_id,
            epoch=self.links.epoch, agent=o.app.agent, media=self._media, ai=self.links.ai,
            language=o.app.language, turn=self.floor.turn, turn_settings=self._turn, resumed=resumed,
            metadata=o.metadata, rate_hz=self.rate_hz,
        ))  # fmt: skip

    def _update_llm(self) -> None:
        if self.links.worker("llm"):
            self._send("llm", DialogueUpdate(
                call_id=self.call_id, epoch=self.links.epoch, ai=self.links.ai, rate_hz=self.rate_hz
            ))  # fmt: skip

    def _send(self, role: str, message: Any) -> None:
        self._out.add(Send(self.links.worker(role), message))

    def _note(self, kind: str, **data: Any) -> None:
        self._out.add(Note(self.call_id, kind, data))

    def _count_dropped(self, kind: str) -> None:
        self._out.add(Count("voicefarm_bus_dropped", (kind,)))

    def _hold(self) -> None:
        o, ai = self.opened, self.links.ai
        self._out.add(Holding(
            self.row, o.call_id, o.sip_call_id, o.tenant, o.room_id, o.session_id, o.app.kind, o.app.agent,
            o.format.codec, o.reply_to, o.metadata.get("From", ""), o.metadata.get("To", ""),
            "answered" if self.started_ns >= 0 else "reserved", o.rtp_port, ai.stt, ai.llm, ai.tts,
        ))  # fmt: skip


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _figures(stats: LegStats) -> dict[str, Any]:
    return {
        "packets_in": stats.packets_in, "packets_out": stats.packets_out,
        "lost_in": stats.lost_in, "lost_out": stats.lost_out, "late_in": stats.late_in,
        "duplicate_in": stats.duplicate_in, "reordered_in": stats.reordered_in, "concealed": stats.concealed,
        "jitter_in_ms": float(np.round(stats.jitter_in_ms, 3)), "jitter_out_ms": float(np.round(stats.jitter_out_ms, 3)),
        "rtt_ms": float(np.round(stats.rtt_ms, 3)), "mos_in": round(stats.mos_in, 2), "mos_out": round(stats.mos_out, 2),
        "mos_worst": round(stats.mos_worst, 2), "lost_frames": stats.lost_frames, "bursts": stats.bursts,
        "burst_losses": stats.burst_losses, "one_way": stats.one_way, "jitter_mean_ms": round(stats.jitter_mean_ms, 3),
    }  # fmt: skip
