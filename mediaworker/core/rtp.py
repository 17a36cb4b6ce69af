"""RTP headers (RFC 3550 section 5.1), read and written as arrays.

`read_variable` takes the packets that are not of the plain shape (12 octets of header, 160 of payload): contributing
sources, extension and padding are honoured where they fit the packet and refused where they do not. Must not know
rows, payload types or time.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mediaworker.core.g711 import Octets

HEADER_BYTES: Final = 12
FRAME_BYTES: Final = 160
PLAIN_BYTES: Final = HEADER_BYTES + FRAME_BYTES
FIRST_OCTET: Final = 0x80
MARKER_BIT: Final = 0x8000
"""Marker in the first two octets read little-endian."""

Words = npt.NDArray[np.uint16]


class Variable(NamedTuple):
    """N packets of any shape. `payload_at` and `payload_bytes` are 0 where `fault` says the packet is unusable."""

    short: npt.NDArray[np.bool_]
    version: npt.NDArray[np.bool_]
    payload_at: npt.NDArray[np.int64]
    payload_bytes: npt.NDArray[np.int64]


def first_words(packets: Octets) -> Words:
    """[N, B] octets to [N]: the first two octets, little-endian."""
    return packets.view("<u2")[:, 0]


def sequence_numbers(packets: Octets) -> npt.NDArray[np.int64]:
    return packets.view(">u2")[:, 1].astype(np.int64)


def timestamps(packets: Octets) -> npt.NDArray[np.int64]:
    return packets.view(">u4")[:, 1].astype(np.int64)


def sources(packets: Octets) -> npt.NDArray[np.uint32]:
    """SSRC as it stands in memory: only ever compared."""
    return packets.view("<u4")[:, 2]


def read_variable(packets: Octets, lengths: npt.NDArray[np.int64]) -> Variable:
    """[N, B] octets with `lengths` octets each: where the payload is."""
    row = np.arange(len(packets))
    first = packets[:, 0].astype(np.int64)
    version = ((first >> 6) != 2) & (lengths > 0)
    at = HEADER_BYTES + 4 * (first & 15)
    short = (lengths < HEADER_BYTES) | (lengths < at)
    extended = (first & 0x10) != 0
    if extended.any():
        short |= extended & (lengths < at + 4)
        words_at = np.minimum(at + 2, packets.shape[1] - 2)
        words = packets[row, words_at].astype(np.int64) << 8 | packets[row, words_at + 1]
        at = np.where(extended, at + 4 + 4 * words, at)
    padded = (first & 0x20) != 0
    last = packets[row, np.clip(lengths - 1, 0, packets.shape[1] - 1)].astype(np.int64)
    padding = np.where(padded, last, 0)
    short |= (at + padding > lengths) | (padded & (padding == 0))
    good = ~(short | version)
    return Variable(
        short & ~version,
        version,
        np.where(good, at, 0),
        np.where(good, lengths - at - padding, 0),
    )
