"""Messages with anything put anywhere: never an exception, and afterwards nothing is left (I1, I9)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.front_bench import FrontBench
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.property

RICH = "Record-Route: <sip:p;lr>\r\nX-Room-ID: r\r\nTimestamp: 1\r\nContent-Encoding: identity"
MESSAGES = [
    Caller().invite(), Caller().invite(headers=RICH), Caller().request("BYE", to_tag="x"), Caller().request("OPTIONS"),
    Caller().ack(), Caller().request("CANCEL"),
    (b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 1.1.1.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n"
    b"Call-ID: x\r\nCSeq: 1 BYE\r\n\r\n"),
]  # fmt: skip
PIECES = [
    b";", b",", b'"', b"\\", b"<", b">", b":", b"@", b"\r\n", b"\r\n ", b" ", b"\t", b"=", b"/", b"9" * 30, b"-1", b"\xff\xfe",
    b"%00", b"%0d%0a", b";tag=x", b"[::1]", b"sip:", b"SIP/2.0", b"a=", b"m=audio 0 RTP/AVP 0", b"m=video 1 X 1",
    b"c=IN IP4 999.1.1.1", b"c=IN IP6 ::1", "\u2028".encode(), "\x85m=audio".encode(), b"\x0b", b"", b"multipart/mixed;boundary=x",
    b"--x", "\u0663".encode(),
]  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 10), st.sampled_from(PIECES), st.sampled_from([1, 1, 1, 2, 50])
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MESSAGES), EDITS)
def test_whatever_a_datagram_says_it_is_survived_and_leaves_nothing(message, edits):
    data = bytearray(message)
    for where, taken, piece, times in edits:
        at = int(where * len(data))
        data[at : at + taken] = piece * times
    bench = FrontBench()
    answers = bench.send(bytes(data))
    assert all(answer.code for answer in answers)
    if len(bench.front.calls):
        bench.reserved()
        bench.media()
    bench.end()
    bench.assert_empty()
