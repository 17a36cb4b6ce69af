"""SRTP and SRTCP of the legs that have keys (RFC 3711, RFC 7714), negotiated by SDES (RFC 4568), through libsrtp.

A packet is looked at in the order of what it costs: its source, its SSRC, and only then its authentication tag, so that a
stranger's spray never reaches the cipher. What does not authenticate is dropped and counted before anything is learnt from it.
One session per leg and direction keeps the rollover counters and replay lists of all SSRCs it heard.

Keys never stay here: libsrtp has derived its own from them (and wipes those), our copies are overwritten, and what tells
the same keys from new ones is a hash. Must not log, and must not put key bytes in an exception.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from pylibsrtp import Error, Policy, Session

from mediaworker.core import rtp
from mediaworker.core.g711 import Octets
from mediaworker.core.inbound.sources import SSRC_SILENCE_NS, Addresses, Sources
from mediaworker.core.rows import Index, Ints, Rows
from shared.contracts import SrtpKeys, SrtpSuite
from shared.errors import Refused
from shared.units import NS_PER_S

SSRCS_MAX: Final = 32
"""A peer may change its SSRC; libsrtp keeps state for each one for as long as the keys hold."""
OLD_KEYS_NS: Final = 5 * NS_PER_S
"""Packets protected with the keys before are still taken for this long after a change: they were on their way."""
RTCP_TYPES: Final = 0x40
"""Payload types 64 to 95, two bits of the second octet: RTCP on an RTP port that both share (RFC 5761 section 4)."""
REPLAY_WINDOW: Final = 256
"""Packets; RFC 3711 section 3.3.2 asks for 64 at least, and a stall may deliver seconds at once."""

_SUITES: Final[dict[SrtpSuite, tuple[int, int]]] = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}
"""libsrtp's profile, and how long master key and salt are (RFC 4568 section 6.2, RFC 7714 section 14.1)."""


def _session(suite: SrtpSuite, key: bytes, direction: int) -> Session:
    """Raises Refused where the suite is none of ours or the key has another length."""
    profile, length = _SUITES.get(suite, (0, -1))
    if len(key) != length:
        raise Refused("bad_request", f"SRTP keys do not fit {suite}")
    try:
        policy = Policy(key=key, ssrc_type=direction, srtp_profile=profile)
        policy.window_size = REPLAY_WINDOW
        session = Session(policy)
    except Error:
        raise Refused("bad_request", f"{suite} is not in this libsrtp") from None
    copy = policy.key
    if copy is not None:
        copy[:] = bytes(length)  # type: ignore[index]  # a writable buffer over the C array, typed as bytes
    policy.key = None
    return session


def _fingerprint(suite: SrtpSuite, key: bytes) -> bytes:
    return hashlib.sha256(suite.encode() + key).digest()


def _failure(error: Error) -> str:
    """Why libsrtp refused a packet, as the last part of a reason."""
    text = str(error)
    if text.startswith("replay"):
        return "replay"
    return "auth" if text.startswith("authentication") else "format"


class Protection:
    """Both directions of one leg. Raises Refused where the keys are of no use."""

    __slots__ = ("inbound", "inbound_print", "old", "old_until_ns", "outbound", "outbound_print", "ssrcs")

    def __init__(self, keys: SrtpKeys) -> None:
        self.inbound = _session(keys.suite, keys.remote, Policy.SSRC_ANY_INBOUND)
        self.outbound = _session(keys.suite, keys.local, Policy.SSRC_ANY_OUTBOUND)
        self.inbound_print = _fingerprint(keys.suite, keys.remote)
        self.outbound_print = _fingerprint(keys.suite, keys.local)
        self.old: Session | None = None
        self.old_until_ns = 0
        self.ssrcs: set[int] = set()

    def rekey(self, keys: SrtpKeys, now_ns: int) -> None:
        """Another context in each direction whose key is another one, its rollover counter at 0 (RFC 4568 section 7.1.4).

        A direction with the same key keeps its context: counting anew would use a keystream twice.
        """
        fresh = Protection(keys)
        if fresh.inbound_print != self.inbound_print:
            self.old, self.old_until_ns = self.inbound, now_ns + OLD_KEYS_NS
            self.inbound, self.inbound_print = fresh.inbound, fresh.inbound_print
            self.ssrcs = set()
        if fresh.outbound_print != self.outbound_print:
            self.outbound, self.outbound_print = fresh.outbound, fresh.outbound_print

    def before(self, now_ns: int) -> Session | None:
        """The inbound context before the last change, while packets of it may still come."""
        if self.old is not None and now_ns > self.old_until_ns:
            self.old = None
        return self.old


