"""The legs whose packets are decoded one by one: payloads kept by their place in time, decoded when their frame is due.

What is heard in a tick is the time line's decision (`timeline.Act`); how it sounds is decided here. A packet may be of
any length and lie anywhere, so what is decoded is kept as a run of samples from which frames are taken. A hole is made
up by the codec, from the packet behind it where that carries the lost one (Opus FEC). Must not judge lateness, nor raise
for any octets.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mediaworker.core.codecs import BadPayload, Codec, Decoder
from mediaworker.core.g711 import Octets
from mediaworker.core.inbound.splice import splice
from mediaworker.core.inbound.timeline import Act
from mediaworker.core.legs import Samples
from mediaworker.core.resample import HalfBand
from mediaworker.core.rows import Index, Ints, Rows
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES

KEPT_PACKETS: Final = 192
"""Of one leg; the ring lets no more in than 1.92 s of audio, packets of 10 ms at the least."""
STALE_FRAMES: Final = 5
"""Packets of frames that were left out are decoded for the coder's sake; older ones are dropped."""
ROUNDING: Final = 2
"""Samples that a frame may lack because its packets are no whole number of samples at the farm's rate."""
NOTHING: Final[Samples] = np.zeros(0, np.int16)


@dataclass(slots=True)
class _Packet:
    """A payload and where its audio lies, in units of the RTP clock."""

    begin: int
    end: int
    payload: bytes

    @property
    def units(self) -> int:
        return self.end - self.begin


@dataclass(slots=True)
class _Stream:
    """What is known of one leg's sender."""

    decoder: Decoder
    clock: int
    size: int
    """Samples of a frame."""
    packets: list[_Packet] = field(default_factory=list)
    """By place, undecoded."""
    decoded_to: int | None = None
    """Where the run of decoded samples ends, in units of the clock; None: it has not begun."""
    run: Samples = field(default_factory=lambda: NOTHING)
    run_at: int = 0
    """Which sample of the leg the run begins with; frame n begins with sample n * size."""

    @property
    def run_end(self) -> int:
        return self.run_at + len(self.run)

    def sample(self, position: int) -> int:
        return position * self.size // self.clock

    def fits(self, packet: _Packet, frame: int) -> bool:
        """Whether it is just this frame and nothing of it was decoded yet."""
        begin = frame * self.clock
        here = packet.begin == begin == self.decoded_to and self.run_at == frame * self.size
        return here and packet.end == begin + self.clock and not len(self.run)


