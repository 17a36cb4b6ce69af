"""What a negotiated format means for a row: its codec, clock and rates, and who decodes and packs for it.

A format that is set again as it was (a hold, a new address) leaves the coders alone: the peer's decoder follows ours. A new
codec starts both directions afresh. The stream keeps its SSRC, numbers and times as long as its clock stays; a new
clock rate is a new SSRC (RFC 7160 section 4.2). Must not touch addresses or keys.
"""

from mediaworker.core import codecs
from mediaworker.core.inbound.coded import CodedLegs
from mediaworker.core.outbound.loose import LooseLegs
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.reporting.scores import set_codec
from mediaworker.core.rows import UNSET, Rows
from shared.contracts import MediaFormat

NEVER_PLAIN = 0x8000
"""In `rows.first_word`, where arriving packets have their marker masked out: no packet of the row is a plain one."""


class Formats:
    """The formats of all rows."""

    def __init__(self, rows: Rows, transmitter: Transmitter, loose: LooseLegs, coded: CodedLegs) -> None:
        self._rows = rows
        self._transmitter = transmitter
        self._loose = loose
        self._coded = coded
        self._known: dict[int, MediaFormat] = {}

    def check(self, wanted: MediaFormat) -> None:
        """Raises Refused "codec" for a format that this worker cannot do."""
        codecs.find(wanted)

    def set(self, row: int, wanted: MediaFormat) -> bool:
        """The row's format from now on; whether what came before cannot be continued (another codec)."""
        rows, known = self._rows, self._known.get(row)
        codec = codecs.find(wanted)
        self._known[row] = wanted
        rows.alaw[row] = wanted.codec == "PCMA"
        rows.first_word[row] = 0x80 | wanted.payload_type << 8 | (NEVER_PLAIN if codec else 0)
        rows.dtmf_type[row] = -1 if wanted.dtmf_payload_type is None else wanted.dtmf_payload_type
        rows.sends[row] = wanted.direction in {"sendrecv", "sendonly"}
        rows.receives[row] = wanted.direction in {"sendrecv", "recvonly"}
        rows.silent_sender[row] |= wanted.comfort_noise_payload_type is not None or wanted.opus.use_dtx
        if known is None or _packed(known) != _packed(wanted):
            self._loose.set_format(row, wanted, codec)
        if known and _coding(known) == _coding(wanted):
            return False
        clock = codecs.clock_of(codec)
        if known and clock != int(rows.clock[row]):
            self._transmitter.open(row, wanted.payload_type)
        rows.coded[row] = codec is not None
        rows.wide[row] = codec is not None and codec.wide
        rows.clock[row] = clock
        rows.flowing[row] = False
        rows.transit[row] = UNSET
        self._coded.set_format(row, codec)
        set_codec(rows, row, wanted.codec)
        return known is not None

    def close(self, row: int) -> None:
        self._known.pop(row, None)
        self._loose.close(row)
        self._coded.close(row)


def _coding(of: MediaFormat) -> tuple[object, ...]:
    """What a decoder depends on. The law of G.711 is a column, looked up when its octets are."""
    return ("G711" if of.codec in codecs.G711 else of.codec, of.clock_rate_hz)


def _packed(of: MediaFormat) -> tuple[object, ...]:
    """What an encoder and its packets depend on."""
    return (of.codec, of.clock_rate_hz, of.ptime_ms, of.comfort_noise_payload_type, of.opus)