class SrtpLegs:
    """Legs with keys, by row. False (`len` 0) while there are none: then nothing here costs anything."""

    def __init__(self, rows: Rows, sources: Sources, rejected: Counter[str]) -> None:
        self._rows = rows
        self._sources = sources
        self._rejected = rejected
        self._legs: dict[int, Protection] = {}
        self._last: dict[int, Protection] = {}
        """Of closed rows, for their last RTCP packet; forgotten when the row is opened again."""

    def __len__(self) -> int:
        return len(self._legs)

    # --- keys

    def open(self, row: int, protection: Protection | None) -> None:
        """A new leg with keys, or without."""
        self._last.pop(row, None)
        if protection is not None:
            self._legs[row] = protection
        self._rows.secure[row] = protection is not None

    def rekey(self, row: int, keys: SrtpKeys | None, now_ns: int) -> None:
        """What a re-INVITE agreed to: the same keys go on where they were, None ends protection. Raises Refused."""
        leg = self._legs.get(row)
        if keys is None:
            self._legs.pop(row, None)
            self._rows.secure[row] = False
        elif leg is None:
            self.open(row, Protection(keys))
        else:
            leg.rekey(keys, now_ns)

    def close(self, row: int) -> None:
        leg = self._legs.pop(row, None)
        if leg is not None:
            self._last[row] = leg
        self._rows.secure[row] = False

    def seal_of(self, row: int) -> Callable[[bytes], bytes] | None:
        """What `Transmitter.seal` wants: what every packet of the row goes through, None for a row without keys."""
        return partial(self.seal, row) if row in self._legs else None

    # --- RTP

    def seal(self, row: int, packet: bytes) -> bytes:
        """A packet as it may leave; empty where libsrtp will not protect it (too long, or its key is worn out)."""
        try:
            return self._legs[row].outbound.protect(packet)
        except (Error, ValueError):
            self._rejected["srtp_seal"] += 1
            return b""

    def unseal(
        self, at: Index, packets: Octets, lengths: Ints, sources: Addresses, arrivals: Ints
    ) -> Index | None:
        """Takes protection off the secure rows' packets of a batch, in place (`packets`, `lengths`); RTCP among them
        (`rows.mux`) stays as it is, for `unseal_rtcp`.

        Gives the packets that go on: those of plain rows, and those that authenticated; None when that is all of them.
        """
        rows = self._rows
        kinds = packets[:, 1] & 0x7F
        reports = rows.mux[at] & ((kinds & 0x60) == RTCP_TYPES)
        reports &= kinds != (rows.first_word[at] >> 8 & 0x7F)  # a leg's audio is RTP, whatever its type
        secure = np.flatnonzero(rows.secure[at] & ~reports)
        if not secure.size:
            return None
        keep = np.ones(len(at), np.bool_)
        for index in secure.tolist():
            clear = self._unseal(
                int(at[index]), packets[index], int(lengths[index]), int(sources[index]), int(arrivals[index])
            )
            if clear is None:
                keep[index] = False
            else:
                packets[index, : len(clear)] = np.frombuffer(clear, np.uint8)
                lengths[index] = len(clear)
        return None if keep.all() else np.flatnonzero(keep)

    def _unseal(self, row: int, packet: Octets, length: int, source: int, arrived_ns: int) -> bytes | None:
        if length < rtp.HEADER_BYTES or packet[0] >> 6 != 2:
            self._rejected["short" if length < rtp.HEADER_BYTES else "version"] += 1
            return None
        if not self._sources.may_come(row, source, arrived_ns):
            self._rejected["source"] += 1
            return None
        ssrc = int(packet[8:12].view("<u4")[0])
        if not self._ssrc_may_come(row, ssrc, arrived_ns):
            return None
        leg = self._legs[row]
        clear = self._decrypted(leg, packet[:length].tobytes(), arrived_ns)
        if clear is not None:
            leg.ssrcs.add(ssrc)
        return clear

    def _ssrc_may_come(self, row: int, ssrc: int, arrived_ns: int) -> bool:
        rows = self._rows
        another = rows.pinned[row] and ssrc != int(rows.ssrc[row])
        if another and arrived_ns - int(rows.arrived_ns[row]) < SSRC_SILENCE_NS:
            self._rejected["ssrc"] += 1
            return False
        ssrcs = self._legs[row].ssrcs
        if ssrc not in ssrcs and len(ssrcs) >= SSRCS_MAX:
            self._rejected["srtp_ssrcs"] += 1
            return False
        return True

    def _decrypted(self, leg: Protection, packet: bytes, arrived_ns: int) -> bytes | None:
        try:
            return leg.inbound.unprotect(packet)
        except ValueError:
            self._rejected["srtp_format"] += 1
            return None
        except Error as error:
            reason = _failure(error)
        old = leg.before(arrived_ns) if reason == "auth" else None
        if old is not None:
            try:
                return old.unprotect(packet)
            except Error as error:
                reason = _failure(error)
        self._rejected[f"srtp_{reason}"] += 1
        return None

    # --- RTCP

    def seal_rtcp(self, row: int, packet: bytes) -> bytes:
        """An RTCP packet as it may leave: as it is for a row without keys, empty where it cannot be protected."""
        leg = self._legs.get(row) or self._last.get(row)
        if leg is None:
            return packet
        try:
            return leg.outbound.protect_rtcp(packet)
        except (Error, ValueError):
            self._rejected["srtp_seal"] += 1
            return b""

    def unseal_rtcp(self, row: int, packet: bytes, arrived_ns: int) -> bytes | None:
        """An RTCP packet that may be read: as it is for a row without keys, None where it does not authenticate.

        Call it after the source was found good.
        """
        leg = self._legs.get(row)
        if leg is None:
            return packet
        reason = "format"
        for session in (leg.inbound, leg.before(arrived_ns)):
            if session is None:
                continue
            try:
                return session.unprotect_rtcp(packet)
            except ValueError:
                break
            except Error as error:
                reason = _failure(error)
                if reason != "auth":
                    break
        self._rejected[f"srtcp_{reason}"] += 1
        return None
