"""What the caller is saying: the current utterance as frames for an STT worker, kept so that another can have it again.

An utterance has the rate of its leg when it began, 8 or 16 kHz, to its end.

One `Utterance` per call that listens. It is bounded by the longest utterance the engine lets through (I6) and forgets
what was said once it is aborted or the next one starts. It must not know workers or epochs beyond passing them on.
"""

from typing import NamedTuple

import numpy as np

from mediaworker.core.calls.rates import AtRate
from shared.contracts import Mark, UtteranceFrame
from shared.units import BYTES_PER_SAMPLE, NARROWBAND_HZ, ms_to_samples, samples_to_ms

_SLACK_MS = 1_000
"""Above the engine's own limit: the frames between its decision and the end mark."""

_OVER = (Mark.END, Mark.ABORT)
"""A tuple: it is asked for every frame, and a member of an enumeration is slow to hash."""
_AUDIO = Mark.AUDIO
"""Members are slow to look up, too."""


class Utterance:
    """The newest utterance of one call; `turn` -1 before the first."""

    __slots__ = (
        "_bound", "_bound_ms", "_call_id", "_octets", "_pcm", "_silence_ms", "_stream", "dropped", "ended_ns", "mark", "turn",
    )  # fmt: skip

    def __init__(self, call_id: str, max_ms: int, pre_roll_ms: int) -> None:
        self._call_id = call_id
        self._bound_ms = max_ms + pre_roll_ms + _SLACK_MS
        self._bound = 0
        self._stream = AtRate(NARROWBAND_HZ)
        self._pcm: list[bytes] = []
        """As it came: what grows is short, and nothing is copied."""
        self._octets = 0
        self._silence_ms = 0
        self.turn = -1
        self.mark = Mark.ABORT
        """The last mark that was not plain audio; ABORT also before the first utterance."""
        self.ended_ns = -1
        self.dropped = 0
        """Frames beyond the bound; they are neither kept nor sent."""

    @property
    def is_open(self) -> bool:
        """Whether more audio of it is to come."""
        return self.mark not in _OVER

    @property
    def rate_hz(self) -> int:
        return self._stream.rate_hz

    @property
    def samples(self) -> int:
        return self._octets // BYTES_PER_SAMPLE

    @property
    def ms(self) -> int:
        """How long it is."""
        return round(samples_to_ms(self.samples, self.rate_hz))

    @property
    def pcm(self) -> bytes:
        return b"".join(self._pcm)

    def start(self, epoch: int, turn: int, pcm: bytes, rate_hz: int = NARROWBAND_HZ) -> UtteranceFrame:
        """Begins an utterance with its pre-roll; what was kept of the one before is gone."""
        self._pcm, self._octets = [pcm], len(pcm)
        self._stream = AtRate(rate_hz)
        self._bound = ms_to_samples(self._bound_ms, rate_hz) * BYTES_PER_SAMPLE
        self.turn, self.mark, self.ended_ns, self._silence_ms = turn, Mark.START, -1, 0
        return UtteranceFrame(self._call_id, epoch, turn, 0, Mark.START, pcm)

    def listen(self, epoch: int, pcm: bytes, rate_hz: int) -> UtteranceFrame | None:
        """`audio` of a leg that may have changed its rate since the utterance began."""
        if rate_hz != self._stream.rate_hz and self.is_open:
            pcm = self._stream.feed(np.frombuffer(pcm, np.int16), rate_hz).tobytes()
        return self.audio(epoch, pcm)

    def audio(self, epoch: int, pcm: bytes) -> UtteranceFrame | None:
        """Some more audio at `rate_hz`, or None where there is no open utterance or it is full."""
        if self.mark in _OVER:
            return None
        octets = self._octets
        after = octets + len(pcm)
        if after > self._bound:
            self.dropped += 1
            return None
        self._octets = after
        self._pcm.append(pcm)
        return UtteranceFrame(self._call_id, epoch, self.turn, octets // BYTES_PER_SAMPLE, _AUDIO, pcm)

    def note(self, epoch: int, mark: Mark, silence_ms: int, now_ns: int) -> UtteranceFrame:
        """PAUSE, RESUME, END or ABORT at the present end of the audio."""
        self.mark, self._silence_ms = mark, silence_ms
        if mark is Mark.END:
            self.ended_ns = now_ns
        if mark is Mark.ABORT:
            self._clear()
        return self._marked(epoch, mark)

    def forget(self) -> None:
        """The reply has begun: nobody will ask for this utterance again."""
        self._clear()
        self.mark = Mark.ABORT

    def again(self, epoch: int) -> list[UtteranceFrame]:
        """The whole utterance for a worker that has not heard it: from START, with its present mark."""
        if self.mark is Mark.ABORT:
            return []
        frames = [UtteranceFrame(self._call_id, epoch, self.turn, 0, Mark.START, self.pcm)]
        if self.mark in {Mark.PAUSE, Mark.END}:
            frames.append(self._marked(epoch, self.mark))
        return frames

    def _clear(self) -> None:
        self._pcm, self._octets = [], 0

    def _marked(self, epoch: int, mark: Mark) -> UtteranceFrame:
        return UtteranceFrame(self._call_id, epoch, self.turn, self.samples, mark, b"", self._silence_ms)


class Ear(NamedTuple):
    """Where the frames of a speaking caller go for as long as nothing else happens to the call."""

    utterance: Utterance
    epoch: int
    worker: str
    """Of speech to text."""
