"""From datagrams to the jitter rings: whose packet it is and what it is; `intake` puts it where it belongs.

A batch holds at most one packet per row. A plain packet of the pinned source is recognised by five vector comparisons;
only the others are looked at closely. Sources are checked as DESIGN I8 demands: the negotiated address or a media
network, then address and SSRC are pinned (`sources.py`); what has keys loses its protection first (`srtp.py`).
Must not play or send.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

from mediaworker.core import rtp
from mediaworker.core.address import Network
from mediaworker.core.dtmf import DtmfReceiver
from mediaworker.core.g711 import Octets
from mediaworker.core.inbound import sequence
from mediaworker.core.inbound.intake import Batch, Intake, Payload
from mediaworker.core.inbound.sources import Sources, Ssrcs
from mediaworker.core.rows import UNSET, Index, Ints, Mask, Rows
from mediaworker.core.srtp import SrtpLegs

RTCP_KINDS = range(64, 96)
"""What RTCP of RFC 5761 looks like where RTP has its payload type."""
COMFORT_NOISE = 13
"""RFC 3389, the static payload type."""


class Receiver:
    """RTP of all legs."""

    def __init__(
        self, rows: Rows, intake: Intake, dtmf: DtmfReceiver, rejected: Counter[str], *, latch: bool = False
    ) -> None:
        self._rows = rows
        self._intake = intake
        self._dtmf = dtmf
        self._rejected = rejected
        self.sources = Sources(rows, latch=latch)
        self.srtp = SrtpLegs(rows, self.sources, rejected)
        self.pinned: list[int] = []
        """Rows whose source was pinned since `take_pinned`."""
        self.reports: list[tuple[int, bytes, int, int]] = []
        """RTCP of rows that have it on their RTP port: row, datagram, source, arrival."""

    @property
    def packets(self) -> int:
        """Packets taken so far."""
        return self._intake.packets

    def open(self, row: int, networks: tuple[Network, ...]) -> None:
        self.sources.open(row, networks)

    def close(self, row: int) -> None:
        self.sources.close(row)
        self.srtp.close(row)

    def take_reports(self) -> list[tuple[int, bytes, int, int]]:
        reports, self.reports = self.reports, []
        return reports

    def take_pinned(self) -> list[int]:
        pinned, self.pinned = self.pinned, []
        return pinned

    def receive(
        self, at: Index, packets: Octets, lengths: Ints, sources: npt.NDArray[np.uint64], arrivals: Ints
    ) -> None:
        """[N] rows, each once; [N, B] octets; [N] lengths, source addresses and arrival times in ns."""
        rows = self._rows
        if self.srtp:
            keep = self.srtp.unseal(at, packets, lengths, sources, arrivals)
            if keep is not None:
                at, packets, lengths = at[keep], packets[keep], lengths[keep]
                sources, arrivals = sources[keep], arrivals[keep]
                if not keep.size:
                    return
        words = rtp.first_words(packets) & ~np.uint16(rtp.MARKER_BIT)
        plain = lengths == rtp.PLAIN_BYTES
        plain &= words == rows.first_word[at]
        plain &= sources == rows.source[at]
        plain &= rtp.sources(packets) == rows.ssrc[at]
        plain &= rows.pinned[at]
        batch = Batch(at, packets, lengths, sources, arrivals)
        if np.count_nonzero(plain) == len(plain):
            self._intake.take(batch, None)
            return
        if np.count_nonzero(plain):
            self._intake.take(batch.only(plain), None)
        self._examine(batch.only(~plain))

    # --- the others

    def _examine(self, batch: Batch) -> None:
        if np.count_nonzero(self._rows.mux[batch.at]):
            batch = self._without_reports(batch)
        batch = self._from_known_sources(batch)
        if not len(batch.at):
            return
        shape = rtp.read_variable(batch.packets, batch.lengths)
        self._count("short", shape.short)
        self._count("version", shape.version)
        good = ~(shape.short | shape.version)
        kinds = (rtp.first_words(batch.packets) >> 8) & 0x7F
        wanted = (self._rows.first_word[batch.at] >> 8) & 0x7F
        audio = kinds == wanted
        silence = kinds == COMFORT_NOISE
        press = kinds == self._rows.dtmf_type[batch.at]
        self._count("payload_type", good & ~(audio | silence | press))
        good &= audio | silence | press
        good &= self._of_pinned_ssrc(batch, good)
        if np.count_nonzero(silence):
            self._rows.silent_sender[batch.at[good & silence]] = True
        keep = np.flatnonzero(good)
        if keep.size:
            size = np.where(audio, shape.payload_bytes, 0)
            noise = silence & (shape.payload_bytes > 0)
            self._intake.take(batch.only(keep), Payload(shape.payload_at, size, noise).only(keep))
            self._presses(batch, shape, np.flatnonzero(good & press))

    def _without_reports(self, batch: Batch) -> Batch:
        """RTCP on the RTP port (RFC 5761 section 4) is put aside for `take_reports`, unchecked as it came."""
        kinds = (rtp.first_words(batch.packets) >> 8) & 0x7F
        found = self._rows.mux[batch.at] & (kinds >= RTCP_KINDS.start) & (kinds < RTCP_KINDS.stop)
        for index in np.flatnonzero(found).tolist():
            data = batch.packets[index, : int(batch.lengths[index])].tobytes()
            source, arrived_ns = int(batch.sources[index]), int(batch.arrivals[index])
            self.reports.append((int(batch.at[index]), data, source, arrived_ns))
        return batch.only(~found)

    def _count(self, reason: str, mask: Mask) -> None:
        number = int(np.count_nonzero(mask))
        if number:
            self._rejected[reason] += number

    def _from_known_sources(self, batch: Batch) -> Batch:
        """First of all checks, and cheap: a spray of strangers costs no more."""
        known = self.sources.known(batch.at, batch.sources, batch.arrivals)
        strangers = len(known) - int(np.count_nonzero(known))
        if not strangers:
            return batch
        self._rejected["source"] += strangers
        return batch.only(known)

    def _of_pinned_ssrc(self, batch: Batch, good: Mask) -> Mask:
        """Pins address and SSRC at a leg's first good packet."""
        rows, at = self._rows, batch.at
        ssrc = rtp.sources(batch.packets)
        known, fresh, back = self.sources.streams(at, ssrc, batch.arrivals, good)
        self._count("ssrc", good & ~known & ~fresh)
        pins = at[fresh]
        if pins.size:
            rows.source[pins] = batch.sources[fresh]
            rows.pinned[pins] = True
            self.pinned.extend(pins.tolist())
            # After a re-INVITE the stream before goes on as a rule (RFC 4028 has one every few minutes): so does its time line.
            another = ~(rows.flowing[pins] & (rows.ssrc[pins] == ssrc[fresh]))
            if np.count_nonzero(another):
                numbers = rtp.sequence_numbers(batch.packets)[fresh]
                self._begin_stream(pins[another], ssrc[fresh][another], numbers[another])
        returned = at[back]
        if returned.size:
            rows.source[returned] = batch.sources[back]
            self.pinned.extend(returned.tolist())
        return known | fresh

    def _begin_stream(self, at: Index, ssrc: Ssrcs, seq: Ints) -> None:
        rows = self._rows
        sequence.restart(rows, at, seq)
        rows.ssrc[at] = ssrc
        rows.transit[at] = UNSET
        rows.ext_max[at] -= 1
        rows.flowing[at] = False
        for row in at.tolist():
            self._dtmf.restart(row)

    def _presses(self, batch: Batch, shape: rtp.Variable, at: Index) -> None:
        stamps = rtp.timestamps(batch.packets)
        for index in at.tolist():
            start = int(shape.payload_at[index])
            payload = batch.packets[index, start : start + int(shape.payload_bytes[index])].tobytes()
            row, arrived = int(batch.at[index]), int(batch.arrivals[index])
            if not self._dtmf.packet(row, int(stamps[index]), payload, arrived):
                self._rejected["dtmf"] += 1
