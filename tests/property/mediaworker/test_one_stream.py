"""What a receiver outside sees of a leg, whatever happens to it: one RTP stream per clock rate, without a seam.

Every story is a random sequence of changes in mid-call: codec, packet time, comfort noise, hold, key presses, SRTP, replies and
silence. Sources: RFC 3550 sections 5.1 (sequence, timestamp, SSRC) and 6.4.1 (what the sender says it sent), RFC 3551 section
4.1 (marker), RFC 4733 section 2.5.1 (events in the stream of the audio), RFC 7160 section 4.2 (a new clock is a new SSRC).
"""

from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.dtmf.sender import Style
from mediaworker.core.engine import Engine
from mediaworker.core.reporting import rtcp
from shared.contracts import MediaFormat, RtpEndpoint
from tests.support.coded_caller import KINDS, CodedCaller
from tests.support.engine_caller import HOST, PORT
from tests.support.srtp_peer import SrtpPeer, keys

pytestmark = pytest.mark.property

EVENTS, CALM = 101, 13
TALKSPURT_TICKS = 6
"""A gap that is no part of a packet and no key: what follows begins a talkspurt."""

change = st.one_of(
    st.tuples(st.just("name"), st.sampled_from(["PCMU", "PCMA", "G722", "OPUS", "L16/8000", "L16/16000"])),
    st.tuples(st.just("ptime_ms"), st.sampled_from([10, 20, 30, 40, 60])),
    st.tuples(st.sampled_from(["calm", "held", "events"]), st.booleans()),
    st.tuples(st.just("secret"), st.integers(0, 2)),
    st.tuples(st.just("keys"), st.sampled_from(["1", "2#", "3,4"])),
    st.tuples(st.just("reply"), st.integers(1, 6_000)),
    st.tuples(st.just("wait"), st.integers(1, 60)),
)
story = st.lists(st.tuples(change, st.integers(0, 20)), min_size=3, max_size=14)


@dataclass(frozen=True)
class Seen:
    """A packet, the tick that sent it, and what was agreed then."""

    tick: int
    data: bytes
    format: MediaFormat

    @property
    def kind(self) -> int:
        return self.data[1] & 0x7F

    @property
    def marked(self) -> bool:
        return bool(self.data[1] & 0x80)

    @property
    def audio(self) -> bool:
        return self.kind == self.format.payload_type

    def number(self, start: int, end: int) -> int:
        return int.from_bytes(self.data[start:end], "big")

    @property
    def time(self) -> int:
        return self.number(4, 8)


@dataclass
class Stream:
    """Packets of one SSRC."""

    clock: int
    begins: int
    """RTP time of tick 0."""
    seen: list[Seen] = field(default_factory=list)

    def behind(self, packet: Seen) -> int:
        """Units of the clock from the packet's time to its tick's; negative: ahead."""
        return signed(self.begins + packet.tick * self.clock - packet.time)


