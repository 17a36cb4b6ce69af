"""What is known of every leg, one row per leg, as arrays.

Rows are allocated once. They come in blocks, one block per phase of the 20 ms, so that a tick works on one contiguous
slice and never gathers; a block is as long as the whole capacity (untouched memory costs nothing), because the legs of
one room share a phase. Must not hold behaviour beyond resetting a row.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from mediaworker.core.legs import Samples
from shared.units import FRAME_SAMPLES, WIDE_FRAME_SAMPLES

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

UNSET: Final = -(1 << 60)
"""A time that never was."""
NO_FRAME: Final = -(1 << 40)
FAR: Final = 1 << 30
"""Longer than any run of frames."""
NEVER: Final = 1 << 60
"""Later than any packet."""

_DEFAULTS: Final[dict[str, tuple[type, float]]] = {
    # what the leg was opened with
    "opened": (np.bool_, 0), "started": (np.bool_, 0), "receives": (np.bool_, 0), "sends": (np.bool_, 0),
    "echo": (np.bool_, 0), "detect": (np.bool_, 0), "record": (np.bool_, 0), "room": (np.int64, -1),
    "muted": (np.bool_, 0), "deaf": (np.bool_, 0), "voice": (np.float64, 1), "whisper_to": (np.int64, -1),
    "alaw": (np.bool_, 0), "coded": (np.bool_, 0), "wide": (np.bool_, 0), "clock": (np.int64, 160), "first_word": (np.uint16, 0), "dtmf_type": (np.int64, -1), "inband": (np.int64, 0),
    # whose packets are taken
    "negotiated": (np.uint64, 0), "source": (np.uint64, 0), "ssrc": (np.uint32, 0), "pinned": (np.bool_, 0), "secure": (np.bool_, 0),
    # RFC 3550 appendix A.1, A.3 and A.8
    "ext_max": (np.int64, 0), "base_ext": (np.int64, 0), "expected_before": (np.int64, 0),
    "bad_seq": (np.int64, -1), "received": (np.int64, 0), "late": (np.int64, 0), "duplicate": (np.int64, 0),
    "reordered": (np.int64, 0), "seen": (np.uint64, 0), "seen_top": (np.int64, 0),
    "transit": (np.int64, UNSET), "jitter_ns": (np.float64, 0), "jitter_sum_ns": (np.float64, 0),
    "jitter_max_ns": (np.float64, 0), "jitter_count": (np.int64, 0),
    "expected_prior": (np.int64, 0), "received_prior": (np.int64, 0), "loss_recent": (np.float64, 0),
    # place in the caller's time, in samples and frames since an origin of ours
    "rtp_last": (np.int64, 0), "position": (np.int64, 0), "play": (np.int64, 0), "top": (np.int64, NO_FRAME),
    "hole_run": (np.int64, 0), "last_good": (np.int64, NO_FRAME), "concealed": (np.int64, 0), "flowing": (np.bool_, 0),
    "waited": (np.int64, 0), "bridged": (np.int64, 0), "held": (np.int64, 0), "patience": (np.int64, 0),
    # how late packets come (`delay.py`), and comfort noise
    "least_ns": (np.int64, UNSET), "low_now_ns": (np.int64, NEVER), "low_before_ns": (np.int64, NEVER),
    "target_ns": (np.int64, 20_000_000), "goal_ns": (np.int64, NEVER), "noise": (np.float64, 0), "calm_ext": (np.int64, -1),
    # times on the caller's clock, ns
    "opened_ns": (np.int64, UNSET), "watched_ns": (np.int64, UNSET), "arrived_ns": (np.int64, UNSET),
    "lost": (np.bool_, 0),
    # what we send
    "out_seq": (np.uint16, 0), "out_time": (np.uint32, 0), "out_ssrc": (np.uint32, 0),
    "loose": (np.bool_, 0), "packets_out": (np.int64, 0), "sent_before_report": (np.int64, 0),
    "loose_packets": (np.int64, 0), "loose_octets": (np.int64, 0),
    # RTCP
    "report_due_ns": (np.int64, UNSET), "sr_middle": (np.uint32, 0), "sr_arrived_ns": (np.int64, UNSET),
    "rtcp_to": (np.uint64, 0), "rtt_ms": (np.float64, -1), "jitter_out_ms": (np.float64, -1),
    "loss_out": (np.float64, -1), "lost_out": (np.int64, 0), "mux": (np.bool_, 0),
    "rtcp_negotiated": (np.uint64, 0), "packets_base": (np.int64, 0), "octets_base": (np.int64, 0), "receiver_ssrc": (np.uint32, 0), "receiver_time": (np.uint32, 0), "receiver_time_ns": (np.int64, UNSET), "rtcp_arrived_ns": (np.int64, UNSET),
    "told_highest": (np.int64, -1), "sent_at_report": (np.int64, 0), "deaf_reports": (np.int64, 0),
    "discard_out": (np.float64, -1), "delay_out_ms": (np.float64, -1),
    # how losses come (losses.py)
    "loss_frame": (np.int64, NO_FRAME), "loss_alone": (np.bool_, 0), "lost_frames": (np.int64, 0),
    "lost_runs": (np.int64, 0), "bursts": (np.int64, 0), "burst_losses": (np.int64, 0), "burst_heard": (np.int64, 0),
    # quality, per interval and per call (scores.py, liveness.py)
    "ie": (np.float64, 0), "bpl": (np.float64, 25.1), "packet_frames": (np.float64, 0), "play_mark": (np.int64, 0),
    "expected_mark": (np.int64, 0), "unique_mark": (np.int64, 0), "late_mark": (np.int64, 0),
    "lost_frames_mark": (np.int64, 0), "lost_runs_mark": (np.int64, 0),
    "burst_ratio": (np.float64, 1), "discard_in": (np.float64, 0), "way_in_ms": (np.float64, -1), "way_out_ms": (np.float64, -1),
    "r_in": (np.float64, -1), "r_out": (np.float64, -1), "mos_in": (np.float64, -1), "mos_out": (np.float64, -1),
    "mos_lq_in": (np.float64, -1), "mos_lq_out": (np.float64, -1), "mos_worst": (np.float64, -1),
    "bad_in": (np.bool_, 0), "bad_out": (np.bool_, 0), "one_way": (np.int64, 0), "audible": (np.bool_, 0), "silent_sender": (np.bool_, 0),
}  # fmt: skip


class Rows:
    """L rows; `phases` blocks of `block` rows."""

    opened: Mask
    started: Mask
    receives: Mask
    sends: Mask
    echo: Mask
    detect: Mask
    record: Mask
    muted: Mask
    """Its room does not hear it."""
    deaf: Mask
    """It does not hear its room."""
    alaw: Mask
    coded: Mask
    """Not G.711: packets are decoded and encoded one by one (`coded.py`)."""
    wide: Mask
    """The leg's audio is 16 kHz: `caller_wide` and `sent_wide` hold it."""
    loose: Mask
    """Not sent from the array of plain packets: coded, another ptime than 20 ms, or comfort noise (`transmit.py`)."""
    pinned: Mask
    secure: Mask
    """Has SRTP keys (`srtp.py`): nothing unprotected is taken from it or sent to it."""
    flowing: Mask
    lost: Mask
    first_word: npt.NDArray[np.uint16]
    out_seq: npt.NDArray[np.uint16]
    ssrc: npt.NDArray[np.uint32]
    out_time: npt.NDArray[np.uint32]
    out_ssrc: npt.NDArray[np.uint32]
    sr_middle: npt.NDArray[np.uint32]
    negotiated: npt.NDArray[np.uint64]
    source: npt.NDArray[np.uint64]
    rtcp_to: npt.NDArray[np.uint64]
    room: Ints
    whisper_to: Ints
    """The only row of the room that hears it; -1: all do."""
    clock: Ints
    """Units of the RTP clock in 20 ms."""
    dtmf_type: Ints
    inband: Ints
    """Key presses are looked for in its sound: 0 never, 1 where no telephone event was agreed, 2 always."""
    ext_max: Ints
    base_ext: Ints
    expected_before: Ints
    bad_seq: Ints
    received: Ints
    late: Ints
    duplicate: Ints
    reordered: Ints
    """Packets that came after one with a higher number."""
    seen: npt.NDArray[np.uint64]
    """Bit n: the packet n before `seen_top`, the highest number, came."""
    seen_top: Ints
    transit: Ints
    jitter_count: Ints
    expected_prior: Ints
    received_prior: Ints
    rtp_last: Ints
    position: Ints
    play: Ints
    top: Ints
    hole_run: Ints
    """Frames in a row that were made up."""
    waited: Ints
    """Ticks that playout has waited for the frame due."""
    bridged: Ints
    """Frames made up since one was heard, because nothing came."""
    held: Ints
    """Ticks waited in all that did not turn out to be losses."""
    patience: Ints
    """Ticks in a row that the delay was a frame too long (positive) or too short (negative)."""
    least_ns: Ints
    """Least transit: arrival minus time of the frame on the caller's clock; UNSET before the first packet."""
    low_now_ns: Ints
    low_before_ns: Ints
    target_ns: Ints
    """Delay above the least that 99 % of the packets meet."""
    goal_ns: Ints
    """The transit that playout allows for: `least_ns` + `target_ns`; NEVER before the first packet."""
    noise: Floats
    """Amplitude of the comfort noise that the sender asked for (RFC 3389); 0 while it sends sound."""
    calm_ext: Ints
    """The highest number of a row of packets without sound that followed the newest sound."""
    last_good: Ints
    concealed: Ints
    opened_ns: Ints
    watched_ns: Ints
    arrived_ns: Ints
    packets_out: Ints
    loose_packets: Ints
    """Those of them that were loose packets; all others have 160 octets of payload."""
    loose_octets: Ints
    """Octets of payload in loose packets."""
    sent_before_report: Ints
    report_due_ns: Ints
    sr_arrived_ns: Ints
    lost_out: Ints
    voice: Floats
    """Gain of what it says in its room."""
    jitter_ns: Floats
    jitter_sum_ns: Floats
    jitter_max_ns: Floats
    loss_recent: Floats
    rtt_ms: Floats
    jitter_out_ms: Floats
    loss_out: Floats

    mux: Mask
    """RTCP comes and goes on the RTP socket (RFC 5761)."""
    rtcp_negotiated: npt.NDArray[np.uint64]
    packets_base: Ints
    """Packets and octets sent before our present SSRC."""
    octets_base: Ints
    receiver_ssrc: npt.NDArray[np.uint32]
    receiver_time: npt.NDArray[np.uint32]
    """Middle of the peer's last receiver reference time (RFC 3611 section 4.4), and when it came."""
    receiver_time_ns: Ints
    rtcp_arrived_ns: Ints
    told_highest: Ints
    """Highest sequence number of ours in the peer's last report; packets we had sent when it came; reports since that
    number rose."""
    sent_at_report: Ints
    deaf_reports: Ints
    discard_out: Floats
    """Share of our packets that the peer's playout had no use for, and its delay, as its XR says; -1 unknown."""
    delay_out_ms: Floats
    loss_frame: Ints
    loss_alone: Mask
    lost_frames: Ints
    lost_runs: Ints
    bursts: Ints
    burst_losses: Ints
    burst_heard: Ints
    ie: Floats
    """Equipment impairment and loss robustness of the codec (`emodel.py`)."""
    bpl: Floats
    packet_frames: Floats
    """Frames of 20 ms per packet received, as measured; 0 not yet."""
    play_mark: Ints
    expected_mark: Ints
    unique_mark: Ints
    late_mark: Ints
    lost_frames_mark: Ints
    lost_runs_mark: Ints
    burst_ratio: Floats
    discard_in: Floats
    way_in_ms: Floats
    way_out_ms: Floats
    r_in: Floats
    r_out: Floats
    mos_in: Floats
    mos_out: Floats
    mos_lq_in: Floats
    mos_lq_out: Floats
    mos_worst: Floats
    bad_in: Mask
    bad_out: Mask
    one_way: Ints
    """`legs.OneWay` flags."""
    audible: Mask
    """Something louder than silence came since the start."""
    silent_sender: Mask
    """Sends nothing, or comfort noise now and then, while it is silent."""

    def __init__(self, capacity: int, phases: int) -> None:
        self.capacity = capacity
        self.phases = phases
        self.block = capacity
        self.count = capacity * phases
        for name, (kind, default) in _DEFAULTS.items():
            setattr(self, name, np.full(self.count, default, kind) if default else np.zeros(self.count, kind))
        self.caller_pcm: Samples = np.zeros((self.count, FRAME_SAMPLES), np.int16)
        self.sent_pcm: Samples = np.zeros((self.count, FRAME_SAMPLES), np.int16)
        self.caller_wide: Samples = np.zeros((self.count, WIDE_FRAME_SAMPLES), np.int16)
        """What wideband legs say at 16 kHz; `caller_pcm` has the same frame at 8 kHz. Other rows' are never touched."""
        self.sent_wide: Samples = np.zeros((self.count, WIDE_FRAME_SAMPLES), np.int16)
        self.live = [0] * phases
        """Legs per phase."""
        self.end = [phase * capacity for phase in range(phases)]
        """One past the highest open row of a phase's block."""
        self._free = [list(range(capacity - 1, -1, -1)) for _ in range(phases)]

    def reset(self, row: int) -> None:
        """A row as it was before its first leg."""
        for name, (_, default) in _DEFAULTS.items():
            getattr(self, name)[row] = default
        self.caller_pcm[row] = 0
        self.sent_pcm[row] = 0

    def take(self, phase: int) -> int:
        """The lowest free row of a phase, opened."""
        free = self._free[phase]
        row = phase * self.block + free.pop()
        self.reset(row)
        self.opened[row] = True
        self.live[phase] += 1
        self.end[phase] = max(self.end[phase], row + 1)
        return row

    def give(self, row: int) -> None:
        phase = self.phase_of(row)
        self.opened[row] = False
        self.started[row] = False
        self.flowing[row] = False
        self.live[phase] -= 1
        free = self._free[phase]
        free.append(row - phase * self.block)
        free.sort(reverse=True)
        lowest = phase * self.block
        while self.end[phase] > lowest and not self.opened[self.end[phase] - 1]:
            self.end[phase] -= 1

    def phase_of(self, row: int) -> int:
        return row // self.block

    def span(self, phase: int) -> slice:
        """The rows of a phase, free ones in between included."""
        return slice(phase * self.block, self.end[phase])
