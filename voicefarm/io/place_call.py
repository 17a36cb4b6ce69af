"""Places a scripted call and gathers what came of it: the caller's own ears, the farm's event log, the findings."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from shared.contracts import CallEvent
from shared.errors import BusError
from shared.units import NS_PER_MS, NS_PER_S
from voicefarm.core.conversation import Act, Conversation, Do, Finding, Moment, Spoken, judge
from voicefarm.core.rtp_stream import Heard, Samples, stereo
from voicefarm.core.script import Script
from voicefarm.core.story import answered_ns, format_line, tell, transcripts
from voicefarm.io.events import EventLogs
from voicefarm.io.telephone import CallFacts, Telephone

Say = Callable[[str], None]

ANSWER_WITHIN_S = 40.0
_EVENTS_END_WITHIN_S = 3.0


@dataclass(frozen=True, kw_only=True)
class CallPlan:
    """What to call and what to do there."""

    target: str
    script: Script
    audio: Mapping[str, Samples]
    """Samples of each recording of the script."""
    user: str = "caller"
    headers: Mapping[str, str] = field(default_factory=dict)
    redis_url: str = ""
    """Of the farm, for its event log; empty: do without."""
    prefix: str = "vf"
    last_event: str = "call.ended"
    """The event log is read until this kind came."""
    linger_s: float = _EVENTS_END_WITHIN_S
    """How long to wait for it after the call."""
    at_most_s: float = 600.0


@dataclass(frozen=True, kw_only=True)
class CallReport:
    """What came of a call."""

    facts: CallFacts
    heard: Heard
    spoken: list[Spoken]
    findings: list[Finding]
    events: list[CallEvent]
    recording: Samples
    """[S, 2] at 8 kHz as the caller heard it."""

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


async def place_call(plan: CallPlan, say: Say) -> CallReport:
    """Calls, plays the script to its end, hangs up, and judges."""
    phone = Telephone(plan.target, user=plan.user, headers=plan.headers)
    listener = _Listener(plan, say)
    try:
        await phone.call()
        if not await _answered(phone):
            return _no_call(phone)
        say(f"  answered after {_since_ms(phone.facts)} ms")
        listener.start(phone.facts.call_id)
        conversation = Conversation(plan.script, time.monotonic_ns())
        await _talk(plan, phone, conversation)
        await listener.finish()
    finally:
        phone.hang_up()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(phone.over.wait(), 5.0)
        await listener.close()
        await phone.close()
    return _report(plan, phone, conversation, listener.events)


async def _answered(phone: Telephone) -> bool:
    waits = [asyncio.create_task(event.wait()) for event in (phone.answered, phone.over)]
    done, rest = await asyncio.wait(waits, timeout=ANSWER_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    return bool(done) and phone.answered.is_set()


async def _talk(plan: CallPlan, phone: Telephone, conversation: Conversation) -> None:
    """Until the script has ended or the farm hung up."""
    finished = asyncio.Event()

    def tick(now_ns: int) -> None:
        loud_ns = phone.ear.heard.last_loud_ns if phone.ear else 0
        for act in conversation.tick(Moment(now_ns, phone.mouth.busy, loud_ns)):
            _act(act, plan, phone)
        if conversation.over:
            finished.set()

    phone.on_tick = tick
    waits = [asyncio.create_task(finished.wait()), asyncio.create_task(phone.over.wait())]
    await asyncio.wait(waits, timeout=plan.at_most_s, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    if phone.over.is_set():
        conversation.ended(time.monotonic_ns())
    elif not conversation.over:
        conversation.findings.append(Finding(ok=False, text=f"not over within {plan.at_most_s:g} s"))
    phone.on_tick = None
    phone.hang_up()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(phone.over.wait(), 40.0)


def _act(act: Act, plan: CallPlan, phone: Telephone) -> None:
    match act.do:
        case Do.SAY:
            phone.mouth.say(plan.audio[act.what])
        case Do.PRESS:
            phone.mouth.press(act.what)
        case Do.HANG_UP:
            phone.hang_up()


def _no_call(phone: Telephone) -> CallReport:
    facts = phone.facts
    reason = f"{facts.code} {facts.reason}".strip() if facts.code else "nobody answered"
    finding = Finding(ok=False, text=f"the call was not answered: {reason}")
    nothing = stereo(phone.mouth, phone.ear) if phone.ear else _silence()
    return CallReport(facts=facts, heard=Heard(), spoken=[], findings=[finding], events=[], recording=nothing)


def _silence() -> Samples:
    return np.zeros((0, 2), np.int16)


def _report(
    plan: CallPlan, phone: Telephone, conversation: Conversation, events: list[CallEvent]
) -> CallReport:
    findings = list(conversation.findings)
    if plan.redis_url and phone.facts.call_id:
        findings += judge(plan.script, conversation.spoken, transcripts(events))
    return CallReport(
        facts=phone.facts, heard=phone.ear.heard if phone.ear else Heard(), spoken=conversation.spoken,
        findings=findings, events=events, recording=stereo(phone.mouth, phone.ear) if phone.ear else _silence(),
    )  # fmt: skip


def _since_ms(facts: CallFacts) -> int:
    return (facts.answered_ns - facts.invited_ns) // NS_PER_MS


class _Listener:
    """Follows the call's event log beside the call and tells it."""

    def __init__(self, plan: CallPlan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._logs: EventLogs | None = None
        self._task: asyncio.Task[None] | None = None
        self.events: list[CallEvent] = []

    def start(self, call_id: str) -> None:
        if not self._plan.redis_url:
            return
        if not call_id:
            self._say("  the answer has no X-Call-ID: no transcript")
            return
        self._logs = EventLogs(self._plan.redis_url, self._plan.prefix)
        self._task = asyncio.create_task(self._follow(self._logs, call_id), name="events")

    async def _follow(self, logs: EventLogs, call_id: str) -> None:
        try:
            async for event in logs.follow(call_id, until=frozenset({self._plan.last_event})):
                self.events.append(event)
                line = tell(event, answered_ns(self.events))
                if line:
                    self._say(format_line(line))
        except BusError as error:
            self._say(f"  the event log cannot be read: {error}")

    async def finish(self) -> None:
        """Waits until the log is complete, within bounds."""
        if self._task:
            await asyncio.wait({self._task}, timeout=self._plan.linger_s)

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._logs:
            await self._logs.close()


def figures(report: CallReport) -> str:
    """What the caller's own ears measured, in one line."""
    heard, facts = report.heard, report.facts
    seconds = (facts.ended_ns - facts.answered_ns) / NS_PER_S if facts.answered_ns else 0.0
    return (
        f"{seconds:.1f} s, {heard.packets} RTP packets heard, {heard.lost} lost, jitter {heard.jitter_ms:.1f} ms, "
        f"longest gap {heard.max_delta_ms:.0f} ms, {heard.loud_frames * 20 / 1_000:.1f} s of sound"
    )
