"""Whose packets a leg takes (DESIGN I8): the negotiated address or a media network, then that address and SSRC only.

Two policies. `strict`: a source once pinned stays until the signalling moves it. `latch`: a source that has been silent is
let go, and the same SSRC may come back from another address of those allowed (a NAT that forgot its binding). Who is
refused is counted by the caller of this module. Must not read packets: it is told their source, SSRC and time.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mediaworker.core.address import Network
from mediaworker.core.rows import Index, Ints, Mask, Rows
from shared.units import NS_PER_MS, NS_PER_S

Addresses = npt.NDArray[np.uint64]
Ssrcs = npt.NDArray[np.uint32]
SourcePolicy = Literal["strict", "latch"]

SSRC_SILENCE_NS: Final = 200 * NS_PER_MS
"""A pinned SSRC that was silent this long may be followed by another one from the same address."""
LATCH_NS: Final = NS_PER_S
"""With `latch`, a source that was silent this long is let go."""


class Sources:
    """The negotiated addresses are `rows.negotiated`; 0 in `rows.source` is a row that waits for its source."""

    def __init__(self, rows: Rows, *, latch: bool = False) -> None:
        self._rows = rows
        self._latch = latch
        self._networks: dict[int, tuple[Network, ...]] = {}

    def open(self, row: int, networks: tuple[Network, ...]) -> None:
        """After `rows.negotiated` is set."""
        self._networks[row] = networks
        self.expect(row)

    def expect(self, row: int) -> None:
        """A leg is new, or the signalling moved it: nothing is pinned. Where only one address is allowed that is the source
        already, so that the kernel keeps strangers out from the first packet on.
        """
        rows = self._rows
        rows.source[row] = 0 if self._networks.get(row) else rows.negotiated[row]
        rows.pinned[row] = False

    def close(self, row: int) -> None:
        self._networks.pop(row, None)

    def allowed(self, row: int, source: int) -> bool:
        """Whether media may come from this address at all."""
        return source == int(self._rows.negotiated[row]) or any(
            network.holds(source) for network in self._networks.get(row, ())
        )

    def may_come(self, row: int, source: int, arrived_ns: int) -> bool:
        """Whether a packet from `source` is worth a look: the pinned source, or one that may be pinned."""
        rows = self._rows
        if rows.source[row]:
            return source == int(rows.source[row])
        return arrived_ns >= int(rows.opened_ns[row]) and self.allowed(row, source)

    def known(self, at: Index, sources: Addresses, arrivals: Ints) -> Mask:
        """[N] packets: which come from where they may. Looks closely only at those of rows without a source.

        A packet that arrived before its leg was opened met the port's last call, not this one.
        """
        theirs = self._rows.source[at]
        known: Mask = sources == theirs
        for index in np.flatnonzero(theirs == 0).tolist():
            known[index] = self.may_come(int(at[index]), int(sources[index]), int(arrivals[index]))
        return known

    def streams(self, at: Index, ssrcs: Ssrcs, arrivals: Ints, good: Mask) -> tuple[Mask, Mask, Mask]:
        """[N] packets from known sources: those of the pinned stream, those that begin another one, and those of the
        pinned stream that come back from another address.

        Another SSRC is believed after a silence, from an address that is still pinned; a source that was let go comes
        back with its SSRC or not at all.
        """
        rows = self._rows
        pinned = rows.pinned[at]
        same: Mask = pinned & (rows.ssrc[at] == ssrcs)
        gone = pinned & (rows.source[at] == 0)
        silent = arrivals - rows.arrived_ns[at] >= SSRC_SILENCE_NS
        fresh = good & ~same & (~pinned | (silent & ~gone))
        return same, fresh, good & same & gone

    def let_go(self, span: slice, now_ns: int) -> list[int]:
        """With `latch`: the rows whose source fell silent, and is one no more. Media still goes there until another comes."""
        if not self._latch:
            return []
        rows = self._rows
        held = rows.opened[span] & rows.pinned[span] & (rows.source[span] != 0)
        silent = np.flatnonzero(held & (now_ns - rows.arrived_ns[span] > LATCH_NS)) + span.start
        gone = [row for row in silent.tolist() if self._networks.get(row)]
        rows.source[gone] = 0
        return gone
