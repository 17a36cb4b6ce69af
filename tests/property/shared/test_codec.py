"""Any message survives the wire, and any bytes are either a message or a ContractError."""

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import (
    CallEvent,
    DtmfReceived,
    Mark,
    Message,
    PcmToStt,
    SegmentPlayed,
    SpeechStarted,
    Transcript,
    UtteranceFrame,
    decode,
    encode,
)
from shared.errors import ContractError

pytestmark = pytest.mark.property

numbers = st.integers(0, 2**40)
texts = st.text(max_size=40)
frames = st.builds(
    UtteranceFrame, texts, numbers, numbers, numbers, st.sampled_from(Mark), st.binary(max_size=320), numbers
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
messages = st.one_of(
    st.builds(PcmToStt, rate_hz=numbers, frames=st.lists(frames, max_size=5)),
    st.builds(
        Transcript, call_id=texts, epoch=numbers, turn=numbers, kind=st.sampled_from(["partial", "speculative", "final"]),
        text=texts, confidence=st.floats(0, 1),
    ),
    st.builds(SpeechStarted, call_id=texts, epoch=numbers, turn=numbers, barge_in=st.booleans()),
    st.builds(SegmentPlayed, call_id=texts, turn=numbers, segment=numbers, samples=numbers),
    st.builds(DtmfReceived, call_id=texts, turn=numbers, digit=texts, duration_ms=numbers),
    st.builds(CallEvent, call_id=texts, kind=texts, at_ns=numbers, by=texts, data=st.dictionaries(texts, plain, max_size=4)),
)  # fmt: skip


@given(messages)
def test_any_message_survives_the_wire(message: object) -> None:
    assert decode(encode(message)) == message


@given(messages)
def test_the_bytes_are_those_of_a_map_with_the_version_last(message: Message) -> None:
    fields = msgspec.to_builtins(message, builtin_types=(bytes,))
    assert encode(message) == msgpack.packb({**fields, "v": message.version}, use_bin_type=True)


@pytest.mark.parametrize("fields", [0, 1, 13, 14, 15, 16, 40])
def test_a_map_of_any_length_takes_the_version(fields: int) -> None:
    names = [f"field_{n}" for n in range(fields)]
    kind = msgspec.defstruct(
        "Long", [(name, int) for name in names], bases=(Message,), tag="test.long", kw_only=True
    )
    message = kind(**dict.fromkeys(names, 5))
    assert encode(message) == msgpack.packb({"t": "test.long", **dict.fromkeys(names, 5), "v": 1})


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_contract_error(data: bytes) -> None:
    try:
        decode(data)
    except ContractError:
        return
    assert data


@given(messages, st.data())
def test_a_damaged_message_is_a_message_or_a_contract_error(message: object, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode(bytes(raw))
    except ContractError:
        return
