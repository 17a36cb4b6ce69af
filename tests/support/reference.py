"""Slow, obvious versions of the media engine's vector steps, one leg and one sample at a time.

They are written from the standards and not from the fast code; property tests demand that both agree.
"""

import math

from shared.contracts import TurnSettings

MU_SEGMENT_ENDS = (0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF)
"""Upper ends of the segments of a 14-bit magnitude with its bias of 33 (ITU-T G.711, table 2a)."""
A_SEGMENT_ENDS = (0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF)
"""Upper ends of the segments of a 13-bit magnitude (table 1a)."""


def mu_law_decode(code: int) -> int:
    code = ~code & 0xFF
    value = (((code & 15) * 2 + 33) << ((code >> 4) & 7)) - 33
    return (-value if code & 0x80 else value) * 4


def mu_law_encode(sample: int) -> int:
    magnitude = min(abs(sample), 32_635) + 132  # 8,159 steps of 4 samples; the bias is 33 of them
    segment = next(index for index, end in enumerate(MU_SEGMENT_ENDS) if magnitude >> 2 <= end)
    return ~((0x80 if sample < 0 else 0) | segment << 4 | (magnitude >> segment + 3) & 15) & 0xFF


def a_law_decode(code: int) -> int:
    code ^= 0x55
    segment, step = (code >> 4) & 7, code & 15
    value = (2 * step + 1) * 8 if segment == 0 else (2 * step + 33) * 8 << (segment - 1)
    return value if code & 0x80 else -value


def a_law_encode(sample: int) -> int:
    value = sample >> 3
    sign = 0x80 if value >= 0 else 0
    magnitude = value if value >= 0 else -value - 1
    segment = next(index for index, end in enumerate(A_SEGMENT_ENDS) if magnitude <= end)
    return (sign | segment << 4 | (magnitude >> max(1, segment)) & 15) ^ 0x55


def rtp_payload(packet: bytes) -> tuple[int, int] | str:
    """Start and size of the payload, or why the packet is refused (RFC 3550 section 5.1)."""
    if not packet:
        return "short"
    if packet[0] >> 6 != 2:
        return "version" if len(packet) >= 12 or packet[0] >> 6 != 2 else "short"
    at = 12 + 4 * (packet[0] & 15)
    if len(packet) < at:
        return "short"
    if packet[0] & 0x10:
        if len(packet) < at + 4:
            return "short"
        at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
    padding = 0
    if packet[0] & 0x20:
        padding = packet[-1]
        if padding == 0:
            return "short"
    if at + padding > len(packet):
        return "short"
    return at, len(packet) - at - padding


class Sequence:
    """Extended sequence numbers of one leg (appendix A.1, without probation)."""

    def __init__(self, first: int) -> None:
        self.ext_max = first
        self.bad = -1

    def packet(self, seq: int) -> int | None:
        """The extended number, None for a jump that is not believed yet."""
        ahead = (seq - self.ext_max) % 65_536
        if ahead <= 3_000:
            self.ext_max += ahead
            return self.ext_max
        if ahead >= 65_536 - 100:
            return self.ext_max + ahead - 65_536
        if seq == self.bad:
            self.ext_max, self.bad = seq, -1
            return seq
        self.bad = (seq + 1) % 65_536
        return None


def jitter(arrivals_ns: list[int], stamps: list[int]) -> float:
    """Interarrival jitter in ns after all packets (appendix A.8)."""
    value = 0.0
    for index in range(1, len(stamps)):
        apart = arrivals_ns[index] - arrivals_ns[index - 1] - (stamps[index] - stamps[index - 1]) * 125_000
        value += (abs(apart) - value) / 16
    return value


def mix_minus(frames: dict[int, list[int]], rooms: dict[int, int]) -> dict[int, list[int]]:
    """What each leg hears: everyone of its room but itself, clipped once."""
    heard = {}
    for leg, room in rooms.items():
        others = [frames[other] for other in rooms if rooms[other] == room and other != leg]
        sums = [sum(column) for column in zip(*others, strict=True)] if others else [0] * len(frames[leg])
        heard[leg] = [max(-32_768, min(32_767, value)) for value in sums]
    return heard


class Gate:
    """The energy gate of one leg as the text of `mediaworker.core.speech.vad` tells it; names of events as strings."""

    def __init__(self, settings: TurnSettings, threshold_db: float) -> None:
        self.settings = settings
        self.threshold_db = threshold_db
        self.floor_db = -60.0
        self.state = "idle"
        self.loud_run = self.quiet_run = self.length = 0
        self.lasted = False

    def step(self, level_db: float) -> list[str]:
        loud = level_db > self.threshold_db and level_db > self.floor_db + 9.0
        self._learn(level_db)
        self.loud_run = self.loud_run + 1 if loud else 0
        breaks = loud and (self.state != "paused" or self.loud_run >= 2)
        self.quiet_run = 0 if breaks else self.quiet_run + 1
        if self.state == "idle":
            self.length = self.loud_run
            if self.loud_run == 1:
                self.lasted = False
        else:
            self.length += 1
        return self._events(loud)

    def _learn(self, level_db: float) -> None:
        if level_db < self.floor_db:
            self.floor_db += (level_db - self.floor_db) * 0.5
        else:
            risen = self.floor_db + (0.12 if level_db < -30 else 0.02)
            self.floor_db = min(risen, level_db, max(self.floor_db, -20.0))

    def _events(self, loud: bool) -> list[str]:
        settings, events = self.settings, []
        frames = lambda ms: max(1, math.ceil(ms / 20))  # noqa: E731
        if self.state == "idle" and self.loud_run >= frames(settings.onset_ms):
            self.state = "speaking"
            events.append("ONSET")
        elif self.state == "paused" and self.quiet_run == 0:
            self.state = "speaking"
            events.append("RESUME")
        elif self.state == "speaking" and self.quiet_run >= frames(settings.pause_ms):
            self.state = "paused"
            events.append("PAUSE")
        if self.state == "idle":
            return events
        if (
            loud and not self.lasted and settings.barge_in_ms > 0
            and self.length >= frames(settings.barge_in_ms)
        ):  # fmt: skip
            self.lasted = True
            events.append("LASTED")
        if self.quiet_run >= frames(settings.endpoint_ms) or self.length >= frames(settings.max_utterance_ms):
            self.state = "idle"
            self.loud_run = self.length = 0
            events.append("END")
        return events
