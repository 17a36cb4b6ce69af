"""Which port pairs of this worker are free, used or in quarantine; the worker is the truth about them.

The list in the registry is only an offer to the fronts. A pair can fall out of it without being used here (a front took
it and died, or gave up before it opened the leg): `audit` finds such pairs and brings them back (I1).
"""

from collections.abc import Iterable, Sequence

from shared.errors import ConfigError


def share(ports: Sequence[int], index: int, count: int) -> list[int]:
    """The part of a host's ports that belongs to worker `index` of `count`, without overlap or remainder lost."""
    if not 0 <= index < count:
        raise ConfigError("VOICEFARM_WORKER_INDEX", f"{index} is not one of {count} workers")
    return list(ports[len(ports) * index // count : len(ports) * (index + 1) // count])


class Ports:
    """Port pairs by their even port."""

    def __init__(self, ports: Iterable[int], quarantine_ns: int) -> None:
        self._all = dict.fromkeys(ports)
        self._quarantine_ns = quarantine_ns
        self._used: dict[int, str] = {}
        self._due: dict[int, int] = {}
        self._missed: set[int] = set()

    def owns(self, port: int) -> bool:
        return port in self._all

    def use(self, port: int, call_id: str) -> None:
        self._due.pop(port, None)
        self._used[port] = call_id

    def free(self, port: int, call_id: str, now_ns: int) -> None:
        """Starts the quarantine of a pair: a late packet of the last call must meet nobody (I8).

        Nothing happens where the pair is another call's: a leg was refused because that call has it.
        """
        if self._used.get(port, call_id) != call_id:
            return
        self._used.pop(port, None)
        if port in self._all:
            self._due[port] = now_ns + self._quarantine_ns

    def released(self, now_ns: int) -> list[int]:
        """Pairs whose quarantine is over now; each is told once."""
        over = [port for port, due in self._due.items() if due <= now_ns]
        for port in over:
            del self._due[port]
        return over

    def offer(self) -> list[int]:
        """Every pair that a front may take."""
        return [port for port in self._all if port not in self._used and port not in self._due]

    def audit(self, offered: Iterable[int], held: Iterable[int]) -> list[int]:
        """Pairs that nobody knew of in two audits running: not offered, not reserved, not ours to keep.

        Once may be a pair on its way between two of those; the second time it is lost and may be offered again.
        """
        known = set(offered) | set(held)
        missing = {port for port in self.offer() if port not in known}
        lost = missing & self._missed
        self._missed = missing - lost
        return sorted(lost)

    def counts(self) -> dict[str, int]:
        used, waiting = len(self._used), len(self._due)
        return {"used": used, "quarantined": waiting, "free": len(self._all) - used - waiting}
