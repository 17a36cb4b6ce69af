"""The audio side of a caller: G.711 packets out on a 20 ms grid, what comes in placed on one timeline. No I/O.

Like a telephone it sends without a pause, silence included, so that a farm behind NAT finds it. Both directions end up
in one stereo recording: left what was sent, right what was heard, by RTP time from the first packet's arrival
(RFC 3550 section 5.1, RFC 3551, RFC 4733). It conceals nothing: a hole stays a hole and is counted.
"""

import struct
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mediaworker.core.g711 import A_LAW, MU_LAW, Law
from shared.units import FRAME_SAMPLES, NARROWBAND_HZ, NS_PER_MS, NS_PER_S, TICK_MS
from voicefarm.core.offer import Remote

Samples = npt.NDArray[np.int16]

TICK_NS = TICK_MS * NS_PER_MS
RECORD_MAX_S = 3_600
LOUD_RMS = 184
"""-45 dBFS, the farm's own default threshold."""
DIGITS = "0123456789*#ABCD"
_DIGIT_TICKS = 5
_DIGIT_PAUSE_TICKS = 5
_END_REPEATS = 3
_VOLUME = 10


def is_loud(pcm: Samples) -> bool:
    """Whether a frame holds speech, as the farm's energy gate would say."""
    return len(pcm) > 0 and float(np.mean(np.square(pcm, dtype=np.float32))) > LOUD_RMS**2


def law_of(codec: str) -> Law:
    return MU_LAW if codec == "PCMU" else A_LAW


@dataclass(slots=True)
class _Press:
    digit: int
    timestamp: int
    ticks: int = 0


