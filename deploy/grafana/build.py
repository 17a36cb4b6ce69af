"""Builds the dashboards: `python deploy/grafana/build.py` writes overview.json and edge.json beside this file.

The JSON is what is provisioned; this file is what is edited. Every metric name is one of shared/metrics.py (overview)
or of Kamailio (edge); tests/peers/grafana runs every query against a real Prometheus.
Sources: grafana-foundation-sdk, pinned to the Grafana 10.1 model.
"""

# ruff: noqa: INP001  a program in a folder of configuration, not a package
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

HERE = Path(__file__).parent

NONE_YET = " or on () vector(0)"
"""Ends queries over things that should not happen: their series appear with the first one, until then the answer is 0."""

_SOURCE = DataSourceRef(type_val="prometheus", uid="${ds}")
_EVERY = "[$__rate_interval]"
_MEDIA = 'on (instance) group_left () voicefarm_worker_info{role="media"}'


def query(expr: str, legend: str, *, exemplars: bool = False) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(_SOURCE)
    return built.exemplar(True) if exemplars else built  # noqa: FBT003  the SDK's own signature


def panel(title: str, unit: str, help_text: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(title)
        .description(help_text)
        .unit(unit)
        .datasource(_SOURCE)
        .span(8)
        .height(7)
    )
    for number, one in enumerate(queries):
        built = built.with_target(one.ref_id(chr(ord("A") + number)))
    return built


def rate(metric: str, by: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{_EVERY}))"


def quantile(q: float, histogram: str, by: str = "") -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({grouped}) (rate({histogram}_bucket{_EVERY})))"


def p50_p95(histogram: str) -> tuple[prometheus.Dataquery, prometheus.Dataquery]:
    return query(quantile(0.5, histogram), "p50"), query(quantile(0.95, histogram), "p95", exemplars=True)


def _calls() -> list[timeseries.Panel]:
    responses = "voicefarm_sip_responses_total"
    answered = f'sum(rate({responses}{{code=~"2.."}}{_EVERY})) / sum(rate({responses}{_EVERY}))'
    duration = "voicefarm_call_duration_seconds"
    return [
        panel("Concurrent calls", "short", "Calls with media, and the slots there are.",
              query(f"sum(voicefarm_calls_active * {_MEDIA})", "calls"),
              query(f"sum(voicefarm_calls_capacity * {_MEDIA})", "slots")),
        panel("Calls per second", "reqps", "INVITEs that opened a transaction.",
              query(rate('voicefarm_sip_requests_total{method="INVITE"}'), "INVITE")),
        panel("Answered (ASR)", "percentunit", "Share of final responses to INVITE that are 2xx.", query(answered, "ASR")),
        panel("Mean duration (ACD)", "s", "Answer to end, of the calls that ended.",
              query(f"sum(rate({duration}_sum{_EVERY})) / sum(rate({duration}_count{_EVERY}))", "ACD")),
        panel("Final responses", "reqps", "By SIP code.", query(rate(responses, "code"), "{{code}}")),
        panel("Post-dial delay", "s", "INVITE to final response.", *p50_p95("voicefarm_sip_setup_seconds")),
        panel("Calls ended, by reason", "reqps", "Anything but bye deserves a look.",
              query(rate("voicefarm_calls_total", "result"), "{{result}}")),
        panel("SIP refused before a transaction", "reqps", "Strangers, malformed datagrams, floods.",
              query(rate("voicefarm_sip_refused_total", "reason") + NONE_YET, "{{reason}}")),
        panel("SIP retransmissions", "reqps", "In: the caller did not hear us. Out: it does not answer.",
              query(rate("voicefarm_sip_retransmissions_total", "direction") + NONE_YET, "{{direction}}")),
    ]  # fmt: skip


