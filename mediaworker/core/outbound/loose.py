"""What legs send that do not fit the array of plain packets: other codecs, other packet times, comfort noise, SRTP.

A leg's 20 ms of each tick are cut or gathered into packets of its ptime (RFC 3551 section 4.2 lets it be any multiple
of a frame; ours are 10 to 60 ms), each with the timestamp of its first sample. Must not touch plain rows: a tick
without loose rows costs one test.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.codecs import COMPLEXITY, Codec
from mediaworker.core.outbound.comfort import Silence
from mediaworker.core.outbound.transmit import Transmitter
from mediaworker.core.rows import Rows
from shared.contracts import MediaFormat
from shared.units import FRAME_SAMPLES, TICK_MS, WIDE_FRAME_SAMPLES

Frame = npt.NDArray[Any]
"""Samples of a coded leg, octets of a G.711 leg."""


def _octets(frame: Frame) -> bytes:
    """G.711 comes coded from the array."""
    return frame.tobytes()


ADAPT_TICKS: Final = 250
"""Five seconds: as often as reports come."""


class _Packer:
    """One row's audio on its way into packets."""

    __slots__ = (
        "_encode",
        "_encoder",
        "_pending",
        "_size",
        "_ticks_per_unit",
        "comfort_type",
        "due",
        "resting",
        "silence",
    )

    def __init__(self, wanted: MediaFormat, codec: Codec | None, complexity: int) -> None:
        frame = WIDE_FRAME_SAMPLES if codec and codec.wide else FRAME_SAMPLES
        clock = codec.clock if codec else FRAME_SAMPLES
        self._encoder = codec.encoder(wanted, complexity) if codec else None
        self._encode: Callable[[Frame], bytes] = self._encoder.encode if self._encoder else _octets
        self._size = frame * wanted.ptime_ms // TICK_MS
        self._pending: Frame = np.zeros(0, np.int16 if codec else np.uint8)
        self._ticks_per_unit: Final = (clock, frame)
        self.comfort_type = wanted.comfort_noise_payload_type
        self.silence = None if self.comfort_type is None else Silence()
        self.due = -1
        """RTP time of the next 20 ms if nothing comes between."""
        self.resting = False
        """The last packet was not sent: the next one begins a talkspurt."""

    def at(self, time: int) -> None:
        """These 20 ms have the RTP time `time`; what waits for its packet is void when they do not follow it."""
        clock, _ = self._ticks_per_unit
        if time != self.due:
            self._pending = self._pending[:0]
        self.due = (time + clock) & 0xFFFF_FFFF

    def adapt(self, loss_ratio: float) -> None:
        if self._encoder:
            self._encoder.adapt(loss_ratio)

    @property
    def empty(self) -> bool:
        return len(self._pending) == 0

    def add(self, frame: Frame, time: int) -> list[tuple[int, bytes]]:
        """The packets that are full with this frame: RTP time and payload."""
        clock, per_frame = self._ticks_per_unit
        if self._size == per_frame:
            return [(time, self._encode(frame))]
        time -= len(self._pending) * clock // per_frame
        data = np.concatenate([self._pending, frame]) if len(self._pending) else frame
        step = self._size * clock // per_frame
        full = len(data) // self._size
        self._pending = data[full * self._size :].copy()
        return [
            (time + index * step, self._encode(data[index * self._size : (index + 1) * self._size]))
            for index in range(full)
        ]


class LooseLegs:
    """Sends the loose rows of one phase per call."""

    def __init__(self, rows: Rows, transmitter: Transmitter, complexity: int = COMPLEXITY) -> None:
        self._rows = rows
        self._complexity = complexity
        self._transmitter = transmitter
        self._packers: dict[int, _Packer] = {}
        self._sends = [0] * rows.phases

    def set_format(self, row: int, wanted: MediaFormat, codec: Codec | None) -> None:
        """A fresh coder from the next tick on; the caller says `changed` to the transmitter."""
        before = self._packers.pop(row, None)
        if before and before.resting:
            self._transmitter.mark(row)
        own = codec is not None or wanted.ptime_ms != TICK_MS or wanted.comfort_noise_payload_type is not None
        self._rows.loose[row] = own
        if own:
            self._packers[row] = _Packer(wanted, codec, self._complexity)

    def close(self, row: int) -> None:
        self._packers.pop(row, None)

    def send(self, phase: int) -> None:
        """Writes this tick's packets, before `stamp`: `out_time` is the time of this tick's first sample."""
        transmitter = self._transmitter
        self._sends[phase] += 1
        if self._sends[phase] % ADAPT_TICKS == 0:
            self._adapt(phase)
        for row in transmitter.loose_rows[phase]:
            packer = self._packers.get(row)
            if packer is None:
                transmitter.write(row, transmitter.octets(row).tobytes())
            else:
                self._pack(row, packer)

    def _adapt(self, phase: int) -> None:
        """To what the peers' reports say that they lose."""
        lost = self._rows.loss_out
        for row in self._transmitter.loose_rows[phase]:
            packer = self._packers.get(row)
            if packer and lost[row] >= 0:
                packer.adapt(float(lost[row]))

    def _pack(self, row: int, packer: _Packer) -> None:
        rows, transmitter = self._rows, self._transmitter
        time = int(rows.out_time[row])
        packer.at(time)
        if packer.silence and self._rests(row, packer, packer.silence):
            return
        frame: Frame
        if not rows.coded[row]:
            frame = transmitter.octets(row)
        else:
            frame = rows.sent_wide[row] if rows.wide[row] else rows.sent_pcm[row]
        for when, payload in packer.add(frame, time):
            if payload:
                transmitter.write(row, payload, timestamp=when, marker=packer.resting)
            packer.resting = not payload

    def _rests(self, row: int, packer: _Packer, silence: Silence) -> bool:
        """Whether comfort noise stands for this tick's audio; a packet that is begun is filled first."""
        noise = silence.step(self._rows.sent_pcm[row], begun=not packer.empty)
        if noise is None:
            return False
        if noise:
            self._transmitter.write(row, noise, payload_type=packer.comfort_type)
        packer.resting = True
        return True
