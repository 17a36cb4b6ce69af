"""A call's event log as tests read it: straight from Redis, apart from the farm's bus."""

from typing import Any

import redis

from shared.contracts import CallEvent, decode


def call_events(client: "redis.Redis[Any]", call_id: str, kind: str = "") -> list[CallEvent]:
    """Every event of a call, or those of one kind, oldest first."""
    found = [decode(fields[b"m"]) for _, fields in client.xrange(f"vf:call:{call_id}:events")]
    return [e for e in found if isinstance(e, CallEvent) and (not kind or e.kind == kind)]


def finals(client: "redis.Redis[Any]", call_id: str) -> list[str]:
    """What the caller said, by the final transcripts."""
    return [e.data["text"] for e in call_events(client, call_id, "transcript") if e.data["kind"] == "final"]
