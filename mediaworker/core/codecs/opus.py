"""Opus (RFC 6716, RFC 7587): 16 kHz mono inside the farm, an RTP clock of 48 kHz, whatever the packets hold.

libopus does the rate and the channels itself: a stereo or fullband sender is decoded to 16 kHz mono. It also conceals,
and finds the frame before in a packet that carries it (in-band FEC). It is called through ctypes with the interpreter
lock held: letting go of it for 100 us would give the tick's time to the other thread. Must not decide what is lost.
"""

import ctypes
import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np

from mediaworker.core.codecs.port import BadPayload, Codec, Decoder, Encoder
from mediaworker.core.legs import Samples
from shared.contracts import MediaFormat, OpusSettings
from shared.units import WIDEBAND_HZ

CLOCK_HZ: Final = 48_000
CLOCK: Final = 960
LONGEST_SAMPLES: Final = WIDEBAND_HZ * 120 // 1_000
"""No packet lasts longer (RFC 6716 section 3.2.5)."""
PAYLOAD_BYTES: Final = 1_275
"""The most that one frame can have (section 3.2.1), far above what our bit rates use."""
BITRATE: Final = 24_000
NARROW_BITRATE: Final = 12_000
FEC_BITRATE: Final = 1.5
"""Times as much where packets carry the one before too: with less, libopus gives up what is above 4 kHz to pay for it."""
EXPECTED_LOSS_PERCENT: Final = 10
"""Until the peer reports what it loses; libopus shares the bit rate out by it."""
LEAST_LOSS_PERCENT: Final = 5
MOST_LOSS_PERCENT: Final = 30
FEC_FROM: Final = 0.01
FEC_UNTIL: Final = 0.002
"""Below, FEC is left out: it costs half as much time and bit rate again."""
DTX_BYTES: Final = 2
"""A packet of so few octets says nothing and need not be sent (opus_encode)."""
_UNIT_MS: Final = 10
_SETTLING_FRAMES: Final = 4

_VOIP: Final = 2_048
_SET_BITRATE: Final = 4_002
_SET_MAX_BANDWIDTH: Final = 4_004
_SET_COMPLEXITY: Final = 4_010
_SET_INBAND_FEC: Final = 4_012
_SET_PACKET_LOSS: Final = 4_014
_SET_DTX: Final = 4_016
_SET_BANDWIDTH: Final = 4_008
_FORCE_MODE: Final = 11_002
_SILK_ONLY: Final = 1_000
_BANDWIDTHS: Final = ((8_000, 1_101), (12_000, 1_102), (16_000, 1_103))
"""Narrow, medium and wide by the highest playback rate (RFC 7587 section 6.1, RFC 6716 table 1)."""


def _load() -> Any:
    """The library of the wheel that carries it, else the system's; None where there is none."""
    names = ["libopus.so.0", "libopus.0.dylib"]
    wheel = importlib.util.find_spec("opuslib_next")
    if wheel and wheel.origin:
        native = Path(wheel.origin).parent / "_native"
        names = [str(path) for path in sorted(native.glob("libopus.*"))] + names
    for name in names:
        try:
            return _declare(ctypes.PyDLL(name))
        except (OSError, AttributeError):
            continue
    return None


def _declare(library: Any) -> Any:
    pointer, number, data = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, arguments in (
        ("opus_encoder_get_size", [number]), ("opus_decoder_get_size", [number]), ("opus_repacketizer_get_size", []),
        ("opus_encoder_init", [pointer, number, number, number]), ("opus_decoder_init", [pointer, number, number]),
        ("opus_encode", [pointer, pointer, number, pointer, number]),
        ("opus_decode", [pointer, data, number, pointer, number, number]),
        ("opus_packet_get_nb_samples", [data, number, number]),
        # The value that follows is variadic: it is given as a c_int, not declared.
        ("opus_encoder_ctl", [pointer, number]),
        ("opus_repacketizer_cat", [pointer, pointer, number]), ("opus_repacketizer_out", [pointer, pointer, number]),
    ):  # fmt: skip
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = ctypes.c_int
    library.opus_repacketizer_init.argtypes = [pointer]
    library.opus_repacketizer_init.restype = pointer
    return library


_OPUS: Final = _load()


