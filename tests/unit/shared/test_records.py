"""Records of workers and calls as hashes of strings: what is written is what is read."""

import msgspec
import pytest

from shared.registry.records import CallRecord, Held, Placement, WorkerRecord

pytestmark = pytest.mark.unit

WORKER = WorkerRecord(
    worker_id="stt-0.ab", role="stt", host="192.0.2.1", http_port=9100, capacity=20, state="draining", pid=7, engine="x",
    sip_port=5060,
)  # fmt: skip
CALL = CallRecord(
    call_id="c1", sip_call_id="a@b", tenant="acme", room_id="r", session_id="s", app="agent", agent="demo",
    front="front-0.ab", caller="sip:a@b", callee="sip:c@d", started_ms=5, state="answered", worker="media-0.ab",
    port=20_000, stt="stt-0.ab", llm="llm-0.ab", tts="tts-0.ab",
)  # fmt: skip
PLACEMENT = Placement(worker="media-0.ab", port=20_000, stt="stt-0.ab", llm="llm-0.ab", tts="tts-0.ab")
HELD = Held(call_id="c1", port=20_000, age_ms=15)
RECORDS = [WORKER, CALL, PLACEMENT, HELD]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_record_survives_a_hash_of_strings(record: msgspec.Struct) -> None:
    """Redis keeps every field of a hash as text."""
    fields = {name: str(value) for name, value in msgspec.to_builtins(record).items()}
    assert msgspec.convert(fields, type(record), strict=False) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_field_of_a_newer_process_is_passed_over(record: msgspec.Struct) -> None:
    fields = msgspec.to_builtins(record) | {"added_later": "1"}
    assert msgspec.convert(fields, type(record)) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_record_cannot_be_changed(record: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(record, record.__struct_fields__[0], "other")


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (WORKER, "role", "cook"),
        (WORKER, "state", "asleep"),
        (WORKER, "capacity", "many"),
        (CALL, "state", "lost"),
        (CALL, "port", "x"),
        (PLACEMENT, "port", ""),
        (HELD, "age_ms", "old"),
    ],
)
def test_wrong_value_is_refused(kind: msgspec.Struct, field: str, value: str) -> None:
    fields = msgspec.to_builtins(kind) | {field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(fields, type(kind), strict=False)


@pytest.mark.parametrize("record", [WORKER, CALL, PLACEMENT, HELD], ids=lambda r: type(r).__name__)
def test_required_field_that_is_absent_is_refused(record: msgspec.Struct) -> None:
    kind = type(record)
    fields = msgspec.to_builtins(record)
    required = [f.name for f in msgspec.structs.fields(kind) if f.required]
    assert required
    for name in required:
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({k: v for k, v in fields.items() if k != name}, kind)
