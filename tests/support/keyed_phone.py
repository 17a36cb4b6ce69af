"""A telephone with SRTP whose keys are in its descriptions (RFC 4568), and that may change them inside a call."""

import asyncio
import base64

import pylibsrtp

from shared.contracts import SrtpKeys, SrtpSuite
from tests.support.phone import Phone, Reply
from tests.support.srtp_peer import SrtpPeer, key_bytes

SUITE: SrtpSuite = "AES_CM_128_HMAC_SHA1_80"
KEY_BYTES = 30


class KeyedPhone(Phone):
    """Says what it is told about keys and direction in each description, and encrypts as the farm's answers ask."""

    key_number = 1
    direction = "sendrecv"
    farm_line = ""
    """The a=crypto of the farm's newest answer."""
    refused = 0
    """Packets of the farm that are not under the agreed key; those of a key that was just given up are among them."""
    _peer: SrtpPeer | None = None

    def sdp(self) -> str:
        key = base64.b64encode(key_bytes(self.key_number, KEY_BYTES)).decode()
        return (
            f"v=0\r\no=- 1 {self._cseq} IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp_port} RTP/SAVP 0\r\na=crypto:1 {SUITE} inline:{key}|2^31\r\n"
            f"a=ptime:20\r\na={self.direction}\r\n"
        )

    def _media_of(self, body: str) -> tuple[str, int]:
        self._agree(body)
        return super()._media_of(body)

    def _agree(self, body: str) -> None:
        """The session goes on where the keys are the same, as RFC 3711 has it."""
        (line,) = (line for line in body.splitlines() if line.startswith("a=crypto:"))
        before, self.farm_line = self.farm_line, line
        mine = key_bytes(self.key_number, KEY_BYTES)
        if line != before or self._peer is None or self._peer.keys.remote != mine:
            theirs = base64.b64decode(line.split("inline:")[1].split("|")[0])
            self._peer = SrtpPeer(SrtpKeys(suite=SUITE, local=theirs, remote=mine))

    async def change(self, direction: str, key_number: int) -> Reply:
        """A re-INVITE; its 200 acknowledged."""
        self.direction, self.key_number = direction, key_number
        self._tasks.pop().cancel()  # who reads answers
        self._cseq += 1
        self._branch = self._new_branch()
        final = await self._transact(self._request("INVITE", self._contact, self.sdp(), self._to()), 10.0)
        self._branch = self._new_branch()
        ack = self._request("ACK", self._contact, to=self._to())
        self.send_raw(ack.replace("CSeq: 1 ACK", f"CSeq: {self._cseq} ACK"))
        self._tasks.append(asyncio.create_task(self._serve()))
        if final.status == 200:
            self._agree(final.body)
        return final

    def send_rtp(self, payload: bytes, payload_type: int = 0, *, marker: bool = False) -> None:
        assert self._peer is not None
        plain = self._rtp
        self._rtp = _Sealing(self._peer, plain)  # type: ignore[assignment]
        try:
            super().send_rtp(payload, payload_type, marker=marker)
        finally:
            self._rtp = plain

    def rtp_arrived(self, data: bytes) -> None:
        if self._peer is None or 200 <= data[1] <= 204:
            return
        try:
            plain = self._peer.unprotect(data)
        except pylibsrtp.Error:
            self.refused += 1
        else:
            super().rtp_arrived(plain)


class _Sealing:
    def __init__(self, peer: SrtpPeer, transport: asyncio.DatagramTransport) -> None:
        self._peer = peer
        self._transport = transport

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        self._transport.sendto(self._peer.protect(data), to)