def signed(number: int) -> int:
    return (number + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000


class Line:
    """A leg, and its packets as they are read outside."""

    def __init__(self) -> None:
        self.leg = CodedCaller(Engine(2, seed=5, phases=1), KINDS["PCMU"])
        self.engine, self.row = self.leg.engine, self.leg.row
        self.asked: dict[str, object] = {"name": "PCMU", "ptime_ms": 20}
        self.agreed = KINDS["PCMU"]
        self.streams: list[Stream] = []
        self.reports: list[tuple[int, rtcp.Report]] = []
        self.ticks = self.taken = self.replies = self.clocks = 0

    def act(self, what: str, value: int | str | bool) -> None:
        if what == "wait":
            self.tick(int(value))
        elif what == "keys":
            self.engine.keys.press(self.row, str(value), Style(duration_ms=60, gap_ms=60))
        elif what == "reply":
            self.replies += 1
            pcm = np.random.default_rng(self.replies).integers(-8_000, 8_000, int(value), dtype=np.int16)
            self.engine.queue(self.row, 1, self.replies, pcm, last=True)
        else:
            self.asked[what] = value
            self.agree()

    def agree(self) -> None:
        """A re-INVITE."""
        base, asked = KINDS[str(self.asked["name"])], self.asked
        self.agreed = msgspec.structs.replace(
            base, ptime_ms=int(str(asked["ptime_ms"])), direction="recvonly" if asked.get("held") else "sendrecv",
            comfort_noise_payload_type=CALM if asked.get("calm") and base.clock_rate_hz == 8_000 else None,
            dtmf_payload_type=EVENTS if asked.get("events") else None, dtmf_clock_rate_hz=base.clock_rate_hz,
        )  # fmt: skip
        secret = int(str(asked.get("secret", 0)))
        # With keys a packet of 60 ms at 16 kHz would be longer than libsrtp's buffers: such legs are asked for less.
        if self.asked["name"] == "L16/16000" and secret:
            self.agreed = msgspec.structs.replace(self.agreed, ptime_ms=min(40, self.agreed.ptime_ms))
        wanted = keys(local=2 * secret, remote=2 * secret + 1) if secret else None
        if wanted != self.leg.keys:
            self.leg.keys, self.leg.peer = wanted, SrtpPeer(wanted) if wanted else None
        clock = int(self.engine.rows.clock[self.row])
        self.engine.update(self.row, RtpEndpoint(host=HOST, rtp_port=PORT), self.agreed, wanted)
        self.clocks += int(self.engine.rows.clock[self.row]) != clock

    def tick(self, count: int = 1) -> None:
        rows, row = self.engine.rows, self.row
        for _ in range(count):
            clock = int(rows.clock[row])
            begins = int(rows.out_time[row]) - self.ticks * clock
            self.leg.tick()
            for data in self.leg.sent[self.taken :]:
                self.see(Seen(self.ticks, data, self.agreed), clock, begins)
            self.taken = len(self.leg.sent)
            self.ticks += 1
            packets = self.engine.rtcp_out(self.leg.now_ns)
            parsed = [] if self.leg.peer else [rtcp.parse(packet.data) for packet in packets]
            self.reports += [(self.ticks, report) for report in parsed if report]

    def see(self, packet: Seen, clock: int, begins: int) -> None:
        ssrc = packet.number(8, 12)
        if not self.streams or self.streams[-1].seen[-1].number(8, 12) != ssrc:
            assert ssrc not in {stream.seen[0].number(8, 12) for stream in self.streams}
            self.streams.append(Stream(clock, begins))
        stream = self.streams[-1]
        assert (stream.clock, signed(stream.begins - begins)) == (clock, 0)
        stream.seen.append(packet)


def check(stream: Stream) -> None:
    for before, packet in zip(stream.seen, stream.seen[1:], strict=False):
        assert packet.number(2, 4) == (before.number(2, 4) + 1) & 0xFFFF
        passed = signed(packet.time - before.time)
        assert passed >= 0
        if packet.audio and before.audio:
            assert passed >= before.format.ptime_ms * stream.clock // 20, "what was sent is not sent again"
        rested = before.kind == CALM or packet.tick - before.tick > TALKSPURT_TICKS
        assert packet.marked or not (packet.audio and rested)
    for packet in stream.seen:
        assert packet.kind in {packet.format.payload_type, EVENTS, CALM}
        longest = 2 * stream.clock if packet.audio else 0
        if packet.kind != EVENTS:
            assert -stream.clock // 2 <= stream.behind(packet) <= longest
        else:
            assert stream.behind(packet) >= 0


def check_report(line: Line, stream: Stream) -> None:
    """What the sender says of the stream is what came of it."""
    line.reports.clear()
    while not (told := [(at, report) for at, report in line.reports if report.sender]):
        line.tick()
    at, report = told[0]
    came = [packet for packet in stream.seen if packet.tick < at]
    assert report.sender is not None
    assert (report.sender.packets, report.sender.octets) == (
        len(came), sum(len(packet.data) - 12 for packet in came)
    )  # fmt: skip
    assert signed(report.sender.rtp_time - stream.begins - at * stream.clock) == 0


@settings(max_examples=40, deadline=None)
@given(story)
def test_a_receiver_sees_one_stream_whatever_is_changed(
    steps: list[tuple[tuple[str, int | str | bool], int]],
):
    line = Line()
    line.tick(2)
    for (what, value), wait in steps:
        line.act(what, value)
        line.tick(wait)
    line.asked |= {"held": False, "secret": 0}
    line.agree()
    line.tick(4)
    assert len(line.streams) <= 1 + line.clocks, "a new SSRC is a new clock"
    check_report(line, line.streams[-1])
    for stream in line.streams:
        check(stream)
