"""Calls with AI workers that the test plays: utterances, replies, barge-in on the wire, workers that die."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest

from shared.contracts import (
    DialogueAttach,
    DialogueDetach,
    DialogueUpdate,
    Mark,
    MediaEnded,
    PcmToMedia,
    PcmToStt,
    ReplyEnd,
    ReplyFrame,
    SegmentPlayed,
    SpeechStarted,
    StageTimes,
    SttAttach,
    SttDetach,
    UtteranceFrame,
)
from tests.process.mediaworker.conftest import Worker
from tests.support.lateness import Lateness
from tests.support.media_bench import Front, Member, PlacedCall, member
from tests.support.rtp_peer import strongest_hz, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


@dataclass
class Ai:
    stt: Member
    llm: Member
    tts: Member

    def speak(
        self, call: PlacedCall, turn: int, ms: int, *, segment: int = 0, times: StageTimes | None = None
    ) -> None:
        """One sentence at once, as a fast TTS worker sends it, in pieces of 200 ms."""
        pcm = tone(300, ms)
        pieces = [pcm[at : at + 1_600] for at in range(0, len(pcm), 1_600)]
        offset = 0
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            frame = ReplyFrame(call.call_id, turn, segment, offset, piece.tobytes(), last)
            offset += len(piece)
            first_times = {call.call_id: times} if times and number == 0 else {}
            message = PcmToMedia(rate_hz=8_000, frames=[frame], times=first_times)
            self.tts.shell.send_pcm(call.placement.worker, message)

    def end_reply(self, call: PlacedCall, turn: int, segments: int, *, hangup: bool = False) -> None:
        end = ReplyEnd(call_id=call.call_id, turn=turn, segments=segments, hangup=hangup)
        self.llm.shell.send(call.placement.worker, end)


@pytest.fixture
async def ai(worker: Worker) -> AsyncIterator[Ai]:
    async with contextlib.AsyncExitStack() as stack:
        stt, llm, tts = [
            await stack.enter_async_context(member(worker.redis_url, role)) for role in ("stt", "llm", "tts")
        ]  # type: ignore[arg-type]
        await eventually(lambda: stt.shell.registry.live("tts"))
        yield Ai(stt, llm, tts)


ENDPOINT_MS = (440, 500 + 200 + 60)
"""From the last loud packet's arrival: 500 ms of silence, and what playout waits when packets come unevenly, as from a busy
machine: up to `media.jitter_max_ms`."""


def utterances(stt: Member, call: PlacedCall) -> list[UtteranceFrame]:
    return [f for message in stt.got(PcmToStt) for f in message.frames if f.call_id == call.call_id]


async def said(stt: Member, call: PlacedCall, mark: Mark) -> list[UtteranceFrame]:
    await eventually(lambda: any(f.mark is mark for f in utterances(stt, call)))
    return utterances(stt, call)


async def test_what_a_caller_says_arrives_whole_at_stt(placed: Front, ai: Ai) -> None:
    call = await placed.call("transcribe")
    attach = await ai.stt.await_one(SttAttach)
    assert (attach.call_id, attach.llm, attach.epoch) == (call.call_id, "", 1)
    call.peer.say(tone(740, 700))
    frames = await said(ai.stt, call, Mark.END)
    assert frames[0].mark is Mark.START
    assert [f.mark for f in frames if f.mark is not Mark.AUDIO] == [Mark.START, Mark.PAUSE, Mark.END]
    offset = 0
    for frame in frames:
        assert frame.offset == offset
        offset += len(frame.pcm) // 2
    pcm = np.frombuffer(b"".join(f.pcm for f in frames), np.int16)
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 500)
    assert loud[-1] - loud[0] == pytest.approx(700 * 8, abs=200), "not a frame is missing"
    assert strongest_hz(pcm[loud[0] : loud[-1]]) == pytest.approx(740, abs=5)
    assert ENDPOINT_MS[0] <= frames[-1].silence_ms <= ENDPOINT_MS[1]
    await placed.hang_up(call)
    assert (await ai.stt.await_one(SttDetach)).call_id == call.call_id


async def test_a_turn_from_greeting_to_hangup(placed: Front, ai: Ai, late: Lateness) -> None:
    call = await placed.call("agent")
    attach = await ai.llm.await_one(DialogueAttach)
    assert (attach.call_id, attach.ai.stt, attach.turn, attach.resumed) == (call.call_id, ai.stt.id, 0, False)
    ai.speak(call, 0, 400)
    ai.end_reply(call, 0, 1)
    played = await ai.llm.await_one(SegmentPlayed)
    assert (played.turn, played.segment, played.samples) == (0, 0, 3_200)
    call.peer.say(tone(740, 500))
    assert (await ai.llm.await_one(SpeechStarted)).turn == 1
    await said(ai.stt, call, Mark.END)
    before = len(call.peer.heard)
    ai.speak(
        call,
        1,
        300,
        times=StageTimes(stt_wait_ms=1, stt_decode_ms=2, llm_first_segment_ms=3, tts_first_frame_ms=4),
    )
    ai.end_reply(call, 1, 1, hangup=True)
    ended = await placed.member.await_one(MediaEnded, lambda m: m.call_id == call.call_id)
    assert ended.reason == "app"
    assert (await ai.llm.await_one(DialogueDetach)).reason == "app"
    loud = [packet.at_ns for packet in call.peer.heard[before:] if packet.loud]
    assert len(loud) == 15, "the whole sentence before the end"
    on_the_wire_ms = (loud[0] - call.peer.sent_loud_ns[-1]) / 1e6
    (latency,) = await placed.events(call.call_id, "turn.latency")
    assert latency["voice_to_voice_ms"] == pytest.approx(on_the_wire_ms, abs=60 + late.worst_ms)
    assert ENDPOINT_MS[0] <= latency["endpoint_ms"] <= ENDPOINT_MS[1]
    assert latency["tts_first_frame_ms"] == 4


async def test_barge_in_stops_the_agent_on_the_wire(placed: Front, ai: Ai, late: Lateness) -> None:
    stops: list[float] = []
    for _ in range(5):
        call = await placed.call("agent")
        ai.speak(call, 0, 4_000)
        await eventually(lambda call=call: sum(p.loud for p in call.peer.heard) > 15)
        first = len(call.peer.sent_loud_ns)
        call.peer.say(tone(740, 600))
        told = await ai.llm.await_one(SpeechStarted, lambda m, call=call: m.call_id == call.call_id)
        await eventually(lambda call=call: not call.peer.saying)
        loud = [packet for packet in call.peer.heard if packet.loud]
        stops.append((loud[-1].at_ns - call.peer.sent_loud_ns[first]) / 1e6)
        assert (told.turn, told.barge_in, told.heard_turn, told.heard_segment) == (1, True, 0, 0)
        assert told.heard_samples == 160 * len(loud), "what the caller heard is what the dialogue is told"
        assert told.heard_of_samples == 32_000
        (logged,) = await placed.events(call.call_id, "speech.started")
        assert 0 < logged["stop_ms"] <= 300 + late.worst_ms
        await placed.hang_up(call)
    assert sorted(stops)[-2] <= 300 + late.worst_ms, stops


async def test_a_cough_does_not_stop_the_agent(placed: Front, ai: Ai) -> None:
    call = await placed.call("agent")
    ai.speak(call, 0, 1_500)
    ai.end_reply(call, 0, 1)
    await eventually(lambda: sum(p.loud for p in call.peer.heard) > 10)
    call.peer.say(tone(740, 100))
    played = await ai.llm.await_one(SegmentPlayed)
    assert played.samples == 12_000
    assert ai.llm.got(SpeechStarted) == []
    assert sum(p.loud for p in call.peer.heard) == 75
    assert [f.mark for f in utterances(ai.stt, call) if f.mark is not Mark.AUDIO] == [Mark.START, Mark.ABORT]


async def test_another_stt_worker_takes_over_in_the_middle_of_an_utterance(
    placed: Front, ai: Ai, worker: Worker
) -> None:
    async with member(worker.redis_url, "stt", name="stt-spare") as spare:
        call = await placed.call("agent")
        mine, other = (ai.stt, spare) if call.placement.stt == ai.stt.id else (spare, ai.stt)
        call.peer.say(tone(740, 6_000))
        await said(mine, call, Mark.START)
        mine.shell.stop()
        attach = await other.await_one(SttAttach)
        assert (attach.call_id, attach.epoch, attach.llm) == (call.call_id, 2, ai.llm.id)
        frames = await said(other, call, Mark.START)
        assert {frame.epoch for frame in frames} == {2}
        old = utterances(mine, call)
        assert frames[0].turn == old[0].turn
        assert len(frames[0].pcm) > sum(len(f.pcm) for f in old) - 2 * 320, "from the start"
        update = await ai.llm.await_one(DialogueUpdate)
        assert update.ai.stt == other.id
        await asyncio.sleep(0.1)
        frames = utterances(other, call)
        for before, after in itertools.pairwise(frames):
            assert after.offset == before.offset + len(before.pcm) // 2
