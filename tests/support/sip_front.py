"""A SIP front of the test on a UDP port: answers calls, can drain and shed, remembers every request it saw."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

_SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 45000 RTP/AVP 0\r\n"
_COPIED = ("via", "from", "call-id", "cseq", "record-route")


def headers(message: str, name: str) -> list[str]:
    """Every value of a header in a SIP message."""
    found = re.findall(rf"(?im)^{re.escape(name)}\s*:[ \t]*(.*?)\r?$", message)
    return [value.strip() for value in found]


class Front:
    """Serves in a thread; `draining` answers OPTIONS with 503, `shedding` INVITE."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.draining = False
        self.shedding = False
        self.seen: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def requests(self, method: str) -> list[str]:
        return [message for message in self.seen if message.startswith(f"{method} ")]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes recvfrom
        self._thread.join(2.0)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                data, peer = self._socket.recvfrom(8_192)
            except OSError:
                return
            if not data:
                return
            message = data.decode(errors="replace")
            self.seen.append(message)
            answer = self._answer(message)
            if answer:
                self._socket.sendto(answer.encode(), peer)

    def _answer(self, message: str) -> str:
        method = message.partition(" ")[0]
        if method == "ACK":
            return ""
        refuses = (method == "OPTIONS" and self.draining) or (method == "INVITE" and self.shedding)
        body = _SDP if method == "INVITE" and not refuses else ""
        lines = ["SIP/2.0 503 Service Unavailable" if refuses else "SIP/2.0 200 OK"]
        lines += [line for line in message.split("\r\n") if line.partition(":")[0].strip().lower() in _COPIED]
        to = headers(message, "To")[0]
        lines += [f"To: {to}" if "tag=" in to else f"To: {to};tag=front{self.port}"]
        lines += [f"Contact: <sip:front@127.0.0.1:{self.port}>"]
        lines += ["Content-Type: application/sdp"] if body else []
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])


@contextlib.contextmanager
def front(port: int) -> Iterator[Front]:
    serving = Front(port)
    try:
        yield serving
    finally:
        serving.close()
