"""A WAV file that grows: stereo PCM, playable after every write, sparse where nothing was said.

Data goes first, then the sizes in the header, so a process that is killed in between leaves what was there before.
Sources: RIFF WAVE, PCM (Microsoft, Multimedia Programming Interface 1.0). Its sizes have 32 bits: see `LONGEST_BYTES`.
"""

import os
import struct
from typing import Final

from shared.units import BYTES_PER_SAMPLE, NARROWBAND_HZ

CHANNELS: Final = 2
BLOCK_BYTES: Final = CHANNELS * BYTES_PER_SAMPLE
HEADER_BYTES: Final = 44
LONGEST_BYTES: Final = (0xFFFF_FFFF - HEADER_BYTES) // BLOCK_BYTES * BLOCK_BYTES
"""Of samples: 37 hours at 8 kHz, 18 hours at 16 kHz. What comes after is not written."""


def wav_header(data_bytes: int, rate_hz: int = NARROWBAND_HZ) -> bytes:
    """The header of a file with so many bytes of samples."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", HEADER_BYTES - 8 + data_bytes, b"WAVE", b"fmt ", 16, 1, CHANNELS,
        rate_hz, rate_hz * BLOCK_BYTES, BLOCK_BYTES, 8 * BYTES_PER_SAMPLE, b"data", data_bytes,
    )  # fmt: skip


class WavFile:
    """`write` puts samples at a place in time. Raises OSError where the disk does."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rate_hz = 0
        """Set with the first samples; 0: none came yet."""
        self._length = 0
        """Bytes of samples that the header claims."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            os.write(self._fd, wav_header(0))
        except OSError:
            os.close(self._fd)
            raise

    @property
    def fd(self) -> int:
        return self._fd

    def offset(self, at_samples: int) -> int:
        """Where in the file the samples of a place are."""
        return HEADER_BYTES + at_samples * BLOCK_BYTES

    def holds(self, samples: int) -> bool:
        """Whether so many fit into a file at all."""
        return samples * BLOCK_BYTES <= LONGEST_BYTES

    def grow(self, end: int) -> bool:
        """Samples were written up to this offset of the file; True: the header has to be written again."""
        longer = end - HEADER_BYTES > self._length
        if longer:
            self._length = end - HEADER_BYTES
        return longer

    def header(self) -> bytes:
        """As it should be now."""
        return wav_header(self._length, self.rate_hz or NARROWBAND_HZ)

    def write(self, at_samples: int, data: bytes | memoryview) -> bool:
        """Samples of both sides from a place on; what was never written reads as silence. False: not all of it fits."""
        at = at_samples * BLOCK_BYTES
        room = LONGEST_BYTES - at
        fits = data if len(data) <= room else data[: max(0, room)]
        written = os.pwrite(self._fd, fits, HEADER_BYTES + at) if len(fits) else 0
        if written and written == len(fits) and at + written > self._length:
            self._claim(at + written)
        return written == len(data)

    def extend(self, samples: int) -> None:
        """The file is at least this long, in samples."""
        length = min(samples * BLOCK_BYTES, LONGEST_BYTES)
        if length > self._length:
            os.ftruncate(self._fd, HEADER_BYTES + length)
            self._claim(length)

    def close(self) -> None:
        os.close(self._fd)

    def _claim(self, length: int) -> None:
        os.pwrite(self._fd, wav_header(length, self.rate_hz or NARROWBAND_HZ), 0)
        self._length = length
