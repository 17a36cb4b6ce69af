"""Where the time of a turn went: the waterfall from the caller's last loud packet to the first packet of the reply.

Each stage is a duration that one process measured on its own clock (`StageTimes`); this worker measured the whole on
its own. What the stages do not explain is the bus and the queues between them. No clock is compared between hosts.
"""

from typing import NamedTuple

from shared.contracts import StageTimes
from shared.units import NS_PER_MS

NOT_KNOWN = -1.0


class TurnLatency(NamedTuple):
    """Milliseconds; -1 where a stage did not happen. The fields are the data of the event `turn.latency`."""

    turn: int
    endpoint_ms: float
    stt_wait_ms: float
    stt_decode_ms: float
    llm_first_token_ms: float
    llm_first_segment_ms: float
    tts_first_frame_ms: float
    bus_ms: float
    voice_to_voice_ms: float


class Ledger:
    """One call's turns; it keeps only the one that waits for its reply."""

    __slots__ = ("_decided_ns", "_last_loud_ns", "_times", "_turn", "last_voice_to_voice_ms")

    def __init__(self) -> None:
        self._turn = -1
        self._last_loud_ns = 0
        self._decided_ns = 0
        self._times = StageTimes()
        self.last_voice_to_voice_ms = NOT_KNOWN

    def speech_ended(self, turn: int, last_loud_ns: int, now_ns: int) -> None:
        """The endpoint of `turn` was decided now; its last loud packet had arrived at `last_loud_ns`."""
        self._turn, self._last_loud_ns, self._decided_ns = turn, last_loud_ns, now_ns
        self._times = StageTimes()

    def stages(self, turn: int, times: StageTimes) -> None:
        """What the AI workers measured for `turn`; it comes with the first audio."""
        if turn == self._turn:
            self._times = times

    def first_packet(self, turn: int, at_ns: int) -> TurnLatency | None:
        """The first packet of the reply to `turn` left at `at_ns`; None for a reply that nobody asked for."""
        if turn != self._turn:
            return None
        self._turn = -1
        whole = (at_ns - self._last_loud_ns) / NS_PER_MS
        endpoint = (self._decided_ns - self._last_loud_ns) / NS_PER_MS
        t = self._times
        # The first token lies inside the time to the first sentence, so it is not summed.
        stages = (t.stt_wait_ms, t.stt_decode_ms, t.llm_first_segment_ms, t.tts_first_frame_ms)
        explained = endpoint + sum(stage for stage in stages if stage > 0)
        self.last_voice_to_voice_ms = whole
        return TurnLatency(
            turn, endpoint, t.stt_wait_ms, t.stt_decode_ms, t.llm_first_token_ms, t.llm_first_segment_ms,
            t.tts_first_frame_ms, max(0.0, whole - explained), whole,
        )  # fmt: skip
