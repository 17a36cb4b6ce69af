"""Extended sequence numbers (RFC 3550 appendix A.1) for one packet per row.

The probation of A.1 is left out: a leg's first packet is already known by its source address. A jump is believed when
the next packet follows it. Must not touch anything but the sequence columns of the rows given.
"""

from typing import Final

import numpy as np

from mediaworker.core.rows import Index, Ints, Mask, Rows

MAX_DROPOUT: Final = 3_000
MAX_MISORDER: Final = 100
WINDOW: Final = 64
_ONE: Final = np.uint64(1)


def distance(seq: Ints, ext_max: Ints) -> Ints:
    """How far `seq` is ahead of the highest one seen, -32768 to 32767."""
    return ((seq - ext_max + 32_768) & 65_535) - 32_768


def restart(rows: Rows, at: Index, seq: Ints) -> None:
    """A new numbering begins at `seq`; what was expected until now stays counted."""
    spent = np.where(rows.received[at] > 0, rows.ext_max[at] - rows.base_ext[at] + 1, 0)
    rows.expected_before[at] += spent
    rows.ext_max[at] = seq
    rows.base_ext[at] = seq
    rows.bad_seq[at] = -1
    rows.seen[at] = 0
    rows.seen_top[at] = seq - 1


def extend(rows: Rows, at: Index, seq: Ints) -> tuple[Ints, Mask | None, Mask | None]:
    """Extended numbers of one packet per row; which are to be dropped as a jump, and which began a new numbering.

    None instead of both masks where they would be all false.
    """
    known = rows.ext_max[at]
    delta = distance(seq, known)
    ext = known + delta
    jumped = (delta > MAX_DROPOUT) | (delta < -MAX_MISORDER)
    if not np.count_nonzero(jumped):
        rows.ext_max[at] = np.maximum(known, ext)
        return ext, None, None
    renumbered: Mask = jumped & (rows.bad_seq[at] == seq)
    restart(rows, at[renumbered], seq[renumbered])
    ext = np.where(renumbered, seq, ext)
    jumped &= ~renumbered
    rows.bad_seq[at[jumped]] = (seq[jumped] + 1) & 65_535
    rows.ext_max[at] = np.where(renumbered, seq, np.where(jumped, known, np.maximum(known, ext)))
    return ext, jumped, renumbered


def repeated(rows: Rows, at: Index, ext: Ints) -> Mask | None:
    """Which of the packets, one per row, came before; None for none. Those that came after a later one are counted.

    The window is of 64 packets, like that of RFC 3711 section 3.3.2: what is older counts as reordered.
    """
    ahead = ext - rows.seen_top[at]
    seen = rows.seen[at]
    if np.count_nonzero(ahead == 1) == len(ahead):
        rows.seen[at] = (seen << _ONE) | _ONE
        rows.seen_top[at] = ext
        return None
    onward = ahead > 0
    shift = np.minimum(np.abs(ahead), WINDOW - 1).astype(np.uint64)
    bit = _ONE << shift
    again: Mask = ~onward & (ahead > -WINDOW) & ((seen & bit) != 0)
    moved = np.where(ahead < WINDOW, seen << shift, np.uint64(0)) | _ONE
    back = np.where(ahead > -WINDOW, seen | bit, seen)
    rows.seen[at] = np.where(onward, moved, back)
    rows.seen_top[at] = np.maximum(rows.seen_top[at], ext)
    rows.reordered[at] += ~onward & ~again
    rows.duplicate[at] += again
    return again if np.count_nonzero(again) else None


def missing(rows: Rows, at: Index, before: Ints, number: Ints) -> Ints:
    """[N] how many of the numbers between these two never came; what is older than the window counts as missing."""
    between = np.maximum(number - before - 1, 0)
    first = np.maximum(rows.seen_top[at] - number + 1, 0)
    inside = np.minimum(between, np.maximum(WINDOW - first, 0))
    shift, width = (np.minimum(bits, WINDOW - 1).astype(np.uint64) for bits in (first, inside))
    came = np.bitwise_count((rows.seen[at] >> shift) & ((_ONE << width) - _ONE))
    absent: Ints = between - came
    return absent


def expected(rows: Rows, at: Index) -> Ints:
    """Packets that should have come since the leg's first one (A.3)."""
    span: Ints = np.where(rows.received[at] > 0, rows.ext_max[at] - rows.base_ext[at] + 1, 0)
    return rows.expected_before[at] + span


def expected_of(rows: Rows, row: int) -> int:
    """`expected` of one row that has received something."""
    return int(rows.expected_before[row] + rows.ext_max[row] - rows.base_ext[row]) + 1