def _media() -> list[timeseries.Panel]:
    return [
        panel("Jitter", "s", "RFC 3550 interarrival jitter of received streams, one sample per call and 5 s.",
              query(quantile(0.5, "voicefarm_rtp_jitter_seconds", "direction"), "p50 {{direction}}"),
              query(quantile(0.95, "voicefarm_rtp_jitter_seconds", "direction"), "p95 {{direction}}", exemplars=True)),
        panel("Loss p95", "percentunit", "Share of expected packets that never came.",
              query(quantile(0.95, "voicefarm_rtp_loss_ratio", "direction"), "{{direction}}")),
        panel("Round trip", "s", "RTCP, per report.",
              *p50_p95("voicefarm_rtp_rtt_seconds"),
              query("max(voicefarm_call_rtt_seconds)", "worst live call")),
        panel("Quality (MOS)", "short", "E-model, 1 to 4.5, one sample per call and 5 s. Out: from the callers' reports. "
              "G.711 cannot pass 4.4; below 3.6 some, below 3.1 many are dissatisfied.",
              query(quantile(0.5, "voicefarm_rtp_mos", "direction"), "median {{direction}}"),
              query(quantile(0.05, "voicefarm_rtp_mos", "direction"), "worst twentieth {{direction}}"),
              query("min by (direction) (voicefarm_call_mos)", "worst live call {{direction}}")),
        panel("Worst live calls by MOS", "short", "Their call_id leads to the log and the event log.",
              query("bottomk(5, voicefarm_call_mos)", "{{call_id}} {{direction}}")),
        panel("Worst live calls by jitter", "s", "Smoothed as RFC 3550 has it.",
              query("topk(5, voicefarm_call_jitter_seconds)", "{{call_id}} {{direction}}")),
        panel("Worst live calls by loss", "percentunit", "Last 5 s; in bursts where the ratio is above 1.",
              query("topk(5, voicefarm_call_loss_ratio)", "{{call_id}} {{direction}}"),
              query("max(voicefarm_call_burst_ratio)", "highest burst ratio")),
        panel("One-way calls", "short", "Now, and how often it began. In: we hear nothing; out: the caller gets nothing.",
              query("sum by (direction) (voicefarm_rtp_one_way)", "{{direction}}"),
              query("60 * " + rate("voicefarm_rtp_one_way_begun_total", "direction, cause") + NONE_YET,
                    "per minute {{direction}} {{cause}}")),
        panel("Which calls are one-way", "short", "By call_id.",
              query("(voicefarm_call_one_way > 0)" + NONE_YET, "{{call_id}} {{direction}}")),
        panel("Too late and held back", "percentunit", "Packets that came too late to be played; delay of jitter buffers in s.",
              query(quantile(0.95, "voicefarm_rtp_discard_ratio"), "too late p95"),
              query("max(voicefarm_call_jitter_buffer_seconds)", "longest buffer"),
              query("max(voicefarm_call_discard_ratio)", "worst live call")),
        panel("RTCP", "pps", "Sender and receiver reports, extended reports (XR), goodbyes; in and out.",
              query(rate("voicefarm_rtcp_packets_total", "direction, kind"), "{{kind}} {{direction}}")),
        panel("RTP packets", "pps", "In and out.", query(rate("voicefarm_rtp_packets_total", "direction"), "{{direction}}")),
        panel("RTP refused", "pps", "By reason: wrong source, unknown payload, malformed.",
              query(rate("voicefarm_rtp_rejected_total", "reason") + NONE_YET, "{{reason}}")),
        panel("Lost, reordered, concealed", "pps", "Packets lost and out of order; frames made up.",
              query(rate("voicefarm_rtp_lost_total", "direction") + NONE_YET, "lost {{direction}}"),
              query(rate("voicefarm_rtp_reordered_total"), "reordered"),
              query(rate("voicefarm_rtp_concealed_total"), "concealed")),
        panel("Tick", "s", "Time one 20 ms tick takes; over 20 ms is late.",
              query(quantile(0.5, "voicefarm_tick_seconds"), "p50"), query(quantile(0.99, "voicefarm_tick_seconds"), "p99")),
        panel("Late ticks and send errors", "cps", "Should be flat at nought.",
              query(rate("voicefarm_tick_overruns_total"), "late ticks"),
              query(rate("voicefarm_rtp_send_errors_total"), "send errors"),
              query(rate("voicefarm_recording_dropped_frames_total"), "recording frames lost")),
        panel("Free slots and ports", "short", "Of all media workers.",
              query(f"sum((voicefarm_calls_capacity - voicefarm_calls_active) * {_MEDIA})", "slots"),
              query("sum by (state) (voicefarm_rtp_ports)", "ports {{state}}")),
    ]  # fmt: skip


def _agent() -> list[timeseries.Panel]:
    return [
        panel("Voice to voice", "s", "The caller stops speaking to the first packet of the reply.",
              *p50_p95("voicefarm_turn_voice_to_voice_seconds")),
        panel("Stages p95", "s", "Where a turn's time goes.",
              query(quantile(0.95, "voicefarm_stage_latency_seconds", "stage"), "{{stage}}")),
        panel("Last turn of live calls", "s", "The slowest five.",
              query("topk(5, voicefarm_call_voice_to_voice_seconds)", "{{call_id}}")),
        panel("Barge-in", "s", "First loud caller frame to the agent's last packet.",
              *p50_p95("voicefarm_barge_in_seconds")),
        panel("Barge-ins, keys, plays per minute", "short",
              "Key presses by what told them first: RTP events, tones, INFO. What became of files and tones to play.",
              query(f"60 * {rate('voicefarm_barge_in_seconds_count')}", "barge-ins"),
              query("60 * " + rate("voicefarm_dtmf_total", "source") + NONE_YET, "keys {{source}}"),
              query("60 * " + rate("voicefarm_play_total", "what") + NONE_YET, "plays {{what}}")),
        panel("Replies", "reqps", "By how they ended.", query(rate("voicefarm_llm_turns_total", "result"), "{{result}}")),
        panel("STT decode", "s", "One decode, by kind.",
              query(quantile(0.5, "voicefarm_stt_decode_seconds", "kind"), "p50 {{kind}}"),
              query(quantile(0.95, "voicefarm_stt_decode_seconds", "kind"), "p95 {{kind}}")),
        panel("STT batch", "short", "Utterances per decode, and audio seconds decoded per second.",
              query(quantile(0.95, "voicefarm_stt_batch_size"), "p95 batch"),
              query(rate("voicefarm_stt_audio_seconds_total"), "audio s/s")),
        panel("LLM first token", "s", "By engine.",
              query(quantile(0.5, "voicefarm_llm_first_token_seconds", "engine"), "p50 {{engine}}"),
              query(quantile(0.95, "voicefarm_llm_first_token_seconds", "engine"), "p95 {{engine}}")),
        panel("TTS first frame", "s", "By engine.",
              query(quantile(0.5, "voicefarm_tts_first_frame_seconds", "engine"), "p50 {{engine}}"),
              query(quantile(0.95, "voicefarm_tts_first_frame_seconds", "engine"), "p95 {{engine}}")),
        panel("TTS audio", "short", "Seconds made per second.", query(rate("voicefarm_tts_audio_seconds_total"), "audio s/s")),
        panel("Engine failures and moved calls", "reqps", "Failures by engine and reason; calls moved to another worker.",
              query(rate("voicefarm_engine_failures_total", "engine, reason") + NONE_YET, "{{engine}} {{reason}}"),
              query(rate("voicefarm_reattached_total", "role") + NONE_YET, "moved {{role}}")),
    ]  # fmt: skip


