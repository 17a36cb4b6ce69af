"""From audio frames to transcripts: what each call says now, when it is decoded, and which result counts.

Speculation: the media worker's PAUSE starts a decode, RESUME voids it, and END uses it when it already covers the
utterance up to its trailing silence, so that a final costs nothing after the endpoint. Fencing: frames of an older
epoch or of a closed turn are dropped where they are met (I4); a START with a higher epoch replaces the utterance, for
the media worker sent its ring again. The audio stream is lossy: what is missing becomes silence, and an END that got
lost is concluded from the absence of frames. It reads no clock and decodes nothing; the tables below are the machine.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import Literal

import numpy as np

from aiworker.core.batcher import Job, Priority
from aiworker.stt.port import Hypothesis, Utterance
from shared.contracts import Mark, SttAttach, SttDetach, Transcript, UtteranceFrame
from shared.units import BYTES_PER_SAMPLE, NS_PER_MS, NS_PER_S, TICK_MS, ms_to_samples, samples_to_ms

LONGEST_MS = 29_500
"""Whisper's window is 30 s. The media worker ends an utterance well before; what comes after this is not kept."""

SILENT_NS = 4 * NS_PER_S
"""An open utterance without a frame for this long has lost its END: endpoints are found within 2.5 s."""

EARLY_NS = 2 * NS_PER_S
"""How long frames wait for the SttAttach that travels on another stream."""

EARLY_CALLS = 64
EARLY_FRAMES = 512

LINGER_NS = NS_PER_S // 2
"""How long a detached call stays for an END that travels on another stream."""

MEDIA_GONE_NS = 10 * NS_PER_S
"""A call whose media worker has had no lease for this long is gone: it was attached elsewhere, or it ended (I1)."""


QUIET_NS = 30 * NS_PER_S
"""A call of which nothing was heard for this long is asked for in the registry: its end may have been lost with Redis."""


class Step(Enum):
    """Where an utterance is."""

    LISTENING = auto()
    PAUSED = auto()  # a speculative decode is on its way
    GUESSED = auto()  # and is done
    AWAITING = auto()  # END came first; the speculation will be the final
    DECODING = auto()  # END came; the final decode is on its way
    GONE = auto()


class Happening(Enum):
    """What moves an utterance."""

    AUDIO = auto()
    PAUSE = auto()
    RESUME = auto()
    END = auto()  # the speculation, if there is one, does not cover all that was said
    END_COVERED = auto()  # it does
    ABORT = auto()
    DECODED = auto()
    LOST = auto()  # the decode was dropped or failed


class Deed(Enum):
    """What is done on the way."""

    SPECULATE = auto()
    DECODE = auto()
    VOID = auto()
    HASTEN = auto()
    OFFER = auto()
    CONFIRM = auto()
    GIVE_UP = auto()


_S, _H, _D = Step, Happening, Deed

TABLE: dict[Step, dict[Happening, tuple[Step, tuple[Deed, ...]]]] = {
    _S.LISTENING: {
        _H.AUDIO: (_S.LISTENING, ()),
        _H.PAUSE: (_S.PAUSED, (_D.SPECULATE,)),
        _H.RESUME: (_S.LISTENING, ()),
        _H.END: (_S.DECODING, (_D.DECODE,)),
        _H.ABORT: (_S.GONE, ()),
    },
    _S.PAUSED: {
        _H.AUDIO: (_S.PAUSED, ()),
        _H.PAUSE: (_S.PAUSED, (_D.VOID, _D.SPECULATE)),
        _H.RESUME: (_S.LISTENING, (_D.VOID,)),
        _H.END: (_S.DECODING, (_D.VOID, _D.DECODE)),
        _H.END_COVERED: (_S.AWAITING, (_D.HASTEN,)),
        _H.ABORT: (_S.GONE, (_D.VOID,)),
        _H.DECODED: (_S.GUESSED, (_D.OFFER,)),
        _H.LOST: (_S.LISTENING, (_D.VOID,)),
    },
    _S.GUESSED: {
        _H.AUDIO: (_S.GUESSED, ()),
        _H.PAUSE: (_S.PAUSED, (_D.VOID, _D.SPECULATE)),
        _H.RESUME: (_S.LISTENING, (_D.VOID,)),
        _H.END: (_S.DECODING, (_D.VOID, _D.DECODE)),
        _H.END_COVERED: (_S.GONE, (_D.CONFIRM,)),
        _H.ABORT: (_S.GONE, (_D.VOID,)),
    },
    _S.AWAITING: {
        _H.ABORT: (_S.GONE, (_D.VOID,)),
        _H.DECODED: (_S.GONE, (_D.CONFIRM,)),
        _H.LOST: (_S.DECODING, (_D.DECODE,)),
    },
    _S.DECODING: {
        _H.ABORT: (_S.GONE, (_D.VOID,)),
        _H.DECODED: (_S.GONE, (_D.CONFIRM,)),
        _H.LOST: (_S.GONE, (_D.GIVE_UP,)),
    },
}

