"""The event log's entries: plain data of any shape, read also by those who do not know the event."""

import re
from typing import Any

import msgpack
import pytest

from shared.contracts import CallEvent, decode, encode, events
from shared.errors import ContractError
from tests.support.processes import REPO

pytestmark = pytest.mark.unit

WRITERS = ("mediaworker", "aiworker", "sipfront", "jobs")


def kinds_in_the_table() -> set[str]:
    rows = re.findall(r"^\| ([a-z.]+) \| (?:media|STT|LLM|jobs)", events.__doc__ or "", re.MULTILINE)
    return set(rows)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"turn": 1, "text": "Zoë", "ok": True, "none": None},
        {"rtp": {"packets": 5, "jitter_ms": [1.5, 2.0]}},
        {"wav": b"\x00\xff"},
    ],
)
def test_data_of_any_shape_travels(data: dict[str, Any]) -> None:
    event = CallEvent(call_id="c", kind="some.thing", at_ns=2**62, by="media-0.ab", data=data)
    assert decode(encode(event)) == event


def test_event_of_an_unknown_kind_is_read() -> None:
    read = decode(
        msgpack.packb({"t": "call.event", "v": 1, "call_id": "c", "kind": "new.one", "at_ns": 1, "by": "x"})
    )
    assert isinstance(read, CallEvent)
    assert (read.kind, read.data) == ("new.one", {})


@pytest.mark.parametrize("absent", ["call_id", "kind", "at_ns", "by"])
def test_event_without_what_every_event_has_is_refused(absent: str) -> None:
    whole = {"t": "call.event", "v": 1, "call_id": "c", "kind": "dtmf", "at_ns": 1, "by": "x", "data": {}}
    whole.pop(absent)
    with pytest.raises(ContractError, match=absent):
        decode(msgpack.packb(whole))


def test_every_kind_in_the_table_is_written_by_some_process() -> None:
    source = "".join(p.read_text() for name in WRITERS for p in (REPO / name).rglob("*.py"))
    kinds = kinds_in_the_table()
    assert len(kinds) > 8
    assert {kind for kind in kinds if f'"{kind}"' not in source} == set()
