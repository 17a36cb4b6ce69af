"""Which engine of a chain takes a turn: the first that is not known to be down, then the ones after it.

An engine that failed several times in a row is left alone for a while, so that a dead provider costs its deadline once
and not on every turn; then one turn tries it again. Shared by all calls of an agent.
"""

from dataclasses import dataclass

from shared.errors import EngineError, EngineMissing, EngineTimeout
from shared.units import NS_PER_S

FAILURES_TO_OPEN = 2
REST_NS = 10 * NS_PER_S


class HttpRefused(EngineError):
    """A provider answered with an HTTP error."""


class StreamCut(EngineError):
    """A provider's stream ended before it said so, or with something that is no message."""


def reason_of(error: BaseException | None) -> str:
    """A metric label for an engine's failure."""
    if isinstance(error, EngineTimeout):
        return "timeout"
    if isinstance(error, EngineMissing):
        return "missing"
    if isinstance(error, HttpRefused):
        return "http"
    return "cut" if isinstance(error, StreamCut) else "error"


@dataclass(slots=True)
class _Health:
    failures: int = 0
    closed_until_ns: int = 0


class Chain:
    """Engines 0 to n-1 in order of preference, and how they are."""

    def __init__(self, size: int) -> None:
        self._health = [_Health() for _ in range(size)]

    def first(self, now_ns: int) -> int | None:
        """The engine to begin a turn with; when all rest, the one that has rested longest."""
        if not self._health:
            return None
        found = self.after(-1, now_ns)
        if found is not None:
            return found
        return min(range(len(self._health)), key=lambda i: self._health[i].closed_until_ns)

    def after(self, index: int, now_ns: int) -> int | None:
        """The next engine in the same turn, or None when there is none."""
        for i in range(index + 1, len(self._health)):
            if self._health[i].closed_until_ns <= now_ns:
                return i
        return None

    def failed(self, index: int, now_ns: int) -> None:
        health = self._health[index]
        health.failures += 1
        if health.failures >= FAILURES_TO_OPEN:
            health.closed_until_ns = now_ns + REST_NS

    def worked(self, index: int) -> None:
        self._health[index] = _Health()
