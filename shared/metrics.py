"""Every metric of the farm: name, kind, labels, meaning and which role exports it.

Dashboards, rules and docs/metrics.md are checked against this table. Labels have few values; per-call series live
only on /metrics/calls, only while the call lives, and are capped (FACTS section 10).
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Kind = Literal["counter", "gauge", "histogram"]

JITTER_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
LOSS_BUCKETS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
RTT_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
MOS_BUCKETS = (1.0, 1.5, 2.0, 2.58, 3.1, 3.6, 4.03, 4.1, 4.2, 4.3, 4.4, 4.5)
"""2.58 to 4.03 are the borders of G.109's classes of satisfaction."""
STAGE_BUCKETS = (
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
)
SETUP_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
DURATION_BUCKETS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
TICK_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Family(NamedTuple):
    """One metric family; counters get `_total` when exported."""

    name: str
    kind: Kind
    roles: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


FAMILIES = (
    # every process
    Family("voicefarm_worker_info", "gauge", "front media stt llm tts jobs", ("worker", "role", "engine"), "1, names the process"),
    Family("voicefarm_worker_draining", "gauge", "front media stt llm tts jobs", (), "1 while no new work is taken"),
    Family("voicefarm_calls_active", "gauge", "front media stt llm tts", (), "Calls on this worker"),
    Family("voicefarm_calls_capacity", "gauge", "front media stt llm tts", (), "Calls this worker accepts"),
    Family("voicefarm_bus_failures", "counter", "front media stt llm tts jobs", (), "Round trips to Redis that failed"),
    Family("voicefarm_bus_dropped", "counter", "front media stt llm tts jobs", ("kind",), "Entries given up: live, refused, late, unknown"),
    Family("voicefarm_stream_gaps", "counter", "front media stt llm tts jobs", ("stream",), "Times entries were trimmed before they were read"),
    Family("voicefarm_stream_lag", "gauge", "front media stt llm tts jobs", ("stream", "group"), "Entries of our inbox not yet read"),
    Family("voicefarm_task_errors", "counter", "front media stt llm tts jobs", ("task",), "Unforeseen errors caught at a task border"),
    # front
    Family("voicefarm_sip_requests", "counter", "front", ("method",), "Requests received, retransmissions left out"),
    Family("voicefarm_sip_responses", "counter", "front", ("code",), "Final responses to INVITE"),
    Family("voicefarm_sip_retransmissions", "counter", "front", ("direction",), "Messages seen or sent again"),
    Family("voicefarm_sip_refused", "counter", "front", ("reason",), "Datagrams dropped or refused before a transaction"),
    Family("voicefarm_sip_setup_seconds", "histogram", "front", (), "INVITE to final response", SETUP_BUCKETS),
    Family("voicefarm_sip_dialogs", "gauge", "front", (), "Dialogs held"),
    Family("voicefarm_sip_transactions", "gauge", "front", (), "Transactions held"),
    Family("voicefarm_calls", "counter", "front", ("result",), "Finished calls by reason of their end"),
    Family("voicefarm_call_duration_seconds", "histogram", "front", (), "Answered calls, answer to end", DURATION_BUCKETS),
    # media
    Family("voicefarm_rtp_packets", "counter", "media", ("direction",), "RTP packets"),
    Family("voicefarm_rtp_rejected", "counter", "media", ("reason",), "RTP and RTCP packets refused"),
    Family("voicefarm_rtp_lost", "counter", "media", ("direction",), "RTP packets expected and never seen; out: as the peer reports"),
    Family("voicefarm_rtp_concealed", "counter", "media", (), "Frames made up by loss concealment"),
    Family("voicefarm_rtp_jitter_seconds", "histogram", "media", ("direction",), "RFC 3550 interarrival jitter, per call and 5 s", JITTER_BUCKETS),
    Family("voicefarm_rtp_loss_ratio", "histogram", "media", ("direction",), "Share of expected packets lost, per call and 5 s", LOSS_BUCKETS),
    Family("voicefarm_rtp_reordered", "counter", "media", (), "RTP packets that came after one with a higher number"),
    Family("voicefarm_rtp_discard_ratio", "histogram", "media", (), "Share of expected packets that came too late to be played, per call and 5 s", LOSS_BUCKETS),
    Family("voicefarm_rtp_mos", "histogram", "media", ("direction",), "Conversational quality by the E-model (ITU-T G.107), 1 to 4.5, per call and 5 s; out: from the peer's reports", MOS_BUCKETS),
    Family("voicefarm_rtp_rtt_seconds", "histogram", "media", (), "RTCP round trip, per report that gives one", RTT_BUCKETS),
    Family("voicefarm_rtp_one_way", "gauge", "media", ("direction",), "Live calls heard one way only; in: we hear nothing, out: the caller gets nothing"),
    Family("voicefarm_rtp_one_way_begun", "counter", "media", ("direction", "cause"), "Times a call became one-way: no_packets, silence, not_received"),
    Family("voicefarm_rtcp_packets", "counter", "media", ("direction", "kind"), "RTCP packets: sr, rr, xr, bye; those with XR or BYE count twice"),
    Family("voicefarm_rtp_send_errors", "counter", "media", (), "Packets the kernel did not take"),
    Family("voicefarm_rtp_ports", "gauge", "media", ("state",), "Port pairs: free, used, quarantined"),
    Family("voicefarm_tick_seconds", "histogram", "media", (), "Time a tick took", TICK_BUCKETS),
    Family("voicefarm_tick_overruns", "counter", "media", (), "Ticks that ended after the next was due"),
    Family("voicefarm_turn_voice_to_voice_seconds", "histogram", "media", ("tenant",), "Caller stops speaking to first agent packet", STAGE_BUCKETS),
    Family("voicefarm_stage_latency_seconds", "histogram", "media", ("stage",), "One stage of a turn", STAGE_BUCKETS),
    Family("voicefarm_barge_in_seconds", "histogram", "media", (), "First loud caller frame to last agent packet", STAGE_BUCKETS),
    Family("voicefarm_recording_dropped_frames", "counter", "media", (), "Recording frames lost because the disk did not keep up"),
    Family("voicefarm_dtmf", "counter", "media", ("source",), "Key presses, each once, by what told it first: rfc4733, inband, info"),
    Family("voicefarm_play", "counter", "media", ("what",), "What became of things to play: started, finished, flushed, failed, mark, paused, resumed"),
    Family("voicefarm_reattached", "counter", "media", ("role",), "Calls moved to another AI worker"),
    # AI
    Family("voicefarm_stt_batch_size", "histogram", "stt", (), "Utterances per decode", BATCH_BUCKETS),
    Family("voicefarm_stt_decode_seconds", "histogram", "stt", ("kind",), "One decode", STAGE_BUCKETS),
    Family("voicefarm_stt_audio_seconds", "counter", "stt", (), "Audio decoded"),
    Family("voicefarm_llm_first_token_seconds", "histogram", "llm", ("engine",), "Request to first token with text", STAGE_BUCKETS),
    Family("voicefarm_llm_turns", "counter", "llm", ("result",), "Replies: played, interrupted, failed, speculated"),
    Family("voicefarm_tts_first_frame_seconds", "histogram", "tts", ("engine",), "Sentence to first audio", STAGE_BUCKETS),
    Family("voicefarm_tts_audio_seconds", "counter", "tts", (), "Audio made"),
    Family("voicefarm_engine_failures", "counter", "stt llm tts", ("engine", "reason"), "Requests an engine failed"),
    # jobs
    Family("voicefarm_jobs", "counter", "jobs", ("job", "result"), "Post-call jobs"),
)  # fmt: skip

