"""SIP messages as a caller writes them, for tests of the front; and a bare UDP peer."""

import re
import socket
import time
from dataclasses import dataclass, field
from typing import Self

OFFER = (
    "v=0\r\no=- 11 22 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 6000 RTP/AVP 8 0 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


def offer(**changes: str) -> str:
    """OFFER with lines changed: `offer(c="IN IP4 0.0.0.0")`."""
    lines = []
    for line in OFFER.split("\r\n"):
        key = line[:1]
        lines.append(f"{key}={changes[key]}" if key in changes else line)
    return "\r\n".join(lines)


@dataclass
class Caller:
    """One caller's dialog; every message is text that a test may change before it is sent."""

    host: str = "127.0.0.1"
    port: int = 5070
    user: str = "echo"
    number: str = "1"
    to_tag: str = ""
    cseq: int = 1
    routes: list[str] = field(default_factory=list)
    target: str = ""

    @property
    def sip_call_id(self) -> str:
        return f"callid-{self.number}"

    def request(
        self, method: str, body: str = "", *, cseq: int | None = None, branch: str = "", headers: str = "",
        to_tag: str | None = None, from_tag: str = "", contact: bool = True, kind: str = "application/sdp",
    ) -> bytes:  # fmt: skip
        number = self.cseq if cseq is None else cseq
        tag = self.to_tag if to_tag is None else to_tag
        uri = self.target or f"sip:{self.user}@127.0.0.1:5060"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};rport;branch={branch or self.branch(method, number)}",
            "Max-Forwards: 70",
            f'From: "Caller" <sip:alice@{self.host}>;tag={from_tag or "a" + self.number}',
            f"To: <sip:{self.user}@127.0.0.1>" + (f";tag={tag}" if tag else ""),
            f"Call-ID: {self.sip_call_id}",
            f"CSeq: {number} {method}",
        ]
        lines += [f"Contact: <sip:alice@{self.host}:{self.port}>"] if contact else []
        lines += [f"Route: {route}" for route in self.routes]
        lines += [line for line in headers.split("\r\n") if line]
        lines += [f"Content-Type: {kind}"] if body else []
        return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body]).encode()

    def branch(self, method: str, cseq: int) -> str:
        shared = "INVITE" if method == "CANCEL" else method
        return f"z9hG4bK-{self.number}-{shared}-{cseq}"

    def invite(self, body: str = OFFER, **changes: str) -> bytes:
        return self.request("INVITE", body, **changes)  # type: ignore[arg-type]

    def ack(self, body: str = "", **changes: str) -> bytes:
        return self.request("ACK", body, branch=f"z9hG4bK-{self.number}-ack", **changes)  # type: ignore[arg-type]

    def failure_ack(self, answer: "Answer") -> bytes:
        """The ACK of a failure: the INVITE's branch, the answer's To tag (section 17.1.1.3)."""
        branch = self.branch("INVITE", self.cseq)
        return self.request("ACK", branch=branch, to_tag=answer.to_tag, contact=False)

    def bye(self, **changes: str) -> bytes:
        self.cseq += 1
        return self.request("BYE", **changes)  # type: ignore[arg-type]

    def answered(self, answer: "Answer") -> None:
        """Takes over what a 200 says about the dialog."""
        self.to_tag = answer.to_tag
        self.target = answer.contact


class Answer:
    """A message of the front, taken apart just enough for assertions."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        head, _, self.body = data.decode().partition("\r\n\r\n")
        self.start, *self.lines = head.split("\r\n")

    @property
    def code(self) -> int:
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def method(self) -> str:
        return "" if self.code else self.start.split(" ")[0]

    def values(self, name: str) -> list[str]:
        found = []
        for line in self.lines:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                found.append(value.strip())
        return found

    def header(self, name: str) -> str:
        values = self.values(name)
        return values[0] if values else ""

    @property
    def to_tag(self) -> str:
        match = re.search(r";tag=([^;]+)", self.header("To"))
        return match[1] if match else ""

    @property
    def contact(self) -> str:
        match = re.search(r"<([^>]+)>", self.header("Contact"))
        return match[1] if match else ""

    def __repr__(self) -> str:
        return f"<Answer {self.start}>"


def reply(request: Answer, code: int = 200, phrase: str = "OK") -> bytes:
    """An answer of the caller to a request of the front."""
    lines = [f"SIP/2.0 {code} {phrase}"]
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        lines += [f"{name}: {value}" for value in request.values(name)]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


class UdpPeer:
    """A caller's socket on loopback."""

    def __init__(self, to_port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._to = ("127.0.0.1", to_port)
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._to)

    def receive(self, timeout_s: float = 3.0) -> Answer | None:
        """The next datagram, None at the deadline."""
        self._socket.settimeout(timeout_s)
        try:
            return Answer(self._socket.recv(65_535))
        except (TimeoutError, BlockingIOError):
            return None

    def until(self, *wanted: int | str, timeout_s: float = 5.0) -> Answer:
        """The next answer with one of these codes, or request with one of these methods."""
        deadline = time.monotonic() + timeout_s
        seen = []
        while (left := deadline - time.monotonic()) > 0:
            answer = self.receive(left)
            if answer and (answer.code in wanted or answer.method in wanted):
                return answer
            seen.append(answer)
        raise AssertionError(f"waited for {wanted}, got {seen}")
