"""Where fresh names come from: tags, branches, call ids, message ids; and keys.

The core is handed a `Mint`, so that a test can predict every byte it sends. Tags and branches must be unguessable
(RFC 3261 section 19.3: at least 32 bits of randomness); a real mint gives 64.
"""

import hashlib
import secrets
from typing import Protocol

from shared.ids import new_call_id, new_message_id

MAGIC = "z9hG4bK"
"""A branch that begins so is unique in space and time (section 8.1.1.7)."""


class Mint(Protocol):
    """Gives a new name with every call."""

    def token(self) -> str:
        """16 hex digits."""
        ...

    def call_id(self) -> str: ...

    def secret(self, length: int) -> bytes:
        """Octets for a key."""
        ...


class RandomMint:
    """Names from the system's entropy."""

    def token(self) -> str:
        return new_message_id()

    def call_id(self) -> str:
        return new_call_id()

    def secret(self, length: int) -> bytes:
        return secrets.token_bytes(length)


class CountingMint:
    """Predictable names for tests and simulations."""

    def __init__(self) -> None:
        self._count = 0

    def token(self) -> str:
        self._count += 1
        return f"{self._count:016x}"

    def call_id(self) -> str:
        return f"call{self.token()}"

    def secret(self, length: int) -> bytes:
        return hashlib.blake2b(self.token().encode(), digest_size=length).digest()


def stateless_tag(secret: str, *parts: str) -> str:
    """A To tag that a repeated request gets again without any state (section 8.2.7)."""
    digest = hashlib.blake2b("\0".join(parts).encode(), key=secret.encode()[:64], digest_size=8)
    return digest.hexdigest()
