"""The farm under attack: one real media worker, its calls, and all places where an attacker's tone could turn up."""

import contextlib
import socket
import struct
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pylibsrtp
import soundfile

from shared.contracts import (
    AiWorkers,
    AppKind,
    AppSpec,
    MediaFormat,
    MediaOpen,
    MediaStart,
    MediaUpdate,
    PcmToStt,
    RtpEndpoint,
    SrtpKeys,
)
from shared.ids import new_message_id
from shared.registry import Placement
from tests.support.farm import rtp_block
from tests.support.media_bench import Front, Member, PlacedCall, front, media_worker, member
from tests.support.processes import free_port
from tests.support.rtp_peer import Pcm, RtpPeer
from tests.support.srtp_peer import SrtpPeer
from tests.support.waiting import eventually

CALLER_SSRC = 0x0C0F_FEE0
PORT_PAIRS = 3
REASON = 'voicefarm_rtp_rejected_total{reason="'


class SealedSocket:
    """A caller's RTP socket that speaks SRTP; keeps what it sent, as it was on the wire."""

    def __init__(self, plain: socket.socket, peer: SrtpPeer) -> None:
        self.plain = plain
        self.peer = peer
        self.wire: list[bytes] = []
        self.unreadable = 0

    def sendto(self, data: bytes, to: tuple[str, int]) -> int:
        self.wire.append(self.peer.protect(data))
        return self.plain.sendto(self.wire[-1], to)

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        while True:
            data, source = self.plain.recvfrom(size)
            try:
                return self.peer.unprotect(data), source
            except pylibsrtp.Error:
                self.unreadable += 1

    def getsockname(self) -> Any:
        return self.plain.getsockname()

    def close(self) -> None:
        self.plain.close()


@dataclass
class Victim:
    """A call under attack."""

    call: PlacedCall

    @property
    def srtp(self) -> SealedSocket:
        """The socket of a caller with keys."""
        sealed: object = self.peer.socket
        if not isinstance(sealed, SealedSocket):
            raise TypeError("a caller without keys")
        return sealed

    @property
    def peer(self) -> RtpPeer:
        return self.call.peer

    @property
    def port(self) -> int:
        return self.call.placement.port


@dataclass
class Ground:
    """Where the attacks take place."""

    front: Front
    stt: Member
    process: Popen[bytes]
    recordings: Path
    page: str

    def peer(self, placement: Placement, *, mute: bool = False, srtp: SrtpKeys | None = None) -> RtpPeer:
        """A caller that sends and listens."""
        peer = RtpPeer(placement.port, ssrc=CALLER_SSRC)
        peer.mute = mute
        if srtp:
            peer.socket = SealedSocket(peer.socket, SrtpPeer(srtp))  # type: ignore[assignment]
        self.front._callers.enter_context(peer)  # noqa: SLF001  the front is the callers' home
        return peer

    async def open(
        self, call_id: str, placement: Placement, peer: RtpPeer, kind: AppKind = "echo", *, record: bool = True,
        srtp: SrtpKeys | None = None, mux: bool = False,
    ) -> Victim:  # fmt: skip
        """A call that is up."""
        opened = MediaOpen(
            msg_id=new_message_id(), reply_to=self.front.member.id, call_id=call_id, sip_call_id=f"sip-{call_id}",
            tenant="acme", room_id=f"room-{call_id}", session_id="s", rtp_port=placement.port,
            remote=RtpEndpoint(host="127.0.0.1", rtp_port=peer.port),
            format=MediaFormat(codec="PCMU", payload_type=0, dtmf_payload_type=101, rtcp_mux=mux), srtp=srtp,
            app=AppSpec(kind=kind), ai=AiWorkers(stt=placement.stt), record=record,
        )  # fmt: skip
        answer = await self.front.ask(placement.worker, opened)
        if not answer.ok:
            raise RuntimeError(answer.reason)
        start = MediaStart(msg_id=new_message_id(), reply_to=self.front.member.id, call_id=call_id)
        await self.front.ask(placement.worker, start)
        call = PlacedCall(call_id, placement, peer, opened)
        self.front._up[call_id] = call  # noqa: SLF001  hung up with the others should the scenario fail
        return Victim(call)

    async def rekey(self, victim: Victim, keys: SrtpKeys) -> None:
        """A re-INVITE with other keys; the phone uses them from now on."""
        opened = victim.call.opened
        update = MediaUpdate(
            msg_id=new_message_id(), reply_to=self.front.member.id, call_id=victim.call.call_id, remote=opened.remote,
            format=opened.format, srtp=keys,
        )  # fmt: skip
        await self.front.ask(victim.call.placement.worker, update)
        victim.srtp.peer = SrtpPeer(keys)

    async def hang_up(self, victim: Victim) -> None:
        await self.front.hang_up(victim.call)

    # --- where a tone could turn up

    async def recording(self, victim: Victim) -> Pcm:
        """What was recorded of a call that is over, both sides one after the other."""
        path = await eventually(
            lambda: next(iter(self.recordings.rglob(f"*{victim.call.call_id}*.wav")), None), 10.0
        )
        pcm, _ = soundfile.read(str(path), dtype="int16", always_2d=True)
        return np.concatenate([pcm[:, side] for side in range(pcm.shape[1])])

    def utterances(self, victim: Victim) -> Pcm:
        """What speech to text was given of a call."""
        frames = [frame for message in self.stt.got(PcmToStt) for frame in message.frames]
        return np.frombuffer(
            b"".join(frame.pcm for frame in frames if frame.call_id == victim.call.call_id), np.int16
        )

    def refused(self) -> Counter[str]:
        """The worker's counters by reason."""
        with urllib.request.urlopen(self.page, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = [line.removeprefix(REASON).split('"} ') for line in lines if line.startswith(REASON)]
        return Counter({reason: int(float(value)) for reason, value in found})


@contextlib.asynccontextmanager
async def ground(
    redis_url: str, directory: Path, *, pairs: int = PORT_PAIRS, **more: str
) -> AsyncIterator[Ground]:
    """A media worker with few ports, so that the next call soon gets the port of the last one."""
    http = free_port()
    settings = {
        "MEDIA__PORTS": rtp_block(2 * pairs), "MEDIA__QUARANTINE_S": "0.4", "OPS__HTTP_PORT": str(http),
        "MEDIA__RTP_NEVER_S": "10", "MEDIA__RTP_TIMEOUT_S": "10",
    }  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        process = stack.enter_context(media_worker(redis_url, directory, **(settings | more)))
        stt = await stack.enter_async_context(member(redis_url, "stt"))
        placed = await stack.enter_async_context(front(redis_url))
        await placed.media()
        page = f"http://127.0.0.1:{http}/metrics"
        yield Ground(placed, stt, process, directory / "recordings", page)


def peer_clock(victim: Victim) -> tuple[int, int]:
    """Sequence number and timestamp that the caller uses next: what somebody on its network sees."""
    return victim.peer._seq, victim.peer._timestamp  # noqa: SLF001


def ssrc_of_ours(victim: Victim) -> int:
    return victim.peer.heard[-1].ssrc


def unpack_seq(datagram: bytes) -> int:
    return int(struct.unpack_from("!H", datagram, 2)[0])
