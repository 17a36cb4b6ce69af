"""The media engine: every leg of a process as rows of arrays, 20 ms at a time.

A shell drains its sockets into `receive` and `receive_rtcp`, calls `tick` for the next phase of the 20 ms, and sends
`packets[sending(phase)]` and `rtcp_out()`. Nothing here waits, logs or reads a clock. Not thread-safe: only the tick
thread touches it. Source of the shape: DESIGN section 6; of the rules: RFC 3550, 3551, 4733.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

from mediaworker.core.address import address_key, network
from mediaworker.core.codecs import COMPLEXITY
from mediaworker.core.dtmf.keys import Keys
from mediaworker.core.formats import Formats
from mediaworker.core.g711 import Octets
from mediaworker.core.inbound.coded import CodedLegs
from mediaworker.core.inbound.delay import DelayTarget
from mediaworker.core.inbound.intake import Intake
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.quality import Histogram
from mediaworker.core.inbound.receive import Receiver
from mediaworker.core.inbound.sound import CallerSound
from mediaworker.core.inbound.sources import SourcePolicy
from mediaworker.core.legs import Heard, LegSetup, LegStats, Samples, TickResult
from mediaworker.core.outbound.loose import LooseLegs
from mediaworker.core.outbound.output import Output
from mediaworker.core.outbound.playout import POOL_CHUNKS, Playout
from mediaworker.core.outbound.transmit import LoosePacket, Transmitter
from mediaworker.core.playing.lines import Lines
from mediaworker.core.reporting.liveness import WATCH_TICKS, Watch
from mediaworker.core.reporting.reports import Reports, RtcpPacket
from mediaworker.core.reporting.scores import INTERVAL_TICKS, Scores
from mediaworker.core.rows import Index, Ints, Rows
from mediaworker.core.snapshot import EngineFigures, Parts, Snapshot
from mediaworker.core.speech.speech import SpeechGate
from mediaworker.core.srtp import Protection
from shared.contracts import MediaFormat, RtpEndpoint, SrtpKeys
from shared.errors import Refused
from shared.units import NARROWBAND_HZ, NS_PER_MS, NS_PER_S, WIDEBAND_HZ

PHASE_FILL = 250
"""Legs of a phase before the next one is begun: a short burst of sends is cheaper than one more tick."""


class Engine:
    """`capacity` legs. `phases` slices of the 20 ms that legs are spread over; each `tick` serves the next one."""

    def __init__(
        self,
        capacity: int,
        *,
        vad_threshold_dbfs: float = -45.0,
        jitter_max_ms: int = 200,
        rtp_timeout_s: float = 30.0,
        rtp_never_s: float = 20.0,
        rtcp_xr: bool = True,
        opus_complexity: int = COMPLEXITY,
        rtcp_proves_life: bool = True,
        one_way_s: float = 5.0,
        mos_low: float = 3.1,
        source_policy: SourcePolicy = "strict",
        seed: int | None = None,
        phases: int = 2,
        pool_chunks: int = POOL_CHUNKS,
    ) -> None:
        random = np.random.default_rng(seed)
        self.capacity = capacity
        self.phases = phases
        self.rejected: Counter[str] = Counter()
        self.send_errors = 0
        self.rows = Rows(capacity, phases)
        self._ring = JitterRing(self.rows)
        self._transmitter = Transmitter(self.rows, random)
        self.keys = Keys(self.rows, self._transmitter, self.rejected)
        """Key presses, in and out."""
        self._coded = CodedLegs(self.rows, self.rejected)
        latch = source_policy == "latch"
        delay = DelayTarget(self.rows, jitter_max_ms * NS_PER_MS)
        intake = Intake(self.rows, self._ring, delay, self._coded, self.rejected)
        self._receiver = Receiver(self.rows, intake, self.keys.receiver, self.rejected, latch=latch)
        self._sound = CallerSound(self.rows, self._ring, delay, self._coded)
        self._gate = SpeechGate(self.rows, self._ring, vad_threshold_dbfs)
        self._playout = Playout(self.rows.count, capacity, pool_chunks)
        self._loose = LooseLegs(self.rows, self._transmitter, opus_complexity)
        self._formats = Formats(self.rows, self._transmitter, self._loose, self._coded)
        self._output = Output(self.rows, self._playout, self._transmitter, self.keys.sender)
        self._reports = Reports(
            self.rows, self.rejected, random, srtp=self._receiver.srtp, extended=rtcp_xr, buffer_limit_ms=jitter_max_ms
        )  # fmt: skip
        self._room_phase: Counter[tuple[int, int]] = Counter()
        self._watch = Watch(
            self.rows, timeout_s=rtp_timeout_s, never_s=rtp_never_s, one_way_s=one_way_s,
            rtcp_proves_life=rtcp_proves_life,
        )  # fmt: skip
        self._scores = Scores(self.rows, low=mos_low)
        self._figures = EngineFigures(Parts(
            rows=self.rows, ring=self._ring, receiver=self._receiver, transmitter=self._transmitter,
            playout=self._playout, reports=self._reports, rejected=self.rejected, scores=self._scores, watch=self._watch,
        ))  # fmt: skip
        self._phase = 0
        self._now_ns = 0
        self._ticks = 0
        self._moved: set[int] = set()

    # --- a leg's life

    def open(self, setup: LegSetup, now_ns: int) -> int:
        """A row for the leg; packets are taken from now on, nothing is sent or played before `start`."""
        if sum(self.rows.live) >= self.capacity:
            raise Refused("full")
        self._formats.check(setup.format)
        negotiated = address_key(setup.remote.host, setup.remote.rtp_port)
        mux = setup.format.rtcp_mux
        reports_to = self._reports.address(setup.remote, mux=mux)
        networks = tuple(network(cidr) for cidr in setup.media_cidrs)
        protection = Protection(setup.srtp) if setup.srtp else None
        row = self.rows.take(self._choose_phase(setup.room))
        rows = self.rows
        self._ring.clear(row)
        rows.opened_ns[row] = now_ns
        rows.negotiated[row] = negotiated
        rows.echo[row], rows.record[row] = setup.echo, setup.record
        rows.detect[row] = setup.detect_speech
        rows.room[row] = setup.room
        self._receiver.open(row, networks)
        if rows.source[row]:
            self._moved.add(row)
        self._reports.aim(row, reports_to, mux=mux)
        self.keys.open(row, setup.inband_dtmf)
        self._set_format(row, setup.format)
        self._transmitter.open(row, setup.format.payload_type)
        self._transmitter.to[row, 0] = negotiated
        self._receiver.srtp.open(row, protection)
        self._transmitter.seal(row, self._receiver.srtp.seal_of(row))
        self._gate.open(row, setup.turn)
        if setup.room >= 0:
            self._room_phase[setup.room, rows.phase_of(row)] += 1
        self._changed(row)
        return row

    def start(self, row: int, now_ns: int) -> None:
        """Media may flow: the ACK was seen."""
        rows = self.rows
        if rows.started[row]:
            return
        rows.started[row] = True
        rows.watched_ns[row] = now_ns
        self._reports.start(row, now_ns)
        self._transmitter.mark(row)
        self._changed(row)

    def update(
        self,
        row: int,
        remote: RtpEndpoint,
        format: MediaFormat,  # noqa: A002  the contract's word
        srtp: SrtpKeys | None = None,
    ) -> None:
        """A re-INVITE: the source is pinned anew, from the new address; without keys the leg is plain from now on."""
        rows = self.rows
        self._formats.check(format)
        negotiated = address_key(remote.host, remote.rtp_port)
        reports_to = self._reports.address(remote, mux=format.rtcp_mux)
        if srtp or rows.secure[row]:
            self._receiver.srtp.rekey(row, srtp, self._now_ns)
            self._transmitter.seal(row, self._receiver.srtp.seal_of(row))
        if negotiated != int(rows.negotiated[row]):
            rows.negotiated[row] = negotiated
            self._transmitter.to[row, 0] = negotiated
        self._reports.aim(row, reports_to, mux=format.rtcp_mux)
        self._receiver.sources.expect(row)
        # Packets owed from now on: what was silent while it was held must not be lost the moment it is taken off hold.
        rows.watched_ns[row] = self._now_ns
        self._moved.add(row)
        sent_before, ssrc_before = bool(rows.sends[row]), int(rows.out_ssrc[row])
        self._set_format(row, format)
        self._reports.renamed(row, ssrc_before, self._now_ns)
        self._transmitter.retype(row, format.payload_type)
        if rows.sends[row] and rows.started[row] and not sent_before:
            self._transmitter.mark(row)
        self._changed(row)

    def close(self, row: int, now_ns: int | None = None) -> LegStats:
        """Ends a leg (as of the last tick when no time is given) and frees its row. Its RTCP BYE waits in `rtcp_out` for as long as the shell keeps the socket."""
        stats = self.stats(row)
        rows = self.rows
        phase = rows.phase_of(row)
        self._reports.farewell(row, self._now_ns if now_ns is None else now_ns)
        self._figures.ended(stats)
        room = int(rows.room[row])
        if room >= 0:
            self._room_phase[room, phase] -= 1
            if not self._room_phase[room, phase]:
                del self._room_phase[room, phase]
                self._output.forget_room(room)
        rows.give(row)
        rows.room[row] = -1
        self._receiver.close(row)
        self.keys.close(row)
        self._playout.forget(row)
        self._output.forget(row)
        self._moved.discard(row)
        self._transmitter.close(row)
        self._formats.close(row)
        self._ring.clear(row)
        self._changed(row, phase)
        return stats

    def _set_format(self, row: int, wanted: MediaFormat) -> None:
        alaw, flowing = self.rows.alaw[row], self.rows.flowing[row]
        if self._formats.set(row, wanted):
            self._ring.clear(row)
        elif flowing and alaw != self.rows.alaw[row]:
            self._ring.translate(row)
        self.keys.set_format(row, wanted)
        self._output.set_rate(row)

    def _choose_phase(self, room: int) -> int:
        if room >= 0:
            for phase in range(self.phases):
                if (room, phase) in self._room_phase:
                    return phase
        live = self.rows.live
        for phase in range(self.phases):
            if live[phase] < PHASE_FILL:
                return phase
        return min(range(self.phases), key=live.__getitem__)

    def _changed(self, row: int, phase: int | None = None) -> None:
        phase = self.rows.phase_of(row) if phase is None else phase
        self._transmitter.changed(phase)
        self._output.changed(phase)
        self._gate.changed(phase)
        self.keys.changed(phase)

    # --- what is said to a leg

    def queue(self, row: int, turn: int, segment: int, pcm: Samples, *, last: bool) -> int:
        """Appends samples of a segment to the leg's playout; how many were taken. A short take leaves it open."""
        return self._playout.queue(row, turn, segment, pcm, last=last)

    def room(self, row: int) -> int:
        """Samples that `queue` would take."""
        return self._playout.room(row)

    def pause(self, row: int) -> None:
        self._playout.pause(row)

    def resume(self, row: int) -> None:
        """Goes on at the sample where it was paused."""
        self._playout.resume(row)

    def flush(self, row: int) -> Heard:
        """Forgets what is queued (and a pause); how far playout came."""
        return self._playout.flush(row)

    def playing(self, row: int) -> bool:
        """Whether whole frames wait to be played, paused or not."""
        return self._playout.playing(row)

    def heard(self, row: int) -> Heard:
        return self._playout.heard(row)

    @property
    def lines(self) -> Lines:
        """What is played besides replies: files, tones, music, to legs and rooms."""
        return self._output.lines

    def rate_hz(self, row: int) -> int:
        """Of the leg's audio inside the farm: what `queue` takes and `caller_wide` or `caller_pcm` holds."""
        return WIDEBAND_HZ if self.rows.wide[row] else NARROWBAND_HZ

    def has_room(self, number: int) -> bool:
        """Whether legs are in a room."""
        return any((number, phase) in self._room_phase for phase in range(self.phases))

    def take_part(self, row: int) -> None:
        """`muted`, `deaf`, `voice`, `whisper_to` or `record` of the row were set anew."""
        self._changed(row)

    def pre_roll(self, row: int) -> Samples:
        """Caller audio before the frame just played: `pre_roll_ms` and the onset's earlier frames.

        Read at ONSET. The current frame is not in it; it is in `caller_pcm`, and the row in `utterance_rows`.
        """
        return self._gate.pre_roll(row)

    # --- packets in

    def receive(
        self, rows: Index, packets: Octets, lengths: Ints, sources: npt.NDArray[np.uint64], arrivals: Ints
    ) -> None:
        """N RTP datagrams, at most one per row: [N, B] octets (B a multiple of 8, C-contiguous, at least 64), their
        lengths, source addresses as numbers (`address.address_key`) and arrival times in ns on the clock of `now_ns`.
        """
        if len(rows):
            self._receiver.receive(rows, packets, lengths, sources, arrivals)
            if self._receiver.pinned:
                self._follow_sources()
            if self._receiver.reports:
                for report in self._receiver.take_reports():
                    self._reports.receive(*report)

    def receive_rtcp(self, row: int, data: bytes, source: int, arrived_ns: int) -> None:
        self._reports.receive(row, data, source, arrived_ns)

    def _follow_sources(self) -> None:
        """Symmetric RTP (RFC 4961): once pinned, media goes where it comes from."""
        for row in self._receiver.take_pinned():
            self._transmitter.to[row, 0] = self.rows.source[row]
            self._reports.follow(row)
            self._moved.add(row)

    def take_moved(self) -> set[int]:
        """Rows whose source was pinned or let go since the last call: the shell connects their sockets."""
        moved, self._moved = self._moved, set()
        return moved

    # --- the tick

    @property
    def next_phase(self) -> int:
        """The phase that the next `tick` serves: its sockets are to be drained before."""
        return self._phase

    def tick(self, now_ns: int) -> TickResult:
        """20 ms of the next phase's legs: plays, detects, mixes and prepares one packet per sending leg."""
        self._now_ns = now_ns
        phase = self._phase
        self._phase = (phase + 1) % self.phases
        self._ticks += phase == 0
        result = TickResult(
            caller_pcm=self.rows.caller_pcm, sent_pcm=self.rows.sent_pcm,
            caller_wide=self.rows.caller_wide, sent_wide=self.rows.sent_wide,
        )  # fmt: skip
        if not self.rows.live[phase]:
            return result
        span = self.rows.span(phase)
        self._sound.play(phase, span, now_ns)
        result.own_time = self._sound.own_time
        if self.keys.listened[phase].size:
            self.keys.listen(phase, result.own_time)
        result.speech, result.utterance_rows = self._gate.step(phase, result.own_time)
        result.dtmf = self.keys.take(now_ns) if phase == 0 or not self.rows.live[0] else []
        if self.keys.sender:
            self.keys.send(phase, now_ns)
        result.playout = self._output.compose(phase, span, now_ns)
        result.record_rows = self._output.record_rows(phase)
        result.record_wide = self._output.record_wide(phase)
        if self._transmitter.loose_rows[phase]:
            self._loose.send(phase)
        self._transmitter.stamp(phase, span)
        if self._ticks % WATCH_TICKS == 0:
            result.lost = self._watch.lost(span, now_ns)
            result.quality = self._watch.one_way(span, now_ns)
            if self._ticks % INTERVAL_TICKS == 0:
                result.quality += self._scores.step(span)
            self._moved.update(self._receiver.sources.let_go(span, now_ns))
        self._reports.due(span, now_ns)
        return result

    # --- packets out

    @property
    def packets(self) -> Octets:
        """[L, 172] the packet of each row."""
        return self._transmitter.packets

    @property
    def destinations(self) -> npt.NDArray[np.uint64]:
        """[L, 2] a `sockaddr_in` per row."""
        return self._transmitter.to

    def sending(self, phase: int) -> Index:
        """Rows with a packet to send after the phase's tick; the same object until `sending_version` rises."""
        return self._transmitter.sending(phase)

    def loose(self) -> list[LoosePacket]:
        """Packets of rows that are not in `sending`, made since the last call: each for its row's destination."""
        return self._transmitter.take_loose()

    def sending_version(self, phase: int) -> int:
        return self._transmitter.versions[phase]

    @property
    def last_phase(self) -> int:
        """The phase that the last `tick` served."""
        return (self._phase - 1) % self.phases

    @property
    def round_over(self) -> bool:
        """Whether the last `tick` was the last of its 20 ms that had legs to serve."""
        return self._phase == 0 or not any(self.rows.live[self._phase :])

    def rtcp_out(self, now_ns: int) -> list[RtcpPacket]:
        """RTCP packets to send now."""
        return self._reports.take(now_ns)

    def rtcp_out_of(self, row: int) -> list[RtcpPacket]:
        """Those of one row, whose socket is about to close."""
        return self._reports.take_of(row)

    @property
    def wall_offset_ns(self) -> int:
        """Wall clock minus the clock of `now_ns`; for the NTP times of sender reports. Set by the shell."""
        return self._reports.wall_offset_ns

    @wall_offset_ns.setter
    def wall_offset_ns(self, offset_ns: int) -> None:
        self._reports.wall_offset_ns = offset_ns

    # --- figures

    @property
    def tick_times(self) -> Histogram:
        return self._figures.tick_times

    def note_tick(self, took_ns: int) -> None:
        """The shell says how long a tick took, sockets included."""
        self._figures.tick_times.add(took_ns / NS_PER_S)

    def stats(self, row: int) -> LegStats:
        return self._figures.stats(row)

    def snapshot(self) -> Snapshot:
        """For the metrics: live rows and totals."""
        return self._figures.snapshot(self.send_errors)
