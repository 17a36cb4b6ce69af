"""Why a packet is refused: the values of `reason` on voicefarm_rtp_rejected, all of them.

A packet counts once, for the first check it fails; the order here is that of the checks. Must not hold behaviour.
"""

from typing import Final

REASONS: Final[dict[str, str]] = {
    # RTP, whoever sent it
    "long": "longer than any packet that was agreed to",
    "source": "neither from the pinned address nor, before there is one, from an allowed one; or older than its call",
    "short": "shorter than its own header says",
    "version": "not RTP version 2",
    # from the right address
    "ssrc": "another SSRC while the pinned one speaks, or from a source that was let go",
    "srtp_ssrcs": "SRTP: more SSRCs under one key than are kept",
    "srtp_auth": "SRTP: the tag does not fit: plain RTP, another key, a changed bit",
    "srtp_replay": "SRTP: a packet that was there before, or is too old to tell",
    "srtp_format": "SRTP: not a packet that libsrtp can read",
    "payload_type": "none of the payload types that were agreed to",
    "dtmf": "a telephone event that cannot be one",
    "dtmf_rate": "not a packet: a key press, after 32 others of the leg within a second",
    "sequence": "a jump in the numbers that the next packet has not confirmed yet",
    "payload": "octets that the codec cannot read",
    "overflow": "more packets than a leg may have waiting",
    # RTCP
    "rtcp_source": "not from where the call's RTCP may come",
    "srtcp_auth": "SRTCP: the tag does not fit",
    "srtcp_replay": "SRTCP: a packet that was there before",
    "srtcp_format": "SRTCP: not a packet that libsrtp can read",
    "rtcp_format": "not a compound packet of RFC 3550",
    "rtcp_ssrc": "from an SSRC that does not send the RTP",
    # ours
    "srtp_seal": "one of ours that could not be protected and was not sent: too long, or its key is worn out",
}