class CodedLegs:
    """The coded rows; `timeline.CodedAudio`."""

    def __init__(self, rows: Rows, rejected: Counter[str]) -> None:
        self._rows = rows
        self._rejected = rejected
        self._streams: dict[int, _Stream] = {}
        self._codecs: dict[int, Codec] = {}
        self._half_band = HalfBand(rows.count)

    def set_format(self, row: int, codec: Codec | None) -> None:
        """The row is decoded by `codec` from now on, from a fresh state; None: it is G.711."""
        self.close(row)
        if codec:
            self._codecs[row] = codec
            self._streams[row] = self._stream(codec)

    def close(self, row: int) -> None:
        self._codecs.pop(row, None)
        self._streams.pop(row, None)
        self._half_band.forget(row)

    def restart(self, row: int) -> None:
        codec = self._codecs.get(row)
        if codec:
            self._streams[row] = self._stream(codec)

    def _stream(self, codec: Codec) -> _Stream:
        return _Stream(codec.decoder(), codec.clock, WIDE_FRAME_SAMPLES if codec.wide else FRAME_SAMPLES)

    # --- arrival

    def store(self, row: int, position: int, ext: int, arrived_ns: int, payload: Octets) -> int:
        del ext, arrived_ns
        stream = self._streams.get(row)
        if stream is None:
            return 0
        octets = payload.tobytes()
        units = stream.decoder.duration(octets)
        if units <= 0:
            self._rejected["payload"] += 1
            return 0
        packets = stream.packets
        if len(packets) >= KEPT_PACKETS:
            self._rejected["overflow"] += 1
            return units
        packet = _Packet(position, position + units, octets)
        at = len(packets)
        while at and packets[at - 1].begin > position:
            at -= 1
        packets.insert(at, packet)
        return units

    # --- playout

    def play(self, at: Index, frame: Ints, act: Ints) -> None:
        rows = self._rows
        for row, number, what in zip(at.tolist(), frame.tolist(), act.tolist(), strict=True):
            stream = self._streams.get(row)
            if stream is None:
                continue
            heard = rows.caller_wide if stream.size == WIDE_FRAME_SAMPLES else rows.caller_pcm
            heard[row] = self._sound(stream, number, what)
        wide = at[rows.wide[at]]
        if wide.size:
            rows.caller_pcm[wide] = self._half_band.down(wide, rows.caller_wide[wide])

    def _sound(self, stream: _Stream, frame: int, act: int) -> Samples:
        if act == Act.QUIET:
            return np.zeros(stream.size, np.int16)
        if act == Act.HOLD:
            # What is decoded already stays for the frame that is still to come.
            begun = stream.decoded_to is not None
            return stream.decoder.conceal(stream.size) if begun else np.zeros(stream.size, np.int16)
        if act == Act.MERGE:
            first = self._frame(stream, frame - 1)
            merged: Samples = splice(first[None], self._frame(stream, frame)[None])[0]
            return merged
        return self._frame(stream, frame)

    def _frame(self, stream: _Stream, frame: int) -> Samples:
        begin, end = frame * stream.size, (frame + 1) * stream.size
        self._go_to(stream, frame)
        packets = stream.packets
        if packets and stream.fits(packets[0], frame):
            heard = self._decode_whole(stream, packets[0])
            if heard is not None:
                return heard
        while packets and stream.run_end < end and packets[0].begin < (frame + 1) * stream.clock:
            self._decode(stream, packets.pop(0))
        if stream.run_end < end:
            self._complete(stream, frame)
        skip = begin - stream.run_at
        heard = stream.run[skip : skip + stream.size]
        stream.run, stream.run_at = stream.run[skip + stream.size :], end
        return heard

    def _decode_whole(self, stream: _Stream, packet: _Packet) -> Samples | None:
        """The usual case, a packet that is the frame; None leaves it to the others."""
        stream.packets.pop(0)
        try:
            pcm = stream.decoder.decode(packet.payload)
        except BadPayload:
            self._rejected["payload"] += 1
            return None
        if len(pcm) != stream.size:
            stream.run, stream.decoded_to = pcm, packet.end
            return None
        stream.run_at, stream.decoded_to = stream.run_at + stream.size, packet.end
        return pcm

    def _go_to(self, stream: _Stream, frame: int) -> None:
        """Begins the run anew where the frame is far from it, and drops packets that are too old."""
        packets, limit = stream.packets, (frame - STALE_FRAMES) * stream.clock
        while packets and packets[0].end <= limit:
            packets.pop(0)
        begin = frame * stream.size
        near = stream.run_at <= begin <= stream.run_end + STALE_FRAMES * stream.size
        if stream.decoded_to is None or not near:
            stream.run, stream.run_at, stream.decoded_to = NOTHING, begin, frame * stream.clock

    def _decode(self, stream: _Stream, packet: _Packet) -> None:
        """Adds a packet to the run; a hole before it is made up, what it repeats is left out."""
        decoded_to = stream.decoded_to or 0
        if packet.end <= decoded_to:
            return
        if packet.begin > decoded_to:
            carrier = packet.payload if packet.begin - decoded_to >= packet.units else None
            self._make_up(stream, stream.sample(packet.begin), carrier)
        try:
            pcm = stream.decoder.decode(packet.payload)
        except BadPayload:
            self._rejected["payload"] += 1  # its place is a hole like any other
            return
        if packet.begin < decoded_to:
            pcm = pcm[stream.run_end - stream.sample(packet.begin) :]
        stream.run = np.concatenate([stream.run, pcm])
        stream.decoded_to = packet.end

    def _complete(self, stream: _Stream, frame: int) -> None:
        """The rest of a frame for which there is no packet."""
        end, missing = (frame + 1) * stream.size, (frame + 1) * stream.size - stream.run_end
        if missing <= ROUNDING and len(stream.run):
            # All is there: the clock is no multiple of the farm's rate.
            stream.run = np.concatenate([stream.run, np.repeat(stream.run[-1:], missing)])
            return
        following = stream.packets[0] if stream.packets else None
        if following and following.begin - (stream.decoded_to or 0) == following.units:
            # One packet is lost, and this one may carry it: all of it at once, however long it is.
            self._make_up(stream, stream.sample(following.begin), following.payload)
            stream.decoded_to = following.begin
        else:
            self._make_up(stream, end, None)
            stream.decoded_to = (frame + 1) * stream.clock

    def _make_up(self, stream: _Stream, until: int, following: bytes | None) -> None:
        missing = until - stream.run_end
        if missing > 0:
            made = stream.decoder.conceal(missing, following)
            before = np.zeros(missing - len(made), np.int16)  # beyond what a codec makes up it is silent
            stream.run = np.concatenate([stream.run, before, made])
