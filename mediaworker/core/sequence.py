"""Extended sequence numbers (RFC 3550 appendix A.1) for one packet per row.

The probation of A.1 is left out: a leg's first packet is already known by its source address. A jump is believed when
the next packet follows it. Must not touch anything but the sequence columns of the rows given.
"""

from typing import Final

import numpy as np

from mediaworker.core.rows import Index, Ints, Mask, Rows

MAX_DROPOUT: Final = 3_000
MAX_MISORDER: Final = 100


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


def expected(rows: Rows, at: Index) -> Ints:
    """Packets that should have come since the leg's first one (A.3)."""
    span: Ints = np.where(rows.received[at] > 0, rows.ext_max[at] - rows.base_ext[at] + 1, 0)
    return rows.expected_before[at] + span
