"""Structured logs: one JSON object (or one readable line) per event, with `call_id` wherever a call is meant.

Use: `log = get_log(__name__)`, then `log.info("leg opened", call_id=..., port=...)`. Secrets and media keys are never
passed here. Nothing in a tick logs (I7).
"""

import json
import logging
import sys
from typing import Any

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_OWN = frozenset({"ts", "level", "worker", "module", "event", "trace"})
"""Keys that every line has from us."""


class Log:
    """A named logger whose keyword arguments become fields; one that bears a name of ours gets a `_` behind it."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: Any) -> None:
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, /, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, /, **fields: Any) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, /, **fields: Any) -> None:
        self._logger.error(event, extra={"fields": fields})

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._logger.log(logging.ERROR, event, extra={"fields": fields}, exc_info=sys.exc_info())


class _Formatter(logging.Formatter):
    def __init__(self, worker: str, *, as_json: bool) -> None:
        super().__init__()
        self._worker = worker
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields = _renamed(getattr(record, "fields", {}))
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            head = {"ts": round(record.created, 3), "level": record.levelname.lower(), "worker": self._worker,
                    "module": record.name, "event": record.getMessage()}  # fmt: skip
            tail = {"trace": trace} if trace else {}
            return json.dumps(head | fields | tail, default=str)
        shown = " ".join(f"{key}={value}" for key, value in fields.items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:7} {self._worker} {record.getMessage()} {shown}"
        return f"{line.rstrip()}\n{trace}" if trace else line.rstrip()


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields under names that are neither ours nor each other's, so that no field hides which process wrote a line."""
    if _OWN.isdisjoint(fields):
        return fields
    found: dict[str, Any] = {}
    for name, value in fields.items():
        free = name
        while free in _OWN or (free != name and free in fields):
            free += "_"
        found[free] = value
    return found


def get_log(name: str) -> Log:
    return Log(name)


def set_up_logs(worker: str, level: str = "info", fmt: str = "json") -> None:
    """Points the root logger at stderr in the farm's format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(worker, as_json=fmt == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