class Mouth:
    """What the caller sends: call `packets` once per tick."""

    def __init__(self, ssrc: int, sequence: int, timestamp: int) -> None:
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._queue: deque[Samples] = deque()
        self._digits: deque[str] = deque()
        self._press: _Press | None = None
        self._pause_ticks = 0
        self._silent = True
        self.sent: list[Samples] = []
        """One frame per tick since the beginning."""

    @property
    def busy(self) -> bool:
        """Something is left to say or to press."""
        return bool(self._queue or self._digits or self._press or self._pause_ticks)

    def say(self, pcm: Samples) -> None:
        """Queues samples; the last frame is filled up with silence."""
        whole = -(-len(pcm) // FRAME_SAMPLES) * FRAME_SAMPLES
        padded = np.zeros(whole, np.int16)
        padded[: len(pcm)] = pcm
        self._queue.extend(padded.reshape(-1, FRAME_SAMPLES))

    def press(self, digits: str) -> None:
        """Queues key presses of 100 ms with 100 ms between."""
        self._digits.extend(digits)

    def shut(self) -> None:
        """Says no more of what was queued."""
        self._queue.clear()

    def packets(self, remote: Remote) -> list[bytes]:
        """The packets of this tick."""
        frame = np.zeros(FRAME_SAMPLES, np.int16)
        events = self._key_packets(remote)
        packets = events
        if not events:
            if self._queue:
                frame = self._queue.popleft()
            packets = [self._audio(remote, frame)]
        if len(self.sent) < RECORD_MAX_S * 1_000 // TICK_MS:
            self.sent.append(frame)
        self._timestamp = (self._timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
        return packets

    def _audio(self, remote: Remote, frame: Samples) -> bytes:
        talking = is_loud(frame)
        marker = talking and self._silent
        self._silent = not talking
        payload = law_of(remote.codec).encoder[frame.view(np.uint16)].tobytes()
        return self._packet(remote.payload_type, self._timestamp, payload, marker=marker)

    def _packet(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> bytes:
        head = struct.pack(
            "!BBHII", 0x80, payload_type | (0x80 if marker else 0), self._sequence, timestamp, self._ssrc
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        return head + payload

    def _key_packets(self, remote: Remote) -> list[bytes]:
        """Section 2.5 of RFC 4733: one timestamp per press, growing duration, the end said three times."""
        if self._pause_ticks:
            self._pause_ticks -= 1
            return []
        if self._press is None and self._digits and remote.dtmf_payload_type is not None and not self._queue:
            self._press = _Press(DIGITS.index(self._digits.popleft()), self._timestamp)
        press = self._press
        if press is None or remote.dtmf_payload_type is None:
            return []
        press.ticks += 1
        ended = press.ticks == _DIGIT_TICKS
        flags = (0x80 if ended else 0) | _VOLUME
        payload = struct.pack("!BBH", press.digit, flags, press.ticks * FRAME_SAMPLES)
        if ended:
            self._press = None
            self._pause_ticks = _DIGIT_PAUSE_TICKS
        repeats = _END_REPEATS if ended else 1
        first = press.ticks == 1
        return [
            self._packet(remote.dtmf_payload_type, press.timestamp, payload, marker=first)
            for _ in range(repeats)
        ]


@dataclass(slots=True)
class Heard:
    """Figures of what was received."""

    packets: int = 0
    lost: int = 0
    refused: int = 0
    loud_frames: int = 0
    first_ns: int = 0
    first_loud_ns: int = 0
    last_loud_ns: int = 0
    max_delta_ms: float = 0.0
    """Longest time between two packets."""
    jitter_ms: float = 0.0
    """RFC 3550 section 6.4.1."""
    ssrcs: set[int] = field(default_factory=set)


class Ear:
    """What the caller receives. `started_ns` is sample 0 of the timeline, the first tick of the mouth."""

    def __init__(self, started_ns: int) -> None:
        self._started_ns = started_ns
        self._frames: list[tuple[int, Samples]] = []
        self._first_position = 0
        self._first_timestamp = 0
        self._highest = -1
        self._seen_from = 0
        self._last_ns = 0
        self._transit = 0.0
        self.heard = Heard()

    def receive(self, data: bytes, remote: Remote, now_ns: int) -> bool:
        """One datagram; True when it carried audio of the negotiated kind."""
        if len(data) < 12 or data[0] != 0x80 or data[1] & 0x7F != remote.payload_type:
            self.heard.refused += 1
            return False
        sequence, timestamp, ssrc = struct.unpack("!HII", data[2:12])
        pcm = law_of(remote.codec).decoder[np.frombuffer(data, np.uint8, offset=12)]
        self._measure(sequence, timestamp, ssrc, now_ns)
        if is_loud(pcm):
            self.heard.loud_frames += 1
            self.heard.first_loud_ns = self.heard.first_loud_ns or now_ns
            self.heard.last_loud_ns = now_ns
        self._place(timestamp, pcm)
        return True

    def _measure(self, sequence: int, timestamp: int, ssrc: int, now_ns: int) -> None:
        heard = self.heard
        heard.packets += 1
        heard.ssrcs.add(ssrc)
        if self._highest < 0:
            heard.first_ns = now_ns
            self._highest = self._seen_from = sequence
            self._first_timestamp = timestamp
            self._first_position = max(0, (now_ns - self._started_ns) * NARROWBAND_HZ // NS_PER_S)
            self._transit = self._transit_of(timestamp, now_ns)
        else:
            ahead = (sequence - self._highest + 0x8000) % 0x10000 - 0x8000
            self._highest = max(self._highest, self._highest + ahead)
            heard.lost = max(0, self._highest - self._seen_from + 1 - heard.packets)
            heard.max_delta_ms = max(heard.max_delta_ms, (now_ns - self._last_ns) / NS_PER_MS)
            transit = self._transit_of(timestamp, now_ns)
            change_ms = abs(transit - self._transit) * 1_000 / NARROWBAND_HZ
            heard.jitter_ms += (change_ms - heard.jitter_ms) / 16
            self._transit = transit
        self._last_ns = now_ns

    def _transit_of(self, timestamp: int, now_ns: int) -> float:
        return (now_ns - self._started_ns) * NARROWBAND_HZ / NS_PER_S - self._offset(timestamp)

    def _offset(self, timestamp: int) -> int:
        """Samples since the first packet, over the wrap of the 32-bit timestamp."""
        return (timestamp - self._first_timestamp + 0x80000000) % 0x100000000 - 0x80000000

    def _place(self, timestamp: int, pcm: Samples) -> None:
        position = self._first_position + self._offset(timestamp)
        if 0 <= position < RECORD_MAX_S * NARROWBAND_HZ:
            self._frames.append((position, pcm))

    def samples(self) -> Samples:
        """Everything heard, on the timeline."""
        length = max((position + len(pcm) for position, pcm in self._frames), default=0)
        track = np.zeros(length, np.int16)
        for position, pcm in self._frames:
            track[position : position + len(pcm)] = pcm
        return track


def stereo(mouth: Mouth, ear: Ear) -> Samples:
    """[S, 2]: left the caller, right the farm."""
    left = np.concatenate(mouth.sent) if mouth.sent else np.zeros(0, np.int16)
    right = ear.samples()
    both = np.zeros((max(len(left), len(right)), 2), np.int16)
    both[: len(left), 0] = left
    both[: len(right), 1] = right
    return both