CALL_FAMILIES = (
    Family("voicefarm_call_info", "gauge", "media", ("call_id", "tenant", "room", "codec", "app"), "1 for a live call"),
    Family("voicefarm_call_jitter_seconds", "gauge", "media", ("call_id", "direction"), "RFC 3550 interarrival jitter now; out: as the peer reports"),
    Family("voicefarm_call_loss_ratio", "gauge", "media", ("call_id", "direction"), "Share lost in the last 5 s"),
    Family("voicefarm_call_rtt_seconds", "gauge", "media", ("call_id",), "RTCP round trip"),
    Family("voicefarm_call_mos", "gauge", "media", ("call_id", "direction"), "Conversational quality of the last 5 s by the E-model, 1 to 4.5"),
    Family("voicefarm_call_discard_ratio", "gauge", "media", ("call_id",), "Share that came too late to be played in the last 5 s"),
    Family("voicefarm_call_burst_ratio", "gauge", "media", ("call_id",), "Burst ratio of the losses of the last 5 s (ITU-T G.107): 1 as by chance, more in bursts"),
    Family("voicefarm_call_one_way", "gauge", "media", ("call_id", "direction"), "1 while nothing is heard in this direction"),
    Family("voicefarm_call_jitter_buffer_seconds", "gauge", "media", ("call_id",), "Delay of the jitter buffer now"),
    Family("voicefarm_call_voice_to_voice_seconds", "gauge", "media", ("call_id",), "Last turn"),
    Family("voicefarm_call_rtp_packets", "counter", "media", ("call_id", "direction"), "RTP packets"),
)  # fmt: skip
"""Exported on /metrics/calls only."""


class Metrics:
    """The families of one role, in a registry of their own."""

    def __init__(self, role: str) -> None:
        self.registry = CollectorRegistry()
        self._families: dict[str, Any] = {}
        for family in families(role):
            self._families[family.name] = _build(family, self.registry)

    def counter(self, name: str, *labels: str) -> Counter:
        found: Counter = self._get(name, labels)
        return found

    def gauge(self, name: str, *labels: str) -> Gauge:
        found: Gauge = self._get(name, labels)
        return found

    def histogram(self, name: str, *labels: str) -> Histogram:
        found: Histogram = self._get(name, labels)
        return found

    def _get(self, name: str, labels: tuple[str, ...]) -> Any:
        family = self._families[name]
        return family.labels(*labels) if labels else family


def families(role: str) -> Iterable[Family]:
    """The families a role exports on /metrics."""
    return (family for family in FAMILIES if role in family.roles.split())


def _build(family: Family, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if family.kind == "counter":
        return Counter(family.name, family.help, family.labels, registry=registry)
    if family.kind == "gauge":
        return Gauge(family.name, family.help, family.labels, registry=registry)
    return Histogram(family.name, family.help, family.labels, registry=registry, buckets=family.buckets)