def _processes() -> list[timeseries.Panel]:
    return [
        panel("Processes", "short", "By role.", query("count by (role) (voicefarm_worker_info)", "{{role}}"),
              query("sum(voicefarm_worker_draining)", "draining")),
        panel("Slots used", "percentunit", "By role; AI workers too run full.",
              query("sum by (role) (voicefarm_calls_active * on (instance) group_left (role) voicefarm_worker_info)"
                    " / sum by (role) (voicefarm_calls_capacity * on (instance) group_left (role) voicefarm_worker_info)",
                    "{{role}}")),
        panel("Stream lag", "short", "Entries read at once from an inbox: the backlog.",
              query("max by (stream, group) (voicefarm_stream_lag)", "{{group}} {{stream}}")),
        panel("Entries lost", "reqps", "Trimmed before they were read, or given up, by kind.",
              query(rate("voicefarm_stream_gaps_total", "stream") + NONE_YET, "gap {{stream}}"),
              query(rate("voicefarm_bus_dropped_total", "kind") + NONE_YET, "dropped {{kind}}")),
        panel("Failures", "reqps", "Round trips to Redis that failed; errors caught at a task border.",
              query(rate("voicefarm_bus_failures_total"), "redis"),
              query(rate("voicefarm_task_errors_total", "task") + NONE_YET, "{{task}}")),
        panel("SIP state held", "short", "Dialogs and transactions.",
              query("sum(voicefarm_sip_dialogs)", "dialogs"), query("sum(voicefarm_sip_transactions)", "transactions")),
        panel("Post-call jobs", "reqps", "By result: done, again (a retry waits), failed.",
              query("sum by (result) (rate(voicefarm_jobs_total[$__rate_interval]))" + NONE_YET, "{{result}}")),
    ]  # fmt: skip


def _edge() -> list[timeseries.Panel]:
    return [
        panel("Calls at the edge", "reqps", "By tenant and what became of them.",
              query(rate("kamailio_edge_invites", "tenant, result"), "{{tenant}} {{result}}")),
        panel("Replies of the fronts", "reqps", "By code.", query(rate("kamailio_edge_front_replies", "code"), "{{code}}")),
        panel("Refused", "reqps", "Strangers, floods, malformed.",
              query(rate("kamailio_edge_refused", "reason") + NONE_YET, "{{reason}}")),
        panel("Dialogs", "short", "", query("sum(kamailio_dialog_active_dialogs)", "active"),
              query("sum(kamailio_dialog_early_dialogs)", "early")),
        panel("Requests", "reqps", "All methods.", query(rate("kamailio_core_rcv_requests"), "requests")),
        panel("Shared memory", "bytes", "", query("sum(kamailio_shmem_used_size)", "used"),
              query("sum(kamailio_shmem_total_size)", "total")),
    ]  # fmt: skip


def _dashboard(title: str, uid: str, rows: dict[str, list[timeseries.Panel]]) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["voicefarm"])
        .refresh("10s")
        .time("now-30m", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("ds").label("Prometheus").type("prometheus"))
    )
    number = count(1)
    for name, panels in rows.items():
        built = built.with_row(dashboard.Row(name).id(next(number)))
        for one in panels:
            built = built.with_panel(one.id(next(number)))
    return built


def dashboards() -> dict[str, str]:
    """File name -> JSON of every dashboard."""
    overview = {"Calls": _calls(), "Media": _media(), "Agent": _agent(), "Processes": _processes()}
    built = {
        "overview.json": _dashboard("Voice farm", "voicefarm", overview),
        "edge.json": _dashboard("Voice farm edge", "voicefarm-edge", {"Kamailio": _edge()}),
    }
    return {
        name: JSONEncoder(sort_keys=True, indent=1).encode(one.build()) + "\n" for name, one in built.items()
    }


def main() -> None:
    for name, text in dashboards().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
