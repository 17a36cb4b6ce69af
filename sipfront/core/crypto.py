"""SRTP keys in session descriptions: a=crypto lines read, chosen and written (RFC 4568; RFC 7714 for AES-GCM).

A line that asks for what the media workers do not do is passed over for the next one: a master key identifier (their
packets would be longer than ours), several keys, a key derivation rate, streams left unencrypted or unauthenticated. A
lifetime is the sender's promise to renew its key by then and asks nothing of us. Keys are never part of an error's text,
and not of a repr.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from shared.contracts import SrtpSuite

KEY_BYTES: dict[SrtpSuite, int] = {
    "AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30, "AEAD_AES_128_GCM": 28,
}  # fmt: skip
"""Master key and salt: 16 + 14 octets (RFC 4568 section 6.2), 16 + 12 (RFC 7714 section 12)."""

_LINE = re.compile(
    r"(\d{1,9})[ \t]+([A-Za-z0-9_]{1,64})[ \t]+(\S{1,1024})((?:[ \t]+\S{1,64}){0,16})\s*", re.ASCII
)
_LIFETIME = re.compile(r"2\^\d{1,2}|\d{1,15}", re.ASCII)
_IGNORED = re.compile(r"WSH=\d{1,9}|KDR=0|FEC_ORDER=(FEC_SRTP|SRTP_FEC)|-\S+", re.ASCII)
"""Session parameters that change nothing for us: a hint about the replay window, the default key derivation, the order of
an error correction that is not used, and whatever its sender allows to be ignored (section 6.3.7)."""
_LINES_MAX = 16


class NoKeys(ValueError):
    """No a=crypto line that can be used; the text says why, and holds no key."""


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One a=crypto line, in either direction."""

    tag: int
    suite: SrtpSuite
    key: bytes = field(repr=False)
    """Master key and salt."""

    def text(self) -> str:
        """The attribute's value."""
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


def read_line(text: str) -> CryptoLine:
    """One line. Raises NoKeys."""
    match = _LINE.fullmatch(text)
    if not match:
        raise NoKeys("malformed a=crypto")
    suite = next((known for known in get_args(SrtpSuite) if known == match[2].upper()), None)
    if suite is None:
        raise NoKeys(f"{match[2][:40]} is not taken")
    unknown = [value for value in match[4].split() if not _IGNORED.fullmatch(value)]
    if unknown:
        raise NoKeys(f"session parameter {unknown[0].partition('=')[0]} is not taken")
    return CryptoLine(int(match[1]), suite, _key(match[3], KEY_BYTES[suite]))


def choose(lines: Sequence[str], suites: Iterable[SrtpSuite]) -> CryptoLine:
    """The first line that can be used: its sender's order counts (section 5.1.2). Raises NoKeys."""
    taken, problem = set(suites), NoKeys("no a=crypto")
    for number, text in enumerate(lines[:_LINES_MAX]):
        try:
            line = read_line(text)
        except NoKeys as error:
            problem = problem if number else error
            continue
        if line.suite in taken:
            return line
        problem = problem if number else NoKeys(f"{line.suite} is not taken")
    raise problem


def _key(text: str, length: int) -> bytes:
    """The key of `inline:` key||salt ["|" lifetime] ["|" MKI ":" length] (section 6.1)."""
    method, colon, rest = text.partition(":")
    if method.lower() != "inline" or not colon:
        raise NoKeys("keys are taken inline")
    if ";" in rest:
        raise NoKeys("several keys are not taken")
    encoded, *more = rest.split("|")
    if any(":" in part for part in more):
        raise NoKeys("a master key identifier is not taken")
    if len(more) > 1 or not all(_LIFETIME.fullmatch(part) for part in more):
        raise NoKeys("malformed lifetime")
    try:
        # Section 6.1: padding may be left out by those who count octets.
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise NoKeys("malformed key") from None
    if len(key) != length:
        raise NoKeys(f"a key of {len(key)} octets, {length} are needed")
    return key
