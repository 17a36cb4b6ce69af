"""All calls of this media worker: opens and ends them, and hands each what the engine and the farm have for it.

It lives in the tick thread. It must not do I/O: sockets and recordings are reached through the two ports below, all
else leaves as `effects`. A request is answered once per `msg_id`, and the same way when it comes again.

Here is the border of a call (I9): what goes wrong in one call's own code ends that call with the reason `error`. What
goes wrong in the engine, which all calls share, ends the process (I10).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

from msgspec import structs

from mediaworker.core.address import address_key
from mediaworker.core.calls.call import Call
from mediaworker.core.calls.effects import (
    Assigned,
    Command,
    Count,
    Drain,
    Effect,
    Effects,
    EndAll,
    Failed,
    Forgotten,
    LiveWorkers,
    Note,
    PortFreed,
    Released,
    Send,
)
from mediaworker.core.calls.floor import FloorError
from mediaworker.core.calls.rates import RATES_HZ
from mediaworker.core.calls.taping import Tape, Taping
from mediaworker.core.dtmf.sender import Style
from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegLost, LegSetup, PlayoutEvent, TickResult
from mediaworker.core.playing.studio import Library, MediaRequest, NoLibrary, Studio
from mediaworker.core.rooms.rooms import RoomNumbers
from mediaworker.core.speech.utterance import Ear
from shared.contracts import (
    AppKind,
    EndReason,
    InbandDtmf,
    MediaAnswer,
    MediaClose,
    MediaDigits,
    MediaEnded,
    MediaInfoDigit,
    MediaMix,
    MediaOpen,
    MediaPlay,
    MediaPlayControl,
    MediaRecord,
    MediaStart,
    MediaUpdate,
    PcmToMedia,
    ReplyEnd,
)
from shared.egress import Egress
from shared.errors import Refused
from shared.units import BYTES_PER_SAMPLE, FRAME_SAMPLES, NARROWBAND_HZ, NS_PER_S

ANSWERS_KEPT = 4_096
"""Requests that are recognised when they come again."""

ACK_LIMIT_NS = 60 * NS_PER_S
"""A leg whose front never said that the caller acknowledged: fronts give up after 64*T1 = 32 s, dead ones never."""

FRAME_OCTETS = FRAME_SAMPLES * BYTES_PER_SAMPLE
"""20 ms at 8 kHz."""

_Asking = MediaStart | MediaUpdate | MediaDigits | MediaInfoDigit | MediaRequest
"""Requests about a call that is."""


class Wire(Protocol):
    """The sockets, as the exchange needs them."""

    def bind_pair(self, port: int, row: int) -> None:
        """Raises Refused("port_busy")."""
        ...

    def close(self, row: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the exchange is configured with."""

    media_id: str
    """Worker id of this process."""
    max_call_ns: int
    media_cidrs: tuple[str, ...] = ()
    inband_dtmf: InbandDtmf = "auto"
    """Where key presses are looked for in the sound (`media.inband_dtmf`)."""
    egress: Egress = field(default_factory=partial(Egress, own_host="127.0.0.1"))


