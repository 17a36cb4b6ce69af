"""The filter before the parser."""

import pytest

from sipfront.core.datagram import head_of, trim, why_refused
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.unit

GOOD = Caller().invite()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (GOOD, ""),
        (b"", "keepalive"),
        (GOOD + b"\r\n\0anything\n", ""),
        (b"A" * 20_000, "too_long"),
        (GOOD.replace(b"70", b"7\r0"), "bare_cr"),
        (GOOD.replace(b"70", b"7\n0"), "bare_lf"),
        (GOOD.replace(b"70", b"7\x000"), "nul"),
        (GOOD.replace(b"70", b"7\x1b0"), "control"),
        (GOOD.replace(b"70", b"7\t0"), ""),
        (b"X: y\r\n" * 200 + b"\r\n", "too_many_headers"),
    ],
)
def test_reason_for_not_parsing(data, why):
    assert why_refused(data) == why


def test_empty_lines_before_a_message_are_taken_off():
    assert trim(b"\r\n\r\nA") == b"A"
    assert head_of(b"A\r\nB: c\r\n\r\nbody") == b"A\r\nB: c"