class OpusDecoder:
    def __init__(self) -> None:
        self._state = ctypes.create_string_buffer(_OPUS.opus_decoder_get_size(1))
        _OPUS.opus_decoder_init(self._state, WIDEBAND_HZ, 1)
        self._pcm: Samples = np.zeros(LONGEST_SAMPLES, np.int16)
        self._at = int(self._pcm.ctypes.data)

    def duration(self, payload: bytes) -> int:
        return (
            max(0, int(_OPUS.opus_packet_get_nb_samples(payload, len(payload), CLOCK_HZ))) if payload else 0
        )

    def decode(self, payload: bytes) -> Samples:
        if not payload:
            raise BadPayload("empty")
        return self._decode(payload, LONGEST_SAMPLES, fec=False)

    def conceal(self, samples: int, following: bytes | None = None) -> Samples:
        """Whole 2.5 ms at a time, which is what the library makes; the last of them is cut."""
        step = WIDEBAND_HZ // 400
        whole = min(-(-samples // step) * step, LONGEST_SAMPLES)
        try:
            made = self._decode(following, whole, fec=following is not None)
        except BadPayload:
            made = np.zeros(whole, np.int16)
        return made[:samples]

    def _decode(self, payload: bytes | None, room: int, *, fec: bool) -> Samples:
        size = len(payload) if payload else 0
        made = _OPUS.opus_decode(self._state, payload, size, self._at, room, int(fec))
        if made < 0:
            raise BadPayload(f"opus {made}")
        return self._pcm[:made].copy()


class OpusEncoder:
    def __init__(self, settings: OpusSettings, complexity: int) -> None:
        self._state = ctypes.create_string_buffer(_OPUS.opus_encoder_get_size(1))
        _OPUS.opus_encoder_init(self._state, WIDEBAND_HZ, 1, _VOIP)
        narrow = settings.max_playback_hz <= _BANDWIDTHS[0][0]
        self._bitrate = NARROW_BITRATE if narrow else BITRATE
        self._most_bitrate = settings.max_average_bitrate or PAYLOAD_BYTES * 8 * 50
        bandwidth = next(
            (code for hz, code in _BANDWIDTHS if settings.max_playback_hz <= hz), _BANDWIDTHS[-1][1]
        )
        for request, value in (
            (_SET_COMPLEXITY, complexity), (_SET_MAX_BANDWIDTH, bandwidth), (_SET_DTX, int(settings.use_dtx)),
        ):  # fmt: skip
            self.control(request, value)
        self._may_correct = settings.use_inband_fec
        self._correct(EXPECTED_LOSS_PERCENT if settings.use_inband_fec else 0)
        self._bandwidth = bandwidth
        self._one_shape = False
        self._quiet = DTX_BYTES if settings.use_dtx else 0
        self._out = ctypes.create_string_buffer(PAYLOAD_BYTES)

    def control(self, request: int, value: int) -> int:
        """opus_encoder_ctl; 0 when the library took it."""
        return int(_OPUS.opus_encoder_ctl(self._state, request, ctypes.c_int(value)))

    def _correct(self, percent: int) -> None:
        """In-band FEC for so much loss, 0 for none."""
        bitrate = int(self._bitrate * FEC_BITRATE) if percent else self._bitrate
        self.control(_SET_BITRATE, min(bitrate, self._most_bitrate))
        self.control(_SET_INBAND_FEC, int(percent > 0))
        self.control(_SET_PACKET_LOSS, percent)

    def adapt(self, loss_ratio: float) -> None:
        """RFC 7587 section 3.3: FEC by what the receiver loses, where it can use it."""
        if not self._may_correct:
            return
        if loss_ratio >= FEC_FROM:
            self._correct(min(MOST_LOSS_PERCENT, max(LEAST_LOSS_PERCENT, round(100 * loss_ratio))))
        elif loss_ratio < FEC_UNTIL:
            self._correct(0)

    def encode(self, pcm: Samples) -> bytes:
        unit = WIDEBAND_HZ * _UNIT_MS // 1_000
        if len(pcm) == 3 * unit:
            return self._joined([self._frame(pcm[at : at + unit]) for at in self._units(unit)])
        frame = self._frame(pcm)
        return b"" if len(frame) <= self._quiet else frame

    def _frame(self, pcm: Samples) -> bytes:
        """One Opus frame of 10, 20, 40 or 60 ms; there are none of 30."""
        pcm = np.ascontiguousarray(pcm)
        size = _OPUS.opus_encode(self._state, int(pcm.ctypes.data), len(pcm), self._out, PAYLOAD_BYTES)
        if size < 0:
            raise ValueError(f"{len(pcm)} samples are no Opus frame ({size})")
        return self._out.raw[:size]

    def _units(self, unit: int) -> range:
        """Frames that share a packet are of one mode and bandwidth (RFC 6716 section 3.2): no choice is left open."""
        if not self._one_shape:
            self._one_shape = True
            self.control(_FORCE_MODE, _SILK_ONLY)
            self.control(_SET_BANDWIDTH, self._bandwidth)
            for _ in range(_SETTLING_FRAMES):  # it begins narrow, whatever was asked for
                self._frame(np.zeros(unit, np.int16))
        return range(0, 3 * unit, unit)

    def _joined(self, frames: list[bytes]) -> bytes:
        """Frames as one packet (RFC 6716 section 3.2.5)."""
        if all(len(frame) <= self._quiet for frame in frames):
            return b""
        state = ctypes.create_string_buffer(_OPUS.opus_repacketizer_get_size())
        _OPUS.opus_repacketizer_init(state)
        buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
        for buffer in buffers:
            _OPUS.opus_repacketizer_cat(state, buffer, len(buffer))
        size = _OPUS.opus_repacketizer_out(state, self._out, PAYLOAD_BYTES)
        return self._out.raw[: max(0, size)]


def _encoder(wanted: MediaFormat, complexity: int) -> Encoder:
    return OpusEncoder(wanted.opus, complexity)


def _decoder() -> Decoder:
    return OpusDecoder()


CODEC: Final = Codec(wide=True, clock=CLOCK, encoder=_encoder, decoder=_decoder) if _OPUS else None