_OPEN = {Step.LISTENING, Step.PAUSED, Step.GUESSED}
_MARKED = {
    Mark.START: Happening.AUDIO,
    Mark.AUDIO: Happening.AUDIO,
    Mark.PAUSE: Happening.PAUSE,
    Mark.RESUME: Happening.RESUME,
    Mark.ABORT: Happening.ABORT,
}


@dataclass(frozen=True, slots=True)
class Decode:
    """Give this to the batcher."""

    job: Job


@dataclass(frozen=True, slots=True)
class Void:
    """Whatever waits for this turn is not wanted."""

    call_id: str
    turn: int


@dataclass(frozen=True, slots=True)
class Hasten:
    """The endpoint came: this speculative job is now the final."""

    job_id: int


@dataclass(frozen=True, slots=True)
class Say:
    """A transcript for the dialogue; finals are for the call's event log too."""

    transcript: Transcript
    llm: str


Effect = Decode | Void | Hasten | Say
Loss = Literal["gap", "late", "unattached", "overlong", "malformed", "full", "silent"]


@dataclass(slots=True, eq=False)
class _Spoken:
    """One utterance while it is heard and decoded."""

    epoch: int
    turn: int
    rate_hz: int
    heard_ns: int
    step: Step = Step.LISTENING
    audio: bytearray = field(default_factory=bytearray)
    job_id: int = 0
    paused_samples: int = -1
    ended_ns: int = 0
    guess: Hypothesis | None = None
    wait_ms: float = 0.0
    decode_ms: float = 0.0

    @property
    def samples(self) -> int:
        return len(self.audio) // BYTES_PER_SAMPLE


@dataclass(slots=True, eq=False)
class _Lane:
    """One attached call."""

    attach: SttAttach
    epoch: int = -1
    """Highest epoch of a frame: what is below comes from a media worker that lost the call."""
    closed: tuple[int, int] = (-1, -1)
    """Epoch and turn of the last utterance that is no longer open."""
    open: _Spoken | None = None
    ended: list[_Spoken] = field(default_factory=list)
    leaving_ns: int = 0
    media_gone_ns: int = 0
    alive_ns: int = 0
    """When it was last heard, attached or found in the registry."""
    unknown: int = 0
    """Checks in a row in which the registry did not know it."""


@dataclass(slots=True)
class _Early:
    since_ns: int
    frames: list[tuple[int, UtteranceFrame]] = field(default_factory=list)


