"""One leg's outgoing stream, a packet at a time, from RFC 3550 section 5.1 and RFC 3551 section 4.1."""

import struct
from dataclasses import dataclass

from tests.support.reference import a_law_encode, mu_law_encode


@dataclass
class PlainSender:
    """20 ms of G.711 per tick; `kind` is the payload type, 0 or 8."""

    seq: int
    stamp: int
    ssrc: int
    kind: int
    sends: bool = True
    to_mark: bool = False
    sent: int = 0

    def tick(self, pcm: list[int] | None) -> bytes | None:
        """The packet of a tick: of these samples, or of silence; None from a leg that is held, whose clock runs on."""
        law = a_law_encode if self.kind == 8 else mu_law_encode
        payload = bytes(law(sample) for sample in pcm or [0] * 160)
        header = struct.pack(
            "!BBHII", 0x80, self.kind | (self.to_mark and self.sends) << 7, self.seq, self.stamp, self.ssrc
        )
        self.stamp = (self.stamp + 160) & 0xFFFF_FFFF
        if not self.sends:
            return None
        self.to_mark = False
        self.seq = (self.seq + 1) & 0xFFFF
        self.sent += 1
        return header + payload
