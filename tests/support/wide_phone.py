"""A telephone that changes its codec inside a call: G.711 and linear PCM at 16 kHz (big-endian, RFC 3551 section 4.5.11)."""

import asyncio
import itertools
import random
import struct

import numpy as np
import numpy.typing as npt

from tests.support.phone import FRAME, SILENCE, Pcm, Phone, Reply

L16_TYPE = 97
WIDE_HZ = 16_000
WIDE_FRAME = 320


class WidePhone(Phone):
    """Speaks PCMU until `change` makes it speak L16/16000, and back."""

    wide = False

    def sdp(self) -> str:
        codec = f"{L16_TYPE}" if self.wide else "0"
        return (
            f"v=0\r\no=- 1 {self._cseq} IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp_port} RTP/AVP {codec}\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:{L16_TYPE} L16/{WIDE_HZ}\r\n"
            f"a=ptime:20\r\n"
        )

    async def change(self, *, wide: bool) -> Reply:
        """A re-INVITE with the other codec; its 200 acknowledged. The stream goes on under a new SSRC (RFC 7160)."""
        self.wide = wide
        self._tasks.pop().cancel()  # who reads answers
        self._cseq += 1
        self._branch = self._new_branch()
        final = await self._transact(self._request("INVITE", self._contact, self.sdp(), self._to()), 10.0)
        self._branch = self._new_branch()
        ack = self._request("ACK", self._contact, to=self._to())
        self.send_raw(ack.replace("CSeq: 1 ACK", f"CSeq: {self._cseq} ACK"))
        self._tasks.append(asyncio.create_task(self._serve()))
        self._queue.clear()
        self.ssrc = random.getrandbits(32)
        return final

    def play_wide(self, pcm: Pcm) -> None:
        """Queues audio at 16 kHz."""
        padded = np.pad(pcm, (0, -len(pcm) % WIDE_FRAME))
        self._queue += [frame.astype(">i2").tobytes() for frame in padded.reshape(-1, WIDE_FRAME)]

    def send_rtp(self, payload: bytes, payload_type: int = 0, *, marker: bool = False) -> None:
        if not self.wide:
            super().send_rtp(payload, payload_type, marker=marker)
            return
        super().send_rtp(bytes(2 * WIDE_FRAME) if payload is SILENCE else payload, L16_TYPE, marker=marker)
        self._timestamp = (self._timestamp + WIDE_FRAME - FRAME) & 0xFFFFFFFF

    def heard_wide(self, since: float = 0.0) -> npt.NDArray[np.int16]:
        """What arrived as L16 since a time of time.monotonic()."""
        parts = [p.payload for p in self.packets if p.at >= since and p.payload_type == L16_TYPE]
        return np.frombuffer(b"".join(parts), ">i2").astype(np.int16)


def sequence_gaps(phone: Phone, ssrc: int) -> int:
    """Packets of a stream that are missing between its first and its last."""
    numbers = [p.sequence for p in phone.packets if p.ssrc == ssrc]
    steps = [
        struct.unpack("!h", struct.pack("!H", (b - a) & 0xFFFF))[0] for a, b in itertools.pairwise(numbers)
    ]
    return sum(step - 1 for step in steps if step > 1)
