"""The event log of a call, stream `call:{id}:events`: what happened, for consoles, jobs and takeover.

`at_ns` is the wall clock of the writer; order in the stream is the order that counts. `data` is plain MessagePack so
that a reader of any age can show an event it does not know.

| kind | by | data |
|---|---|---|
| call.opened | media | tenant, room_id, session_id, app, agent, codec, remote, metadata |
| call.answered | media | |
| call.updated | media | codec, direction (as seen from the farm: recvonly is a caller on hold), remote, encrypted; after a re-INVITE |
| speech.started | media | turn, barge_in, heard_turn, heard_segment, heard_samples, stop_ms (first loud frame to last agent packet, barge-in only) |
| speech.ended | media | turn, audio_ms |
| transcript | STT | turn, kind, text, confidence, wait_ms, decode_ms |
| agent.segment | LLM | turn, segment, text |
| agent.heard | LLM | turn, text, interrupted |
| turn.latency | media | turn, endpoint_ms, stt_wait_ms, stt_decode_ms, llm_first_token_ms, llm_first_segment_ms, tts_first_frame_ms, bus_ms, voice_to_voice_ms |
| dtmf | media | digit, duration_ms, source |
| dtmf.sent | media | count, via |
| play | media | play_id, what (started, finished, flushed, failed, mark, paused, resumed), line, samples, position_samples, rate_hz, mark, reason |
| mix | media | mute, deaf, gain_db, whisper_to: those that were set |
| recording.started | media | by message, after the call began |
| recording.paused, recording.resumed, recording.stopped | media | |
| attached | media | role, worker, epoch |
| quality | media | direction (in: what we hear), state (low or recovered), mos, loss, jitter_ms, delay_ms of the last 5 s |
| one_way | media | direction (in: we hear nothing; out: the caller gets nothing), state (begun or ended), cause |
| call.ended | media | reason, duration_ms, rtp (packets, lost, jitter both ways and its mean, rtt, mos_in, mos_out, mos_worst, losses in bursts, one_way) |
| recording | jobs | path, format, seconds |
"""

from typing import Any

from shared.contracts.codec import Message, contract


@contract
class CallEvent(Message, tag="call.event", frozen=True, kw_only=True):
    call_id: str
    kind: str
    at_ns: int
    by: str
    """Worker id of the writer."""
    data: dict[str, Any] = {}
