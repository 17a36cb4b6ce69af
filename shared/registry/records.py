"""What the registry knows of workers and calls."""

from typing import Literal

from msgspec import Struct

Role = Literal["front", "media", "stt", "llm", "tts", "jobs"]
State = Literal["starting", "ready", "draining"]


class WorkerRecord(Struct, frozen=True, kw_only=True):
    """A process of the farm as others see it."""

    worker_id: str
    role: Role
    host: str
    http_port: int
    capacity: int
    state: State = "ready"
    pid: int = 0
    engine: str = ""
    """What an AI worker runs, for people."""
    sip_port: int = 0
    """Of a front."""


class CallRecord(Struct, frozen=True, kw_only=True):
    """A live call; the hash `call:{id}`. Times are wall clock ms."""

    call_id: str
    sip_call_id: str
    tenant: str
    room_id: str
    session_id: str
    app: str
    agent: str
    front: str
    caller: str
    callee: str
    started_ms: int
    state: Literal["reserved", "answered"] = "reserved"
    worker: str = ""
    port: int = 0
    stt: str = ""
    llm: str = ""
    tts: str = ""


class Placement(Struct, frozen=True, kw_only=True):
    """What a reservation gave a call."""

    worker: str
    port: int
    stt: str = ""
    llm: str = ""
    tts: str = ""


class Held(Struct, frozen=True, kw_only=True):
    """A reservation as the registry holds it for a worker; `age_ms` since it was made."""

    call_id: str
    port: int
    age_ms: int
