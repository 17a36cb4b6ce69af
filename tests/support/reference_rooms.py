"""The plain version of a room: who hears what, one sample and one listener at a time, before any limiter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlainMember:
    """A leg in a room; `heard_by` is the only one who hears it, or None."""

    row: int
    room: int
    said: tuple[int, ...]
    gain: float = 1.0
    muted: bool = False
    deaf: bool = False
    whisper_to: int | None = None


def plain_room(members: list[PlainMember], announced: dict[int, tuple[int, ...]]) -> dict[int, list[int]]:
    """By row: the sums that each member hears."""
    heard = {}
    for listener in members:
        total = []
        for at in range(len(listener.said)):
            value = 0
            for other in members:
                if other.room != listener.room or other.row == listener.row or listener.deaf or other.muted:
                    continue
                if other.whisper_to is not None and other.whisper_to != listener.row:
                    continue
                value += round(other.said[at] * other.gain)
            total.append(value + announced.get(listener.room, (0,) * len(listener.said))[at])
        heard[listener.row] = total
    return heard