class Utterances:
    """Every call on this worker. Methods return what is to be done; `losses` counts what went wrong, by reason."""

    def __init__(self, *, capacity: int, bucket: Callable[[Utterance], Hashable]) -> None:
        self._capacity = capacity
        self._bucket = bucket
        self._lanes: dict[str, _Lane] = {}
        self._early: dict[str, _Early] = {}
        self._owners: dict[int, tuple[_Lane, _Spoken]] = {}
        self._ids = count(1)
        self.losses: Counter[Loss] = Counter()
        self._deeds: dict[Deed, Callable[[_Lane, _Spoken, int], list[Effect]]] = {
            Deed.SPECULATE: self._speculate,
            Deed.DECODE: self._decode,
            Deed.VOID: self._void,
            Deed.HASTEN: self._hasten,
            Deed.OFFER: self._offer,
            Deed.CONFIRM: self._confirm,
            Deed.GIVE_UP: self._give_up,
        }

    def calls(self) -> int:
        """Attached calls, and detached ones whose last words are being decoded."""
        return len(self._lanes)

    # --- messages

    def attach(self, message: SttAttach, now_ns: int) -> list[Effect]:
        """A call comes, or is told a new epoch or dialogue worker: then its utterance goes on."""
        lane = self._lanes.get(message.call_id)
        if lane is None:
            if len(self._lanes) >= self._capacity:
                self.losses["full"] += 1
                return []
            lane = self._lanes[message.call_id] = _Lane(message)
        elif message.epoch >= lane.attach.epoch:
            lane.attach = message
            lane.leaving_ns = lane.media_gone_ns = 0
        lane.alive_ns, lane.unknown = now_ns, 0
        early = self._early.pop(message.call_id, None)
        effects: list[Effect] = []
        for rate_hz, frame in early.frames if early else ():
            effects += self.frame(rate_hz, frame, now_ns)
        return effects

    def detach(self, message: SttDetach, now_ns: int) -> None:
        """The call is over; after `LINGER_NS` its last words are taken as they are, then it is forgotten."""
        self._early.pop(message.call_id, None)
        lane = self._lanes.get(message.call_id)
        if lane is not None and not lane.leaving_ns:
            lane.leaving_ns = now_ns

    def frame(self, rate_hz: int, frame: UtteranceFrame, now_ns: int) -> list[Effect]:
        """One frame of the audio stream."""
        if frame.offset < 0 or frame.turn < 0 or len(frame.pcm) % BYTES_PER_SAMPLE:
            self.losses["malformed"] += 1
            return []
        lane = self._lanes.get(frame.call_id)
        if lane is None:
            self._keep_early(rate_hz, frame, now_ns)
            return []
        lane.alive_ns, lane.unknown = now_ns, 0
        spoken, effects = self._place(lane, rate_hz, frame, now_ns)
        if spoken is None:
            self.losses["late"] += 1
            return effects
        lane.epoch = max(lane.epoch, frame.epoch)
        spoken.heard_ns = now_ns
        self._append(spoken, frame)
        return effects + self._happen(lane, spoken, _happening(spoken, frame), now_ns)

    # --- results

    def decoded(self, job_id: int, hypothesis: Hypothesis, started_ns: int, done_ns: int) -> list[Effect]:
        """The model's answer to a job; nothing follows when the job was voided meanwhile."""
        lane, spoken = self._owners.pop(job_id, (None, None))
        if lane is None or spoken is None:
            return []
        # Only what comes after the endpoint is felt by the caller; a guess that is ready before it costs nothing.
        since_ns = spoken.ended_ns or done_ns
        spoken.guess = hypothesis
        spoken.wait_ms = max(0, started_ns - since_ns) / NS_PER_MS
        spoken.decode_ms = max(0, done_ns - max(started_ns, since_ns)) / NS_PER_MS
        return self._happen(lane, spoken, Happening.DECODED, done_ns)

    def lost(self, job_id: int, now_ns: int) -> list[Effect]:
        """A job was dropped for its age or for want of room, or its decode failed."""
        lane, spoken = self._owners.pop(job_id, (None, None))
        if lane is None or spoken is None:
            return []
        return self._happen(lane, spoken, Happening.LOST, now_ns)

    # --- time

    def expire(self, now_ns: int) -> list[Effect]:
        """Concludes what nobody will conclude; to be called a few times per second."""
        effects: list[Effect] = []
        for lane in self._lanes.values():
            spoken = lane.open
            if spoken is not None and now_ns - spoken.heard_ns > SILENT_NS:
                self.losses["silent"] += 1
                effects += self._happen(lane, spoken, _unheard_end(spoken), now_ns)
        for call_id, lane in list(self._lanes.items()):
            if lane.leaving_ns and now_ns - lane.leaving_ns > LINGER_NS:
                effects += self._leave(call_id, lane, now_ns)
        for call_id, early in list(self._early.items()):
            if now_ns - early.since_ns > EARLY_NS:
                self.losses["unattached"] += len(early.frames)
                del self._early[call_id]
        return effects

    def media_alive(self, workers: Collection[str], now_ns: int) -> None:
        """Detaches the calls of media workers that have been without a lease for `MEDIA_GONE_NS`."""
        for lane in self._lanes.values():
            if lane.attach.media in workers:
                lane.media_gone_ns = 0
            elif not lane.media_gone_ns:
                lane.media_gone_ns = now_ns
            elif now_ns - lane.media_gone_ns > MEDIA_GONE_NS and not lane.leaving_ns:
                lane.leaving_ns = now_ns

    def quiet(self, now_ns: int) -> list[str]:
        """Calls that should be asked for in the registry; `checked` takes the answer."""
        lanes = self._lanes.items()
        return [c for c, lane in lanes if now_ns - lane.alive_ns > QUIET_NS and not lane.leaving_ns]

    def checked(self, call_id: str, now_ns: int, *, known: bool) -> None:
        """The registry was asked for a quiet call. Once may be a Redis that is just being told again."""
        lane = self._lanes.get(call_id)
        if lane is None or now_ns - lane.alive_ns <= QUIET_NS:
            return
        lane.alive_ns = now_ns
        lane.unknown = 0 if known else lane.unknown + 1
        if lane.unknown > 1 and not lane.leaving_ns:
            lane.leaving_ns = now_ns

    # --- frames

    def _keep_early(self, rate_hz: int, frame: UtteranceFrame, now_ns: int) -> None:
        early = self._early.get(frame.call_id)
        if early is None and len(self._early) < EARLY_CALLS:
            early = self._early[frame.call_id] = _Early(now_ns)
        if early is None or len(early.frames) >= EARLY_FRAMES:
            self.losses["unattached"] += 1
            return
        early.frames.append((rate_hz, frame))

    def _place(
        self, lane: _Lane, rate_hz: int, frame: UtteranceFrame, now_ns: int
    ) -> tuple[_Spoken | None, list[Effect]]:
        """The utterance a frame belongs to, None when it is too late; opens and replaces utterances."""
        spoken = lane.open
        here = (frame.epoch, frame.turn)
        if frame.epoch < lane.epoch:
            return None, []
        resent = frame.mark is Mark.START and frame.epoch > (spoken.epoch if spoken else lane.closed[0])
        if spoken is not None and spoken.turn == frame.turn and not resent:
            return (spoken if spoken.rate_hz == rate_hz else None), []
        known = max((spoken.turn if spoken else -1), lane.closed[1])
        if frame.turn <= known and not resent:
            return None, []
        if spoken is None and frame.mark is Mark.ABORT:
            lane.closed = max(lane.closed, here)
            return None, []
        effects = self._replace(lane, frame.turn, now_ns)
        lane.open = _Spoken(frame.epoch, frame.turn, rate_hz, now_ns)
        return lane.open, effects

    def _replace(self, lane: _Lane, turn: int, now_ns: int) -> list[Effect]:
        """Makes room for a new utterance of `turn`: the same turn again is voided, another one's END was lost."""
        effects: list[Effect] = []
        for again in [spoken for spoken in lane.ended if spoken.turn == turn]:
            effects += self._happen(lane, again, Happening.ABORT, now_ns)
        spoken = lane.open
        if spoken is not None:
            missed = Happening.ABORT if spoken.turn >= turn else _unheard_end(spoken)
            self.losses["silent"] += missed is not Happening.ABORT
            effects += self._happen(lane, spoken, missed, now_ns)
        return effects

    def _append(self, spoken: _Spoken, frame: UtteranceFrame) -> None:
        at = frame.offset * BYTES_PER_SAMPLE
        limit = ms_to_samples(LONGEST_MS, spoken.rate_hz) * BYTES_PER_SAMPLE
        missing = min(at, limit) - len(spoken.audio)
        if missing > 0:
            self.losses["gap"] += 1
            spoken.audio.extend(bytes(missing))
        fresh = frame.pcm[len(spoken.audio) - at :] if at < len(spoken.audio) else frame.pcm
        kept = fresh[: max(0, limit - len(spoken.audio))]
        if len(kept) < len(fresh):
            self.losses["overlong"] += 1
        if frame.pcm and not fresh:
            self.losses["late"] += 1
        spoken.audio.extend(kept)

    # --- the machine

    def _happen(self, lane: _Lane, spoken: _Spoken, happening: Happening, now_ns: int) -> list[Effect]:
        step, deeds = TABLE[spoken.step][happening]
        if happening in {Happening.END, Happening.END_COVERED}:
            spoken.ended_ns = now_ns
        effects: list[Effect] = []
        for deed in deeds:
            effects += self._deeds[deed](lane, spoken, now_ns)
        spoken.step = step
        if spoken is lane.open and step not in _OPEN:
            lane.open = None
            lane.closed = (spoken.epoch, spoken.turn)
            lane.ended.append(spoken)
        if step is Step.GONE:
            lane.ended.remove(spoken)
        return effects

    def _speculate(self, lane: _Lane, spoken: _Spoken, now_ns: int) -> list[Effect]:
        spoken.paused_samples = spoken.samples
        return self._queue(lane, spoken, Priority.SPECULATIVE, now_ns)

    def _decode(self, lane: _Lane, spoken: _Spoken, now_ns: int) -> list[Effect]:
        return self._queue(lane, spoken, Priority.FINAL, now_ns)

    def _queue(self, lane: _Lane, spoken: _Spoken, priority: Priority, now_ns: int) -> list[Effect]:
        call = lane.attach
        said = Utterance(
            np.frombuffer(bytes(spoken.audio), np.int16), spoken.rate_hz, call.language, tuple(call.hotwords),
            tuple(call.grammar),
        )  # fmt: skip
        spoken.job_id = next(self._ids)
        self._owners[spoken.job_id] = (lane, spoken)
        return [
            Decode(Job(spoken.job_id, call.call_id, spoken.turn, priority, said, self._bucket(said), now_ns))
        ]

    def _void(self, lane: _Lane, spoken: _Spoken, _now_ns: int) -> list[Effect]:
        self._owners.pop(spoken.job_id, None)
        spoken.guess = None
        spoken.paused_samples = -1
        return [Void(lane.attach.call_id, spoken.turn)]

    def _hasten(self, _lane: _Lane, spoken: _Spoken, _now_ns: int) -> list[Effect]:
        return [Hasten(spoken.job_id)]

    def _offer(self, lane: _Lane, spoken: _Spoken, _now_ns: int) -> list[Effect]:
        return [_say(lane, spoken, "speculative")]

    def _confirm(self, lane: _Lane, spoken: _Spoken, _now_ns: int) -> list[Effect]:
        return [_say(lane, spoken, "final")]

    def _give_up(self, lane: _Lane, spoken: _Spoken, _now_ns: int) -> list[Effect]:
        """An empty final: the dialogue must not wait for words that will not come."""
        spoken.guess = Hypothesis("", problem="failed")
        return [_say(lane, spoken, "final")]

    def _leave(self, call_id: str, lane: _Lane, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        if lane.open is not None:
            effects += self._happen(lane, lane.open, _unheard_end(lane.open), now_ns)
        if not lane.ended:
            del self._lanes[call_id]
        return effects


def _happening(spoken: _Spoken, frame: UtteranceFrame) -> Happening:
    if frame.mark is not Mark.END:
        return _MARKED[frame.mark]
    if spoken.step is Step.LISTENING or frame.silence_ms <= 0:
        return Happening.END
    # The marks may have been lost with their frames; the silence at the end says how much of the audio was speech.
    speech = spoken.samples - ms_to_samples(frame.silence_ms + TICK_MS, spoken.rate_hz)
    return Happening.END_COVERED if speech <= spoken.paused_samples else Happening.END


def _unheard_end(spoken: _Spoken) -> Happening:
    """The END of an utterance that got none: after a PAUSE without RESUME its speculation is all there is."""
    return Happening.END if spoken.step is Step.LISTENING else Happening.END_COVERED


def _say(lane: _Lane, spoken: _Spoken, kind: Literal["speculative", "final"]) -> Say:
    guess = spoken.guess or Hypothesis("")
    call = lane.attach
    waited = spoken.wait_ms, spoken.decode_ms
    transcript = Transcript(
        call_id=call.call_id, epoch=max(call.epoch, spoken.epoch), turn=spoken.turn, kind=kind, text=guess.text,
        confidence=guess.confidence, audio_ms=round(samples_to_ms(spoken.samples, spoken.rate_hz)),
        wait_ms=waited[0], decode_ms=waited[1],
    )  # fmt: skip
    return Say(transcript, call.llm)
