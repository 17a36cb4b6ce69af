"""Contracts: golden bytes per version, refusals, upgrades. A golden line changes only with its version."""

from pathlib import Path
from typing import Any

import msgpack
import pytest

from shared.contracts import Message, contracts, decode, encode
from shared.contracts.codec import contract, upgrade
from shared.errors import ContractError, UnknownMessage, UnknownVersion
from tests.support.samples import SAMPLES

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).with_name("golden_contracts.txt")


def golden() -> dict[str, bytes]:
    rows = (line.split() for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#"))
    return {name: bytes.fromhex(data) for name, data in rows}


def test_every_contract_has_a_sample_and_golden_bytes() -> None:
    assert {f"{m.__struct_config__.tag}/{m.version}" for m in SAMPLES} == set(golden())
    assert {m.__struct_config__.tag for m in SAMPLES} == {
        tag for tag in contracts() if not tag.startswith("test.")
    }


@pytest.mark.parametrize("message", SAMPLES, ids=lambda m: type(m).__name__)
def test_encoding_gives_the_golden_bytes(message: Message) -> None:
    assert encode(message) == golden()[f"{message.__struct_config__.tag}/{message.version}"]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda m: type(m).__name__)
def test_golden_bytes_decode_to_the_sample(message: Message) -> None:
    assert decode(golden()[f"{message.__struct_config__.tag}/{message.version}"]) == message


def test_newer_version_is_refused() -> None:
    with pytest.raises(UnknownVersion, match=r"media\.close: version 9"):
        decode(msgpack.packb({"t": "media.close", "v": 9, "msg_id": "m"}))


@pytest.mark.parametrize("tag", ["media.dance", None, 7])
def test_unknown_tag_is_refused(tag: object) -> None:
    with pytest.raises(UnknownMessage):
        decode(msgpack.packb({"t": tag, "v": 1}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91\x01",
        b"\x92",
        msgpack.packb({"t": "media.close"}),
        msgpack.packb({"t": "media.close", "v": "1"}),
        msgpack.packb({"t": "media.close", "v": 0}),
        msgpack.packb({"t": "media.close", "v": 1}),
        msgpack.packb(
            {"t": "media.close", "v": 1, "msg_id": "m", "reply_to": "f", "call_id": "c", "reason": "bored"}
        ),
    ],
)
def test_broken_message_is_a_contract_error(data: bytes) -> None:
    with pytest.raises(ContractError):
        decode(data)


def test_new_optional_field_is_passed_over_by_an_older_reader() -> None:
    fields = msgpack.unpackb(encode(SAMPLES[0]))
    assert decode(msgpack.packb({**fields, "added_later": 1})) == SAMPLES[0]


def test_old_version_is_upgraded_at_the_border() -> None:
    @contract
    class Grown(Message, tag="test.grown", frozen=True, kw_only=True):
        version = 3
        seconds: float

    @upgrade("test.grown", 1)
    def rename(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "ms": fields.pop("millis")}

    @upgrade("test.grown", 2)
    def rescale(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "seconds": fields.pop("ms") / 1_000}

    assert decode(msgpack.packb({"t": "test.grown", "v": 1, "millis": 1_500})) == Grown(seconds=1.5)
    assert decode(msgpack.packb({"t": "test.grown", "v": 2, "ms": 250})) == Grown(seconds=0.25)
    assert decode(encode(Grown(seconds=2.0))) == Grown(seconds=2.0)
    for broken in ({}, {"millis": "many"}, {"millis": None}):
        with pytest.raises(ContractError, match=r"test\.grown"):
            decode(msgpack.packb({"t": "test.grown", "v": 1, **broken}))


def test_tag_cannot_be_taken_twice() -> None:
    with pytest.raises(ContractError, match="belongs to MediaClose"):

        @contract
        class Twin(Message, tag="media.close", frozen=True, kw_only=True):
            pass
