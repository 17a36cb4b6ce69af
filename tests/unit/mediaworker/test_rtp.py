import numpy as np
import pytest

from mediaworker.core import rtp
from tests.support.engine_caller import rtp as packet

pytestmark = pytest.mark.unit


def read(*packets: bytes) -> rtp.Variable:
    block = np.zeros((len(packets), 512), np.uint8)
    for row, data in enumerate(packets):
        block[row, : len(data)] = np.frombuffer(data, np.uint8)
    return rtp.read_variable(block, np.array([len(data) for data in packets]))


def test_fields_are_read_where_the_rfc_puts_them():
    block = np.frombuffer(
        packet(0xABCD, 0x01020304, b"", ssrc=0x0A0B0C0D, marker=True) + bytes(500), np.uint8
    )[None, :512]
    assert rtp.sequence_numbers(block)[0] == 0xABCD
    assert rtp.timestamps(block)[0] == 0x01020304
    assert rtp.sources(block).tobytes() == b"\x0a\x0b\x0c\x0d"
    assert rtp.first_words(block)[0] == 0x80 | rtp.MARKER_BIT


def test_contributing_sources_extension_and_padding_are_stepped_over():
    csrc = packet(1, 1, bytes(8) + b"x" * 160, first=0x82)
    extension = packet(1, 1, b"\xbe\xde\x00\x02" + bytes(8) + b"y" * 160, first=0x90)
    padding = packet(1, 1, b"z" * 160 + b"\0\0\0\4", first=0xA0)
    found = read(csrc, extension, padding)
    assert not (found.short | found.version).any()
    assert found.payload_at.tolist() == [20, 24, 12]
    assert found.payload_bytes.tolist() == [160, 160, 160]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80", packet(1, 1, b"")[:11], packet(1, 1, b"", first=0x8F), packet(1, 1, b"\xbe\xde", first=0x90),
        packet(1, 1, b"\xbe\xde\xff\xff" + bytes(100), first=0x90), packet(1, 1, b"abc\xff", first=0xA0),
        packet(1, 1, b"abc\0", first=0xA0), packet(1, 1, b"", first=0xA0),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(data: bytes):
    found = read(data)
    assert (found.short | found.version).all()
    assert found.payload_bytes[0] == 0


def test_another_version_is_told_from_a_short_packet():
    found = read(packet(1, 1, bytes(160), first=0x40), packet(1, 1, bytes(160), first=0xC0), b"\x80\x00")
    assert found.version.tolist() == [True, True, False]
    assert found.short.tolist() == [False, False, True]
