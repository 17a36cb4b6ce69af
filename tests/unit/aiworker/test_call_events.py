"""Reading a call's event log."""

import pytest

from aiworker.io.call_events import EventTail
from shared.bus import Append, MemoryBus
from shared.contracts import CallEvent, SttDetach, encode

pytestmark = pytest.mark.unit


async def put(bus: MemoryBus, *events: bytes) -> None:
    await bus.append([Append("log", event, 10_000) for event in events])


def event(kind: str, /, **data: object) -> bytes:
    return encode(CallEvent(call_id="c1", kind=kind, at_ns=0, by="x", data=data))


async def test_log_is_read_to_its_end_and_strangers_are_passed_over() -> None:
    bus = MemoryBus()
    await put(
        bus, *(event("dtmf", digit=str(n)) for n in range(600)), b"junk", encode(SttDetach(call_id="c1"))
    )
    tail = EventTail(bus, "log")
    await tail.read_all()
    assert len(tail.seen) == 600
    await tail.read_all()
    assert len(tail.seen) == 600


async def test_final_transcripts_that_come_later_are_found() -> None:
    bus = MemoryBus()
    await put(bus, event("transcript", turn=1, kind="final", text="seen"))
    tail = EventTail(bus, "log")
    await tail.read_all()
    assert await tail.new_transcripts() == []
    await put(bus, event("transcript", turn=2, kind="partial", text="no"), event("dtmf", digit="1"))
    await put(bus, event("transcript", turn=2, kind="final", text="late", confidence=0.5))
    found = await tail.new_transcripts()
    assert [(t.turn, t.text, t.kind, t.call_id) for t in found] == [(2, "late", "final", "c1")]
