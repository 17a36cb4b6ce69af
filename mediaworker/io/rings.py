"""What passes between the tick thread and the bus thread: bounded, and nobody ever waits inside a tick (I6, I7).

One thread puts, the other takes; `deque.append` and `popleft` are atomic, so there is no lock that a tick could wait
for. Full means: commands wait in their stream (the bus thread reads no further), audio is dropped, and what the farm
must know is dropped only when the bus thread has stood still for so long that the process is of no use.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from mediaworker.core.calls.effects import Effect, SendAudio

T = TypeVar("T")


class Ring(Generic[T]):
    """Bounded, one writer and one reader."""

    def __init__(self, bound: int) -> None:
        self._items: deque[T] = deque()
        self._bound = bound

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """False when it is full; then nothing changed."""
        if len(self._items) >= self._bound:
            return False
        self._items.append(item)
        return True

    def pop(self) -> T | None:
        """The oldest item, or None when there is none."""
        return self._items.popleft() if self._items else None


class EffectRing:
    """Effects on their way to the bus thread; `wake` is called when there are some and it may be asleep."""

    def __init__(self, bound: int, wake: Callable[[], None]) -> None:
        self._items: deque[Effect] = deque()
        self._bound = bound
        self._wake = wake
        self._awake = False
        self.dropped_audio = 0
        self.dropped_control = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, effects: list[Effect]) -> None:
        """Hands over what a tick asked for; audio gives way at half of the bound."""
        for effect in effects:
            audio = isinstance(effect, SendAudio)
            if len(self._items) < (self._bound // 2 if audio else self._bound):
                self._items.append(effect)
            elif audio:
                self.dropped_audio += 1
            else:
                self.dropped_control += 1
        if self._items and not self._awake:
            self._awake = True
            self._wake()

    def take(self) -> list[Effect]:
        """Everything there is; the next `put` wakes the reader again."""
        self._awake = False
        return [self._items.popleft() for _ in range(len(self._items))]
