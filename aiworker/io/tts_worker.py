"""The TTS worker: sentences in, audio out to the media workers.

What is spoken next and what is void is decided by `core.speech_queue`; this shell runs the engines, sends frames of all
calls together and measures. A sentence whose engines all fail still ends: its last frame is empty, so that the dialogue
and the media worker go on.
"""

import asyncio
from contextlib import aclosing
from functools import partial

from aiworker.core.failover import reason_of
from aiworker.core.frames import Framer, Limiter
from aiworker.core.speech_queue import Job, SpeechQueue
from aiworker.tts.engines import build
from aiworker.tts.port import Sentence, TtsEngine
from shared.config import Config
from shared.contracts import Message, PcmToMedia, ReplyFrame, Speak, SpeakCancel, StageTimes
from shared.errors import EngineError, EngineMissing
from shared.log import get_log
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from shared.units import NS_PER_MS, NS_PER_S

log = get_log(__name__)

_GATHER_S = 0.005
_ENTRY_FRAMES = 128


class PcmSender:
    """Gathers the frames of all calls of a media worker into few entries: the first at once, more every 5 ms."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._frames: dict[tuple[str, int], list[ReplyFrame]] = {}
        self._times: dict[str, StageTimes] = {}
        self._flushed_at = 0.0
        self._due: asyncio.TimerHandle | None = None

    def put(self, media: str, rate_hz: int, frame: ReplyFrame, times: StageTimes | None) -> None:
        self._frames.setdefault((media, rate_hz), []).append(frame)
        if times is not None:
            self._times[frame.call_id] = times
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(loop.time(), self._flushed_at + _GATHER_S), self.flush)

    def flush(self) -> None:
        """Sends what was gathered."""
        self._due = None
        self._flushed_at = asyncio.get_running_loop().time()
        gathered, self._frames = self._frames, {}
        for (media, rate_hz), frames in gathered.items():
            for at in range(0, len(frames), _ENTRY_FRAMES):
                part = frames[at : at + _ENTRY_FRAMES]
                calls = {frame.call_id for frame in part}
                times = {call: self._times.pop(call) for call in calls if call in self._times}
                self._shell.send_pcm(media, PcmToMedia(rate_hz=rate_hz, frames=part, times=times))


class TtsWorker:
    """The role's hooks."""

    def __init__(self, shell: Shell, engines: list[TtsEngine]) -> None:
        self._shell = shell
        self._engines = engines
        self._parallel = engines[0].parallel
        self._queue = SpeechQueue()
        self._sender = PcmSender(shell)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._reserved = 0

    # --- hooks

    async def on_message(self, message: Message) -> None:
        if isinstance(message, Speak):
            if self._queue.put(message, self._shell.clock.now_ns()):
                self._start_some()
            else:
                self._shell.metrics.counter("voicefarm_bus_dropped", "late").inc()
        elif isinstance(message, SpeakCancel):
            job = self._queue.cancel(message.call_id, message.turn)
            if job is not None and job.order in self._running:
                self._running[job.order].cancel()

    async def on_beat(self, *, forgotten: bool) -> None:  # noqa: ARG002  nothing of ours was lost
        loads = await self._shell.registry.loads([self._shell.worker_id])
        self._reserved = loads[self._shell.worker_id]

    def calls(self) -> int:
        """A draining worker waits for every call that is placed on it, also one that is silent now."""
        return max(self._reserved, len(self._queue.active()))

    # --- speaking

    def _start_some(self) -> None:
        while len(self._running) < self._parallel and (job := self._queue.next()) is not None:
            task = self._shell.spawn(self._speak(job), "speak")
            self._running[job.order] = task
            task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, _task: asyncio.Task[None]) -> None:
        del self._running[job.order]
        self._queue.done(job)
        self._start_some()

    async def _speak(self, job: Job) -> None:
        framer = Framer(job.speak.rate_hz)
        for engine in self._engines:
            try:
                await self._synthesise(engine, job, framer)
                break
            except EngineError as error:
                self._shell.metrics.counter("voicefarm_engine_failures", engine.name, reason_of(error)).inc()
                log.warning(
                    "speech failed", call_id=job.speak.call_id, engine=engine.name, problem=str(error)
                )
            if framer.samples:
                break  # a sentence is never begun again once it was heard
        for offset, pcm, last in framer.finish():
            self._give(job, offset, pcm, last=last, engine="")
        seconds = framer.samples / job.speak.rate_hz
        self._shell.metrics.counter("voicefarm_tts_audio_seconds").inc(seconds)

    async def _synthesise(self, engine: TtsEngine, job: Job, framer: Framer) -> None:
        speak = job.speak
        limiter = Limiter()
        sentence = Sentence(speak.text, speak.voice, speak.language, speak.rate_hz)
        async with aclosing(engine.synthesise(sentence)) as chunks:
            async for chunk in chunks:
                for offset, pcm, last in framer.feed(limiter.apply(chunk)):
                    self._give(job, offset, pcm, last=last, engine=engine.name)

    def _give(self, job: Job, offset: int, pcm: bytes, *, last: bool, engine: str) -> None:
        speak = job.speak
        if job.cancelled:
            return
        times = None
        if offset == 0:
            elapsed_ns = self._shell.clock.now_ns() - job.arrived_ns
            if engine:
                histogram = self._shell.metrics.histogram("voicefarm_tts_first_frame_seconds", engine)
                histogram.observe(elapsed_ns / NS_PER_S)
            if speak.segment == 0 or speak.times != StageTimes():
                times = _with_first_frame(speak.times, elapsed_ns / NS_PER_MS)
        frame = ReplyFrame(speak.call_id, speak.turn, speak.segment, offset, pcm, last)
        self._sender.put(speak.media, speak.rate_hz, frame, times)


def _with_first_frame(times: StageTimes, first_frame_ms: float) -> StageTimes:
    return StageTimes(
        stt_wait_ms=times.stt_wait_ms,
        stt_decode_ms=times.stt_decode_ms,
        llm_first_token_ms=times.llm_first_token_ms,
        llm_first_segment_ms=times.llm_first_segment_ms,
        tts_first_frame_ms=first_frame_ms,
    )


async def _loaded(engines: list[TtsEngine]) -> list[TtsEngine]:
    """The engines that can be used. Raises EngineMissing when the first choice cannot."""
    await engines[0].load()
    usable = engines[:1]
    for engine in engines[1:]:
        try:
            await engine.load()
            usable.append(engine)
        except EngineMissing as error:
            log.warning("no second engine", engine=engine.name, problem=str(error))
    return usable


async def serve(config: Config, name: str) -> None:
    """Runs the worker until it is drained or stopped."""
    engines = await _loaded(build(config.tts))
    identity = Identity(role="tts", name=name, capacity=config.tts.capacity, engine=engines[0].name)
    shell = Shell(config, identity, Metrics("tts"))
    try:
        await shell.run(TtsWorker(shell, engines))
    finally:
        for engine in engines:
            await engine.close()
