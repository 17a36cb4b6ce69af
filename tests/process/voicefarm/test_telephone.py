"""The telephone on real sockets, without a farm: nobody there, a refusal, an answer, a hang-up by the other side."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiosipua.message import SipMessage, SipRequest

from voicefarm.core.conversation import Finding
from voicefarm.core.offer import Offer
from voicefarm.core.script import parse_script
from voicefarm.io.place_call import CallPlan, place_call

pytestmark = pytest.mark.process


class Answerer(asyncio.DatagramProtocol):
    """Answers every INVITE with one status; a 200 takes the call and echoes its audio."""

    def __init__(self, status: str, rtp_port: int) -> None:
        self._status = status
        self._rtp_port = rtp_port
        self.methods: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None
        self.invite: SipRequest | None = None
        self.peer: tuple[str, int] = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = SipMessage.parse(data)
        if not isinstance(request, SipRequest):
            return
        self.methods.append(request.method)
        self.peer = addr
        if request.method == "INVITE":
            self.invite = request
            self._answer(request, self._status)
        elif request.method in {"BYE", "CANCEL"}:
            self._answer(request, "200 OK")

    def _answer(self, request: SipRequest, status: str) -> None:
        body = (
            Offer(host="127.0.0.1", rtp_port=self._rtp_port, session=1).sdp() if status == "200 OK" else b""
        )
        lines = [f"SIP/2.0 {status}", f"Via: {request.get_header_values('Via')[0]}"]
        lines += [f"{name}: {request.get_header(name)}" for name in ("From", "Call-ID", "CSeq")]
        lines += [f"To: {request.get_header('To')};tag=t", "Contact: <sip:t@{}:{}>".format(*self._own())]
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}", "", ""]
        self._send("\r\n".join(lines).encode() + body)

    def hang_up(self) -> None:
        assert self.invite is not None
        lines = [
            "BYE sip:caller@127.0.0.1 SIP/2.0", "Via: SIP/2.0/UDP {}:{};branch=z9hG4bKbye".format(*self._own()),
            f"From: {self.invite.get_header('To')};tag=t", f"To: {self.invite.get_header('From')}",
            f"Call-ID: {self.invite.call_id}", "CSeq: 1 BYE", "Content-Length: 0", "", "",
        ]  # fmt: skip
        self._send("\r\n".join(lines).encode())

    def _own(self) -> tuple[str, int]:
        assert self.transport is not None
        host, port = self.transport.get_extra_info("sockname")[:2]
        return str(host), int(port)

    def _send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.sendto(data, self.peer)


class EchoAudio(asyncio.DatagramProtocol):
    """Sends every packet back; counts them."""

    def __init__(self) -> None:
        self.packets = 0
        self.on_packet: Callable[[int], None] = lambda _count: None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self.packets += 1
        self._transport.sendto(data, addr)
        self.on_packet(self.packets)


@asynccontextmanager
async def answerer(status: str) -> AsyncIterator[tuple[Answerer, EchoAudio, str]]:
    loop = asyncio.get_running_loop()
    rtp, echo = await loop.create_datagram_endpoint(EchoAudio, local_addr=("127.0.0.1", 0))
    port = rtp.get_extra_info("sockname")[1]
    sip, answering = await loop.create_datagram_endpoint(
        lambda: Answerer(status, port), local_addr=("127.0.0.1", 0)
    )
    try:
        yield answering, echo, "sip:x@127.0.0.1:{}".format(sip.get_extra_info("sockname")[1])
    finally:
        sip.close()
        rtp.close()


def plan(target: str, steps: str) -> CallPlan:
    script = parse_script(f"recordings: {{a: {{file: a}}}}\nsteps: {steps}", "test")
    pcm = (8_000 * np.sin(np.arange(4_000) * 0.4)).astype(np.int16)
    return CallPlan(target=target, script=script, audio={"a": pcm}, at_most_s=20)


async def test_what_is_said_comes_back_and_the_call_is_hung_up() -> None:
    async with answerer("200 OK") as (answering, echo, target):
        report = await place_call(plan(target, "[{say: a}, {wait_ms: 200}, {hang_up: true}]"), lambda _: None)
        assert report.ok, report.findings
        assert answering.methods == ["INVITE", "ACK", "BYE"]
        assert echo.packets >= report.heard.packets > 25
        assert 24 <= report.heard.loud_frames <= 26
        assert not report.facts.by_farm
        left, right = report.recording[:, 0], report.recording[:, 1]
        assert abs(left[:4_000]).max() > 7_000
        assert abs(right).max() > 7_000


async def test_a_hang_up_by_the_other_side_ends_the_script() -> None:
    async with answerer("200 OK") as (answering, echo, target):
        echo.on_packet = lambda count: answering.hang_up() if count == 15 else None
        report = await place_call(plan(target, "[{ended: {within_ms: 5000}}]"), lambda _: None)
        assert report.ok
        assert report.facts.by_farm
        assert answering.methods == ["INVITE", "ACK"]


async def test_a_refusal_is_the_finding() -> None:
    async with answerer("486 Busy Here") as (answering, _, target):
        report = await place_call(plan(target, "[{say: a}]"), lambda _: None)
        assert report.findings == [Finding(ok=False, text="the call was not answered: 486 Busy Here")]
        assert answering.methods == ["INVITE", "ACK"]
        assert len(report.recording) == 0


async def test_a_call_that_lasts_too_long_is_ended() -> None:
    async with answerer("200 OK") as (answering, _, target):
        wanted = plan(target, "[{wait_ms: 60000}]")
        report = await place_call(
            CallPlan(target=target, script=wanted.script, audio={}, at_most_s=0.3), lambda _: None
        )
        assert [finding.text for finding in report.findings] == ["not over within 0.3 s"]
        assert answering.methods[-1] == "BYE"
