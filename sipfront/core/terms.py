"""What we are willing to agree to with a caller: codecs, their order, encryption. From the configuration and the route.

Plain data: how an offer is held against it is `offer_answer`'s.
"""

from dataclasses import dataclass, field
from typing import Literal

from shared.contracts import CodecName, SrtpSuite
from shared.egress import Egress

SrtpPolicy = Literal["off", "optional", "required"]

SUITES: tuple[SrtpSuite, ...] = (
    "AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The defaults are those of shared.config."""

    codecs: tuple[CodecName, ...] = ("PCMU", "PCMA")
    """Those taken; their order is that of our own offers."""
    our_order: bool = False
    """Whether our order of codecs counts even when the caller made the offer. RFC 3264 section 6.1 asks the answerer to
    follow the offerer, who knows its own line and is billed for it; a route may say otherwise."""
    srtp: SrtpPolicy = "off"
    """optional: taken when offered, never asked for; required: a call without keys is refused."""
    suites: tuple[SrtpSuite, ...] = SUITES
    rtcp_mux: bool = False
    """Whether RTCP on the RTP port is agreed to when it is offered (RFC 5761)."""
    media_cidrs: tuple[str, ...] = ()
    """Networks of the route's callers: media may come from there too."""
    egress: Egress = field(default_factory=lambda: Egress(deny=()))
    """Where media may be sent."""
