"""The STT worker: audio of many calls in, transcripts out, one model that decodes them in common batches.

What is decoded when, and which result counts, is decided in `core/utterances.py` and `core/batcher.py`; here are the
inbox, the engine's thread, the clock and the metrics. A call that cannot be understood is told so by an empty final.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from functools import partial

from aiworker.core.batcher import Batcher, Job
from aiworker.core.utterances import Decode, Effect, Hasten, Loss, Say, Utterances, Void
from aiworker.io.engine_thread import EngineThread
from aiworker.stt.choose import load_engine
from aiworker.stt.port import Hypothesis, SttEngine
from shared.config import Config
from shared.contracts import Message, PcmToStt, SttAttach, SttDetach, Transcript
from shared.errors import BusError, EngineError
from shared.log import get_log
from shared.metrics import Metrics
from shared.shell import Identity, Shell
from shared.units import NS_PER_S

log = get_log(__name__)

_HOUSEKEEPING_S = 0.2
_MEDIA_CHECK_BEATS = 4
_CHECKS_PER_BEAT = 8
_DECODE_S = 120.0
"""A decode that takes longer than this hangs."""
_EX_SOFTWARE = 70
_PCM_MAX_AGE_MS = 10_000
"""An utterance is worth its words also when it is late; older audio is of a worker that stood still."""


async def serve(config: Config, name: str) -> None:
    """Loads the engine, then serves until drained. Raises EngineMissing or ConfigError before anything was promised."""
    thread = EngineThread("stt")
    try:
        engine = await thread.call(partial(load_engine, config.stt))
        metrics = Metrics("stt")
        identity = Identity(
            role="stt", name=name, capacity=config.stt.capacity, engine=engine.name, takes_pcm=True,
            pcm_max_age_ms=_PCM_MAX_AGE_MS,
        )  # fmt: skip
        shell = Shell(config, identity, metrics)
        worker = SttWorker(shell, engine, thread)
        worker.start()
        await shell.run(worker)
    finally:
        thread.close()


class SttWorker:
    """The hooks of an STT process."""

    def __init__(self, shell: Shell, engine: SttEngine, thread: EngineThread) -> None:
        self._shell = shell
        self._engine = engine
        self._thread = thread
        # The front counts capacity at reservation; calls moved here when a neighbour died may exceed it for a while.
        self._utterances = Utterances(capacity=2 * shell.identity.capacity, bucket=engine.bucket)
        self._batcher = Batcher(batch_max=engine.batch_max, queue_max=4 * shell.identity.capacity)
        self._work = asyncio.Event()
        self._beats = 0
        self._told: Counter[Loss] = Counter()

    def start(self) -> None:
        """Starts the tasks that decode and that look after calls."""
        for coroutine, name in ((self._decode_loop(), "decode"), (self._housekeeping(), "housekeeping")):
            task = self._shell.spawn(coroutine, name)
            task.add_done_callback(lambda _: self._shell.stop())  # without either, the worker is no use

    # --- hooks

    async def on_message(self, message: Message) -> None:
        now_ns = self._shell.clock.now_ns()
        match message:
            case PcmToStt():
                for frame in message.frames:
                    self._perform(self._utterances.frame(message.rate_hz, frame, now_ns))
            case SttAttach():
                self._perform(self._utterances.attach(message, now_ns))
            case SttDetach():
                self._utterances.detach(message, now_ns)
            case _:
                log.warning("not for an STT worker", message=type(message).__name__)

    async def on_beat(self, *, forgotten: bool) -> None:
        self._beats = 0 if forgotten else self._beats + 1
        if self._beats % _MEDIA_CHECK_BEATS == _MEDIA_CHECK_BEATS - 1:
            alive = await self._shell.registry.live("media")
            self._utterances.media_alive(alive.keys(), self._shell.clock.now_ns())
        for call_id in self._utterances.quiet(self._shell.clock.now_ns())[:_CHECKS_PER_BEAT]:
            known = await self._shell.registry.call(call_id) is not None
            self._utterances.checked(call_id, self._shell.clock.now_ns(), known=known)

    def calls(self) -> int:
        return self._utterances.calls()

    # --- what the cores decided

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Decode(job):
                    self._queue(job)
                case Void(call_id, turn):
                    self._batcher.cancel(call_id, turn)
                case Hasten(job_id):
                    self._batcher.promote(job_id)
                case Say(transcript, llm):
                    self._say(transcript, llm)

    def _queue(self, job: Job) -> None:
        refused = self._batcher.put(job)
        if refused is not None:
            self._failed(refused, "full")
        self._work.set()

    def _say(self, transcript: Transcript, llm: str) -> None:
        try:
            if llm:
                self._shell.send(llm, transcript)
            if transcript.kind == "final":
                self._shell.log_event(
                    transcript.call_id, "transcript", turn=transcript.turn, kind=transcript.kind,
                    text=transcript.text, confidence=round(transcript.confidence, 3),
                    wait_ms=round(transcript.wait_ms, 1), decode_ms=round(transcript.decode_ms, 1),
                )  # fmt: skip
        except BusError:
            self._shell.metrics.counter("voicefarm_bus_dropped", "refused").inc()
            log.exception("transcript lost", call_id=transcript.call_id)

    def _failed(self, job: Job, reason: str) -> None:
        self._count_failure(reason)
        self._perform(self._utterances.lost(job.job_id, self._shell.clock.now_ns()))

    def _count_failure(self, reason: str) -> None:
        self._shell.metrics.counter("voicefarm_engine_failures", self._engine_label, reason).inc()

    @property
    def _engine_label(self) -> str:
        return self._engine.name.partition(" ")[0]

    # --- decoding

    async def _decode_loop(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while len(self._batcher):
                taken = self._batcher.take(self._shell.clock.now_ns())
                for job in taken.stale:
                    self._failed(job, "stale")
                if taken.batch:
                    await self._decode(taken.batch)

    async def _decode(self, batch: list[Job]) -> None:
        clock, metrics = self._shell.clock, self._shell.metrics
        started_ns = clock.now_ns()
        found = await self._hypotheses(batch)
        done_ns = clock.now_ns()
        kind = batch[0].priority.name.lower()
        metrics.histogram("voicefarm_stt_batch_size").observe(len(batch))
        metrics.histogram("voicefarm_stt_decode_seconds", kind).observe((done_ns - started_ns) / NS_PER_S)
        for job, hypothesis in zip(batch, found, strict=True):
            if hypothesis is None:
                self._failed(job, "error")
                continue
            metrics.counter("voicefarm_stt_audio_seconds").inc(job.utterance.seconds)
            if hypothesis.problem:
                self._count_failure(hypothesis.problem)
                log.warning("not decoded", call_id=job.call_id, problem=hypothesis.problem)
            self._perform(self._utterances.decoded(job.job_id, hypothesis, started_ns, done_ns))

    async def _hypotheses(self, batch: list[Job]) -> list[Hypothesis | None]:
        """One per job; None for those that fail also alone: no call loses its words to a neighbour's (I9)."""
        rows = [job.utterance for job in batch]
        try:
            async with asyncio.timeout(_DECODE_S):
                return [*await self._thread.call(partial(self._engine.decode, rows))]
        except EngineError as error:
            log.warning("decode failed", engine=self._engine.name, rows=len(rows), problem=str(error))
        except TimeoutError:
            log.exception("the engine hangs, giving up", engine=self._engine.name, rows=len(rows))
            os._exit(_EX_SOFTWARE)
        if len(batch) == 1:
            return [None]
        return [(await self._hypotheses([job]))[0] for job in batch]

    # --- calls

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self._perform(self._utterances.expire(self._shell.clock.now_ns()))
            self._tell_losses()

    def _tell_losses(self) -> None:
        metrics = self._shell.metrics
        fresh = self._utterances.losses - self._told
        if not fresh:
            return
        self._told = self._utterances.losses.copy()
        metrics.counter("voicefarm_stream_gaps", "utterance").inc(fresh.pop("gap", 0))
        metrics.counter("voicefarm_bus_dropped", "late").inc(
            fresh.pop("late", 0) + fresh.pop("unattached", 0)
        )
        metrics.counter("voicefarm_bus_dropped", "unknown").inc(fresh.pop("malformed", 0))
        for reason, number in fresh.items():
            metrics.counter("voicefarm_engine_failures", self._engine_label, reason).inc(number)
