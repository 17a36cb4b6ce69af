"""Messages on the wire: typed, tagged, versioned, MessagePack.

A message is a map with `t` (tag), `v` (version) and its fields. Rules of change: a new field has a default and keeps
the version; a change of meaning raises the version and brings an upgrade for the old one; names are never reused.
Readers are deployed before writers. It must not know what any message means.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgpack
import msgspec

from shared.errors import ContractError, UnknownMessage, UnknownVersion


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value inside a message, without a tag of its own; fields at their default are not sent, as in a message."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", omit_defaults=True):
    """Base of every message; subclasses give `tag=` and, past version 1, `version`.

    Fields at their default are not sent: a field added later changes no byte of what was sent before it came.
    """

    version: ClassVar[int] = 1


M = TypeVar("M", bound=type[Message])
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

_ENCODER = msgspec.msgpack.Encoder()

_BY_TAG: dict[str, type[Message]] = {}
_UPGRADES: dict[tuple[str, int], Upgrade] = {}


def contract(cls: M) -> M:
    """Class decorator that makes a message known to `decode`; a tag used twice is a programming error."""
    tag = cls.__struct_config__.tag
    if tag in _BY_TAG:
        raise ContractError(f"tag {tag!r} belongs to {_BY_TAG[str(tag)].__name__}")
    _BY_TAG[str(tag)] = cls
    return cls


def upgrade(tag: str, from_version: int) -> Callable[[Upgrade], Upgrade]:
    """Registers how a message of `from_version` becomes one of the next version."""

    def register(step: Upgrade) -> Upgrade:
        _UPGRADES[tag, from_version] = step
        return step

    return register


def contracts() -> Mapping[str, type[Message]]:
    """Every known message by tag (for tests and generated docs)."""
    return dict(_BY_TAG)


def encode(message: Message) -> bytes:
    """The bytes of a message; bytes fields stay bytes."""
    packed = _ENCODER.encode(message)
    head, body = _one_more(packed)
    return b"".join((head, body, b"\xa1v", _ENCODER.encode(message.version)))


def _one_more(packed: bytes) -> tuple[bytes, memoryview]:
    """The head of a map that has one more entry than this one, and what follows it (MessagePack: fixmap, map 16)."""
    short = packed[0] & 0xF0 == 0x80
    count = packed[0] & 0x0F if short else int.from_bytes(packed[1:3], "big")
    head = bytes([0x80 | count + 1]) if count < 0x0F else b"\xde" + (count + 1).to_bytes(2, "big")
    return head, memoryview(packed)[1 if short else 3 :]


def decode(data: bytes) -> Message:
    """The message in `data`.

    Raises UnknownMessage or UnknownVersion for what a newer process sent, ContractError for anything else that is
    not a message. Older versions are upgraded here, once, and nowhere else.
    """
    try:
        fields = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise ContractError(f"not MessagePack: {error}") from error
    if not isinstance(fields, dict):
        raise ContractError(f"a message is a map, not {type(fields).__name__}")
    tag, version = fields.get("t"), fields.pop("v", None)
    cls = _BY_TAG.get(tag) if isinstance(tag, str) else None
    if cls is None:
        raise UnknownMessage(f"no contract has the tag {tag!r}")
    if not isinstance(version, int) or version < 1:
        raise ContractError(f"{tag}: version {version!r}")
    if version > cls.version:
        raise UnknownVersion(f"{tag}: version {version}, this process knows {cls.version}")
    try:
        return msgspec.convert(_upgraded(fields, str(tag), version, cls.version), cls, builtin_types=(bytes,))
    except (msgspec.ValidationError, LookupError, TypeError, ValueError) as error:
        raise ContractError(f"{tag}: {error}") from error


def _upgraded(fields: dict[str, Any], tag: str, version: int, wanted: int) -> dict[str, Any]:
    """Fields of the wanted version. An upgrade may stumble over a message that was not even right for its own version."""
    for old in range(version, wanted):
        fields = _UPGRADES[tag, old](fields)
    return fields
