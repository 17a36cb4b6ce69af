"""What the farm asks of calls and rooms besides their life: play this, mute them, record from here.

It turns messages into sources on `Lines`, columns of `Rows` and words to the recorder, and tells what became of it. It
lives in the tick thread; files come from a `Library`, which reads them elsewhere. Must not open, close or hang up.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from mediaworker.core.calls.call import Call
from mediaworker.core.calls.effects import Count, Effects, Note, Send
from mediaworker.core.calls.taping import Taping
from mediaworker.core.engine import Engine
from mediaworker.core.legs import Samples
from mediaworker.core.playing.lines import ROOM_FRAME
from mediaworker.core.playing.media_asked import file_path, source_of
from mediaworker.core.playing.media_source import NOTHING, Louder, Source, Stream
from mediaworker.core.playing.playback import Happening, PlaybackEvent
from mediaworker.core.rooms.rooms import RoomNumbers
from shared.contracts import (
    MediaMix,
    MediaPlay,
    MediaPlayControl,
    MediaPlayed,
    MediaRecord,
    MediaSource,
    Played,
)
from shared.errors import Refused
from shared.units import NARROWBAND_HZ, TICK_MS

LOW_WATER_SAMPLES: Final = NARROWBAND_HZ
"""A stream with less waiting is fed: a second, half a second at 16 kHz."""
GAIN_DB: Final = (-60.0, 20.0)
DUCK_DB: Final = (0.0, 60.0)

MediaRequest = MediaPlay | MediaPlayControl | MediaMix | MediaRecord


class Loaded(NamedTuple):
    """What the library has for a stream: a piece, or all of it (`whole`: it is looped here), or a `problem`."""

    stream: int
    pcm: Samples
    last: bool = False
    whole: bool = False
    problem: str = ""


class Library(Protocol):
    """Audio files, decoded beside the tick."""

    def open(self, stream: int, path: str, rate_hz: int, loops: int) -> None:
        """Begins to decode; the first pieces come without being asked for."""
        ...

    def more(self, stream: int) -> None:
        """Another piece of it."""
        ...

    def close(self, stream: int) -> None:
        """Nobody listens any more; what is on the way may still come."""
        ...

    def take(self) -> list[Loaded]:
        """What was decoded since the last time; costs nothing where nothing was."""
        ...


class NoLibrary:
    """Where no files are played."""

    def __init__(self) -> None:
        self._refused: list[Loaded] = []

    def open(self, stream: int, path: str, rate_hz: int, loops: int) -> None:
        del path, rate_hz, loops
        self._refused.append(Loaded(stream, NOTHING, problem="not_found"))

    def more(self, stream: int) -> None:
        """Nothing comes."""

    def close(self, stream: int) -> None:
        """Nothing is open."""

    def take(self) -> list[Loaded]:
        refused, self._refused = self._refused, []
        return refused


class _Play(NamedTuple):
    """An item on a line and who asked for it."""

    asked: MediaPlay | MediaPlayControl
    line: int
    stream: Stream | None = None
    """Where it is read from a file."""


class Studio:
    """`act` on a request gives the reason of a refusal, or nothing; `tick` does what the tick found."""

    def __init__(
        self,
        engine: Engine,
        library: Library,
        taping: Taping,
        calls: Mapping[str, Call],
        rooms: RoomNumbers,
        out: Effects,
    ) -> None:
        self._engine = engine
        self._lines = engine.lines
        self._playback = engine.lines.playback
        self._library = library
        self._taping = taping
        self._calls = calls
        self._rooms = rooms
        self._out = out
        self._plays: dict[int, _Play] = {}
        """By item."""
        self._coming: set[int] = set()
        """Streams of which more is on the way."""
        self._told = 0
        self._holding: dict[str, str] = {}
        """Who holds, and who hears music for it."""

    def act(self, message: MediaRequest) -> str:
        """Carries a request out."""
        try:
            self._ACTS[type(message)](self, message)
        except Refused as refused:
            return refused.reason
        return ""

    def tick(self) -> None:
        """After a tick of the engine: what was played is told, what is needed is asked for, what came is queued."""
        if not self._plays:
            return
        for loaded in self._library.take():
            self._feed(loaded)
        hungry = self._playback.hungry
        for item in [item for item in hungry if item not in self._coming]:
            play = self._plays.get(item)
            stream = play.stream if play else None
            if stream and not stream.complete and stream.waiting_samples < LOW_WATER_SAMPLES:
                self._coming.add(item)
                self._library.more(item)
            hungry.discard(item)
        self.settle()

    def settle(self) -> None:
        """What was played is told."""
        for event in self._playback.take_events():
            self._happened(event)

    # --- playing

    def _play(self, message: MediaPlay) -> None:
        line, frame = self._place(message)
        gain = _ratio(message.gain_db, *GAIN_DB)
        depth = _ratio(-message.duck_db, -DUCK_DB[1], DUCK_DB[0])
        path, rate_hz = file_path(message.source, message.loops), frame * 1_000 // TICK_MS
        stream = Stream() if path else None
        source: Source = stream or source_of(message.source, message.loops, rate_hz)
        if gain != 1:
            source = Louder(source, gain)
        begins = not self._playback.frame(line)
        item = self._playback.add(line, source, frame=frame, streams=stream is not None)
        self._plays[item] = _Play(message, line, stream)
        if message.line == "background":
            self._lines.duck(line, depth, begins=begins)
        if stream:
            self._coming.add(item)
            self._library.open(item, path, rate_hz, message.loops)

    def _control(self, message: MediaPlayControl) -> None:
        line, frame = self._place(message)
        if message.action == "mark":
            item = self._playback.add(line, None, frame=frame)
            self._plays[item] = _Play(message, line)
        elif message.action == "flush":
            self._playback.flush(line, self._named(line, message.play_id) if message.play_id else 0)
        elif message.action == "skip":
            self._playback.flush(line, self._current(line))
        else:
            self._halt(message, line)

    def _halt(self, message: MediaPlayControl, line: int) -> None:
        item = self._playback.current(line)
        playing = self._plays[item].asked.play_id if item else ""
        samples = self._playback.played(line, item) if item else 0
        if message.action == "pause":
            self._tell(message, "paused", playing, samples, self._playback.pause(line))
        else:
            self._tell(message, "resumed", playing, samples, self._playback.resume(line))

    def _current(self, line: int) -> int:
        item = self._playback.current(line)
        if not item:
            raise Refused("unknown_play")
        return item

    def _named(self, line: int, play_id: str) -> int:
        for item, play in self._plays.items():
            if play.line == line and play.asked.play_id == play_id and isinstance(play.asked, MediaPlay):
                return item
        raise Refused("unknown_play")

    def _place(self, message: MediaPlay | MediaPlayControl) -> tuple[int, int]:
        """The line that is meant and the samples of its frames."""
        if message.call_id:
            row = self._row(message.call_id)
            return self._lines.of_leg(row, message.line), self._lines.frame_of_leg(row)
        number = self._rooms.find(message.tenant, message.room_id)
        if number is None or not self._engine.has_room(number):
            raise Refused("unknown_room")
        return self._lines.of_room(number, message.line), ROOM_FRAME

    def _row(self, call_id: str) -> int:
        call = self._calls.get(call_id)
        if call is None:
            raise Refused("unknown_call")
        return call.row

    def _feed(self, loaded: Loaded) -> None:
        self._coming.discard(loaded.stream)
        play = self._plays.get(loaded.stream)
        if play is None or play.stream is None or not isinstance(play.asked, MediaPlay):
            return
        if loaded.problem:
            position = self._playback.position(play.line)
            samples = self._playback.played(play.line, loaded.stream)
            self._plays[loaded.stream] = play._replace(stream=None)
            self._playback.flush(play.line, loaded.stream)
            self._tell(play.asked, "failed", play.asked.play_id, samples, position, loaded.problem)
            return
        if loaded.whole:
            play.stream.bring(loaded.pcm, play.asked.loops)
        else:
            play.stream.feed(loaded.pcm)
            if loaded.last:
                play.stream.finish()
        self._playback.fed(play.line)

    def _happened(self, event: PlaybackEvent) -> None:
        play = self._plays.get(event.item)
        if play is None:
            return
        if event.what is not Happening.STARTED:
            del self._plays[event.item]
            self._coming.discard(event.item)
        failed = (
            isinstance(play.asked, MediaPlay) and play.asked.source.kind == "file" and play.stream is None
        )
        if not failed:
            what: Played = event.what.value
            self._tell(play.asked, what, play.asked.play_id, event.samples, event.position, frame=event.frame)
        if event.what in {Happening.FINISHED, Happening.FLUSHED} and play.stream:
            self._library.close(event.item)

    def _tell(
        self, asked: MediaPlay | MediaPlayControl, what: Played, play_id: str, samples: int, position: int,
        reason: str = "", frame: int = 0,
    ) -> None:  # fmt: skip
        """`frame`: of the line at that time; 0: as it is now."""
        self._told += 1
        self._out.add(Count("voicefarm_play", (what,)))
        call = self._calls.get(asked.call_id)
        frame = frame or (self._lines.frame_of_leg(call.row) if call else ROOM_FRAME)
        mark = asked.mark if isinstance(asked, MediaPlayControl) else ""
        rate_hz = frame * 1_000 // TICK_MS
        if asked.reply_to:
            self._out.add(Send(asked.reply_to, MediaPlayed(
                msg_id=f"{asked.msg_id}-{self._told}", what=what, call_id=asked.call_id, tenant=asked.tenant,
                room_id=asked.room_id, line=asked.line, play_id=play_id, mark=mark, samples=samples,
                position_samples=position, rate_hz=rate_hz, reason=reason,
            )))  # fmt: skip
        if asked.call_id:
            self._out.add(Note(asked.call_id, "play", {
                "play_id": play_id, "what": what, "line": asked.line, "mark": mark, "samples": samples,
                "position_samples": position, "rate_hz": rate_hz, "reason": reason,
            }))  # fmt: skip

    # --- music while the other one holds

    def hold(self, call: Call) -> None:
        """A call was updated. Where its application asks for `hold_music` and two are in the room, the other one hears
        that file for as long as this one holds us.
        """
        path = call.opened.app.options.get("hold_music")
        if not isinstance(path, str):
            return
        holds = not self._engine.rows.sends[call.row]
        if not holds or call.call_id in self._holding:
            if not holds:
                self.leave(call)
            return
        rows = self._engine.rows
        room = int(rows.room[call.row])
        others = [c for c in self._calls.values() if c is not call and room >= 0 and rows.room[c.row] == room]
        if len(others) == 1:
            asked = MediaPlay(
                msg_id=f"hold-{call.call_id}", reply_to="", play_id=f"hold-{call.call_id}", loops=0,
                call_id=others[0].call_id, line="background", source=MediaSource(kind="file", path=path),
            )  # fmt: skip
            if not self.act(asked):
                self._holding[call.call_id] = others[0].call_id

    def leave(self, call: Call) -> None:
        """It holds no more, or is over: the music ends."""
        other = self._calls.get(self._holding.pop(call.call_id, ""))
        if other:
            line = self._lines.of_leg(other.row, "background")
            with contextlib.suppress(Refused):
                self._playback.flush(line, self._named(line, f"hold-{call.call_id}"))

    # --- taking part in a room

    def _mix(self, message: MediaMix) -> None:
        row = self._row(message.call_id)
        rows = self._engine.rows
        # All that may be refused first: a request is carried out whole or not at all.
        voice = None if message.gain_db is None else _ratio(message.gain_db, *GAIN_DB)
        to = None if message.whisper_to is None else self._confidant(message.call_id, message.whisper_to)
        said: dict[str, Any] = {}
        if voice is not None:
            rows.voice[row] = voice
            said["gain_db"] = message.gain_db
        if to is not None:
            rows.whisper_to[row] = to
            said["whisper_to"] = message.whisper_to
        if message.mute is not None:
            rows.muted[row] = said["mute"] = message.mute
        if message.deaf is not None:
            rows.deaf[row] = said["deaf"] = message.deaf
        self._engine.take_part(row)
        self._out.add(Note(message.call_id, "mix", said))

    def _confidant(self, call_id: str, to: str) -> int:
        if not to:
            return -1
        row, own = self._row(to), self._row(call_id)
        rows = self._engine.rows
        if row == own or rows.room[own] < 0 or rows.room[own] != rows.room[row]:
            raise Refused("bad_request", f"{to} is not in the room")
        return row

    def _record(self, message: MediaRecord) -> None:
        refusal = self._taping.act(message.call_id, self._row(message.call_id), message.action)
        if refusal:
            raise Refused(refusal)

    _ACTS: ClassVar[dict[type, Callable[["Studio", Any], None]]] = {
        MediaPlay: _play,
        MediaPlayControl: _control,
        MediaMix: _mix,
        MediaRecord: _record,
    }


def _ratio(db: float, least: float, most: float) -> float:
    """Decibels as a factor; raises Refused where they are not within bounds."""
    if not least <= db <= most:
        raise Refused("bad_request", f"{db} dB")
    return float(10 ** (db / 20))
