"""The other end of a leg with SRTP: keys, and a phone's own sessions. Uses libsrtp as the farm does, keys the other way."""

from dataclasses import dataclass, field

from pylibsrtp import Policy, Session

from shared.contracts import SrtpKeys, SrtpSuite

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30, 10),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30, 4),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28, 16),
}
"""Profile, octets of key and salt, octets that protection adds to an RTP packet."""


def keys(suite: SrtpSuite = "AES_CM_128_HMAC_SHA1_80", *, local: int = 1, remote: int = 2) -> SrtpKeys:
    """Keys that differ with the numbers."""
    length = PROFILES[suite][1]
    return SrtpKeys(suite=suite, local=key_bytes(local, length), remote=key_bytes(remote, length))


def key_bytes(number: int, length: int) -> bytes:
    return bytes((number * 37 + at * 11 + 5) & 0xFF for at in range(length))


@dataclass
class SrtpPeer:
    """Protects what a phone sends with our `remote` key and reads what we send with our `local` one."""

    keys: SrtpKeys = field(default_factory=keys)

    def __post_init__(self) -> None:
        profile = PROFILES[self.keys.suite][0]
        self.out = Session(Policy(self.keys.remote, Policy.SSRC_ANY_OUTBOUND, 0, profile))
        self.back = Session(Policy(self.keys.local, Policy.SSRC_ANY_INBOUND, 0, profile))

    def protect(self, packet: bytes) -> bytes:
        return self.out.protect(packet)

    def unprotect(self, packet: bytes) -> bytes:
        """Raises pylibsrtp.Error."""
        return self.back.unprotect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes:
        return self.out.protect_rtcp(packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        return self.back.unprotect_rtcp(packet)
