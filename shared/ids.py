"""Identities of the farm and how they are made.

`call_id` is ours and safe in metrics, logs and file names; the peer's own Call-ID is `sip_call_id` and never leaves
SIP and the call record. Identities from outside pass `safe_label` before they become part of a key or a label.
"""

import os
import re
import secrets
import time

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+@-]")
_LABEL_MAX = 64


def uuid7_hex(wall_ns: int, entropy: bytes) -> str:
    """A UUID version 7 (RFC 9562 section 5.7) as 32 hex digits from a wall clock in ns and 10 bytes of entropy."""
    if len(entropy) != 10:
        raise ValueError(f"10 bytes of entropy are needed, not {len(entropy)}")
    value = (wall_ns // 1_000_000) << 80 | int.from_bytes(entropy, "big")
    value &= ~(0xF << 76) & ~(0x3 << 62)
    value |= 0x7 << 76 | 0x2 << 62
    return f"{value:032x}"


def new_call_id() -> str:
    """A fresh call_id: sorts by time of creation."""
    return uuid7_hex(time.time_ns(), os.urandom(10))


def new_message_id() -> str:
    """Names one control message; a receiver that has seen it does not act on it twice."""
    return secrets.token_hex(8)


def new_worker_id(name: str) -> str:
    """`name` plus an incarnation: a restarted process is another worker, so nothing sent to the dead one reaches it."""
    return f"{safe_label(name)}.{secrets.token_hex(4)}"


def worker_name(worker_id: str) -> str:
    """The stable part of a worker id, for people and dashboards."""
    return worker_id.rpartition(".")[0] or worker_id


def safe_label(text: str) -> str:
    """`text` with every character that could break a key, a label or a file name replaced, at most 64 long."""
    return _UNSAFE.sub("_", text)[:_LABEL_MAX]