class Exchange:
    """`handle` takes a command, `after_tick` what a tick found; then `take` gives the effects of both."""

    def __init__(
        self, engine: Engine, wire: Wire, tape: Tape, limits: Limits, library: Library | None = None
    ) -> None:
        self._engine = engine
        self._wire = wire
        self._limits = limits
        self._out = Effects()
        self._calls: dict[str, Call] = {}
        self._rows: dict[int, Call] = {}
        self._busy: dict[str, Call] = {}
        self._ears: dict[int, Ear] = {}
        """Of the calls to which nothing but speech has happened since their last frame, by row."""
        self._opened_ns: dict[str, int] = {}
        self._rooms = RoomNumbers()
        self._answers: OrderedDict[str, MediaAnswer] = OrderedDict()
        self._taping = Taping(engine, tape, self._out)
        self._studio = Studio(
            engine, library or NoLibrary(), self._taping, self._calls, self._rooms, self._out
        )
        self._draining = False
        self._ending: list[Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def call(self, call_id: str) -> Call | None:
        return self._calls.get(call_id)

    def take(self) -> list[Effect]:
        return self._out.take()

    # --- from the farm

    def handle(self, command: Command, now_ns: int) -> None:
        """Acts on a message or on what the shell found out; other messages are counted and dropped."""
        act = self._COMMANDS.get(type(command))
        if act is None:
            self._out.add(Count("voicefarm_bus_dropped", ("unknown",)))
            return
        act(self, command, now_ns)
        self._end_finished(now_ns)

    def _open(self, message: MediaOpen, now_ns: int) -> None:
        known = self._answers.get(message.msg_id)
        if known is None and message.call_id in self._calls:
            known = MediaAnswer(msg_id=message.msg_id, call_id=message.call_id, ok=True)
        if known:
            self._out.add(Send(message.reply_to, known))
            return
        try:
            call = self._set_up(message, now_ns)
        except Refused as refused:
            self._answer(message, refused.reason)
            self._out.add(PortFreed(message.call_id, message.rtp_port, refused.reason == "port_busy"))
            return
        self._calls[call.call_id] = call
        self._rows[call.row] = call
        self._opened_ns[call.call_id] = now_ns
        if message.record:
            self._taping.begin(call.call_id, call.row)
        self._answer(message)
        self._guarded(call, Call.introduce)

    def _set_up(self, message: MediaOpen, now_ns: int) -> Call:
        self._check_remote(message)
        room = self._rooms.find(message.tenant, message.room_id)
        if self._draining and room is None:
            raise Refused("draining")
        number = self._rooms.enter(message.tenant, message.room_id)
        try:
            row = self._engine.open(self._setup(message, number), now_ns)
        except (Refused, ValueError) as error:
            self._rooms.leave(message.tenant, message.room_id)
            raise error if isinstance(error, Refused) else Refused("bad_request", str(error)) from error
        try:
            self._wire.bind_pair(message.rtp_port, row)
        except Refused:
            self._engine.close(row)
            self._rooms.leave(message.tenant, message.room_id)
            raise
        message = structs.replace(message, srtp=None)  # the engine has the keys; nobody else keeps them
        return Call(message, self._limits.media_id, row, self._engine, self._out, self._busy)

    def _check_remote(self, message: MediaOpen | MediaUpdate) -> None:
        """Raises Refused where media may not be sent. The front has looked already; it may be older than this rule."""
        remote, sends = message.remote, message.format.direction in {"sendrecv", "sendonly"}
        address_key(remote.host, remote.rtp_port)
        for port in {remote.rtp_port, remote.rtcp_port or remote.rtp_port + 1}:
            why = self._limits.egress.why_refused(remote.host, port, sends=sends)
            if why:
                raise Refused("remote_denied", why)

    def _setup(self, message: MediaOpen, room: int) -> LegSetup:
        app = message.app
        parrot = app.kind == "echo" and app.options.get("mode") == "after_silence"
        return LegSetup(
            rtp_port=message.rtp_port,
            remote=message.remote,
            format=message.format,
            media_cidrs=(*self._limits.media_cidrs, *message.media_cidrs),
            srtp=message.srtp,
            detect_speech=parrot or app.kind in {"transcribe", "agent"},
            turn=app.turn,
            echo=app.kind == "echo" and not parrot,
            room=room if app.kind == "conference" else -1,
            record=message.record,
            inband_dtmf=self._inband(app.kind),
        )

    def _inband(self, kind: AppKind) -> InbandDtmf:
        """An echo has no use for digits: its sound goes back as it came, unless everything is to be listened to."""
        return "never" if kind == "echo" and self._limits.inband_dtmf == "auto" else self._limits.inband_dtmf

    def _start(self, message: MediaStart, now_ns: int) -> None:
        call = self._asked(message)
        if call:
            self._guarded(call, Call.begin, now_ns)
            self._answer(message)

    def _update(self, message: MediaUpdate, _now_ns: int) -> None:
        call = self._asked(message)
        if not call:
            return
        try:
            self._check_remote(message)
            self._ears.pop(call.row, None)
            call.update(message)
        except (Refused, ValueError) as error:
            self._answer(message, error.reason if isinstance(error, Refused) else "bad_request")
        else:
            self._studio.hold(call)
            self._answer(message)

    def _close(self, message: MediaClose, now_ns: int) -> None:
        call = self._calls.get(message.call_id)
        if call:
            self._end(call, message.reason, now_ns)
        if not self._repeated(message):
            self._answer(message)

    def _digits(self, message: MediaDigits, _now_ns: int) -> None:
        call = self._asked(message)
        if not call:
            return
        style = Style(message.via, message.duration_ms, message.gap_ms, message.level_dbm0)
        if self._engine.keys.press(call.row, message.digits, style):
            # Which digits is not written: they may be a card number.
            self._out.add(Note(call.call_id, "dtmf.sent", {"count": len(message.digits), "via": message.via}))
            self._answer(message)
        else:
            self._answer(message, "bad_request")

    def _info_digit(self, message: MediaInfoDigit, _now_ns: int) -> None:
        call = self._asked(message)
        if call:
            known = self._engine.keys.told(call.row, message.digit, message.duration_ms)
            self._answer(message, "" if known else "bad_request")

    def _audio(self, message: PcmToMedia, now_ns: int) -> None:
        if message.rate_hz not in RATES_HZ:
            self._out.add(Count("voicefarm_bus_dropped", ("refused",)))
            return
        for frame in message.frames:
            call = self._calls.get(frame.call_id)
            if call is None:
                self._out.add(Count("voicefarm_bus_dropped", ("late",)))
                continue
            times = message.times.get(frame.call_id)
            if times:
                call.take_times(frame.turn, times)
            self._guarded(call, Call.take_audio, frame, message.rate_hz, now_ns)

    def _reply_end(self, message: ReplyEnd, now_ns: int) -> None:
        call = self._calls.get(message.call_id)
        if call:
            self._guarded(call, Call.end_reply, message, now_ns)
            self._ending.append(call)

    def _live(self, command: LiveWorkers, now_ns: int) -> None:
        for call in self._calls.values():
            self._guarded(call, Call.watch, command.live, now_ns)

    def _assigned(self, command: Assigned, now_ns: int) -> None:
        call = self._calls.get(command.call_id)
        if call:
            self._guarded(call, Call.reattach, command.role, command.leaving, command.worker, now_ns)

    def _forgotten(self, _command: Forgotten, now_ns: int) -> None:
        for call in self._calls.values():
            self._guarded(call, Call.attach_anew, now_ns)

    def _drain(self, _command: Drain, _now_ns: int) -> None:
        self._draining = True

    def _end_all(self, command: EndAll, now_ns: int) -> None:
        self._draining = True
        for call in list(self._calls.values()):
            self._hang_up(call, command.reason, now_ns)

    def _request(self, message: MediaRequest, _now_ns: int) -> None:
        if self._repeated(message):
            return
        try:
            reason = self._studio.act(message)
        except Exception as error:  # noqa: BLE001  the border of a request, and of its call (I9)
            reason = "error"
            self._fail(message.call_id, error)
        self._answer(message, reason)

    _COMMANDS: ClassVar[dict[type, Callable[["Exchange", Any, int], None]]] = {
        MediaOpen: _open,
        MediaStart: _start,
        MediaUpdate: _update,
        MediaClose: _close,
        MediaPlay: _request,
        MediaPlayControl: _request,
        MediaMix: _request,
        MediaRecord: _request,
        MediaDigits: _digits,
        MediaInfoDigit: _info_digit,
        PcmToMedia: _audio,
        ReplyEnd: _reply_end,
        LiveWorkers: _live,
        Assigned: _assigned,
        Forgotten: _forgotten,
        Drain: _drain,
        EndAll: _end_all,
    }

    # --- from the engine

    def after_tick(self, result: TickResult, now_ns: int) -> None:
        """Gives every call what the tick found for it."""
        for speech in result.speech:
            self._guarded(self._rows.get(speech.row), Call.hear, speech, now_ns)
        if result.utterance_rows.size:
            self._listen(result, now_ns)
        for key in result.dtmf:
            self._guarded(self._rows.get(key.row), Call.press, key)
        for playout in result.playout:
            self._played(playout, now_ns)
        for event in result.quality:
            self._guarded(self._rows.get(event.row), Call.sounds, event)
        for lost in result.lost:
            self._lose(lost, now_ns)
        for call in list(self._busy.values()):
            self._guarded(call, Call.service, now_ns)
        self._studio.tick()
        self._end_finished(now_ns)

    def each_second(self, now_ns: int) -> None:
        """Ends calls that are too old, or that nobody ever acknowledged."""
        for call in list(self._calls.values()):
            opened_ns = self._opened_ns[call.call_id]
            if now_ns - opened_ns > self._limits.max_call_ns:
                self._hang_up(call, "max_duration", now_ns)
            elif call.started_ns < 0 and now_ns - opened_ns > ACK_LIMIT_NS:
                self._hang_up(call, "no_ack", now_ns)

    # --- parts

    def _listen(self, result: TickResult, now_ns: int) -> None:
        """Every speaking caller's frame, cut out of one copy of them all: there may be hundreds."""
        rows, own, ears = result.utterance_rows, result.own_time, self._ears
        frames = result.caller_pcm[rows].tobytes()
        end = 0
        for row in rows.tolist():
            begin, end = end, end + FRAME_OCTETS
            ear = ears.get(row)
            if ear is None or row in own:
                self._listen_to(row, frames[begin:end], result, now_ns)
                continue
            try:
                frame = ear.utterance.audio(ear.epoch, frames[begin:end])
            except Exception as error:  # noqa: BLE001  the border of a call, as in `_guarded`
                self._fail(self._rows[row].call_id, error)
                continue
            if frame:
                self._out.utterance(ear.worker, frame)

    def _listen_to(self, row: int, pcm: bytes, result: TickResult, now_ns: int) -> None:
        """One caller in the first frame after something else happened to the call, or on a leg that needs more care."""
        call = self._rows.get(row)
        if call is None:
            return
        if row in result.own_time:
            pcm = result.own_time[row].tobytes()
        elif call.rate_hz != NARROWBAND_HZ:
            pcm = result.caller_wide[row].tobytes()
        self._guarded(call, Call.listen, pcm, now_ns)
        ear = call.ear(now_ns)
        if ear:
            self._ears[row] = ear

    def _played(self, event: PlayoutEvent, now_ns: int) -> None:
        call = self._rows.get(event.row)
        self._guarded(call, Call.played, event, now_ns)
        if call and call.ending:
            self._ending.append(call)

    def _lose(self, lost: LegLost, now_ns: int) -> None:
        call = self._rows.get(lost.row)
        if call:
            self._hang_up(call, lost.reason, now_ns)

    def _guarded(self, call: Call | None, step: Callable[..., None], *args: Any) -> None:
        """One step of one call; a step that fails is the call's last."""
        if call is None:
            return
        self._ears.pop(call.row, None)
        try:
            step(call, *args)
        except FloorError:
            self._out.add(Count("voicefarm_task_errors", ("floor",)))
        except Exception as error:  # noqa: BLE001  the border of a call: its neighbours live on (I9)
            self._fail(call.call_id, error)

    def _fail(self, call_id: str, error: Exception) -> None:
        self._out.add(Failed(call_id, error))
        call = self._calls.get(call_id)
        if call:
            call.ending = "error"
            self._ending.append(call)

    def _end_finished(self, now_ns: int) -> None:
        ending, self._ending = self._ending, []
        for call in ending:
            if call.ending and call.call_id in self._calls:
                self._hang_up(call, call.ending, now_ns)

    def _hang_up(self, call: Call, reason: EndReason, now_ns: int) -> None:
        """An end of our own: the front is told, and says BYE."""
        self._end(call, reason, now_ns)
        ended = MediaEnded(msg_id=f"{call.call_id}-ended", call_id=call.call_id, reason=reason)
        self._out.add(Send(call.opened.reply_to, ended))

    def _end(self, call: Call, reason: EndReason, now_ns: int) -> None:
        opened = call.opened
        self._studio.leave(call)
        stats = self._engine.close(call.row, now_ns)
        self._studio.settle()
        self._wire.close(call.row)
        recorded = self._taping.end(call.call_id, call.row)
        self._guarded(call, Call.close, reason, stats, now_ns)
        self._rooms.leave(opened.tenant, opened.room_id)
        self._busy.pop(call.call_id, None)
        del self._calls[call.call_id], self._rows[call.row], self._opened_ns[call.call_id]
        self._out.add(Released(call.row, call.call_id, opened.rtp_port, recorded))

    def _asked(self, message: _Asking) -> Call | None:
        """The call a request is about, unless it was answered before; an unknown call is answered here."""
        if self._repeated(message):
            return None
        call = self._calls.get(message.call_id)
        if call is None:
            self._answer(message, "unknown_call")
        return call

    def _repeated(self, message: _Asking | MediaClose) -> bool:
        known = self._answers.get(message.msg_id)
        if known:
            self._out.add(Send(message.reply_to, known))
        return known is not None

    def _answer(self, message: _Asking | MediaOpen | MediaClose, reason: str = "") -> None:
        answer = MediaAnswer(msg_id=message.msg_id, call_id=message.call_id, ok=not reason, reason=reason)
        self._answers[message.msg_id] = answer
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        self._out.add(Send(message.reply_to, answer))
