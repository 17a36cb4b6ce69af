"""Plays a scripted call: what the caller does next, from what it hears. No I/O; called once per 20 ms tick.

Every step has a deadline; the first step that fails ends the call. What the farm understood is judged afterwards, from
the transcripts, by `judge`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.units import NS_PER_MS
from voicefarm.core.script import Interrupt, Listen, Script, Step, share_of_words

_BETWEEN_WORDS_NS = 60 * NS_PER_MS
"""An interruption waits for speech: longer silence is a pause between two sentences."""
_REPLY_OVER_NS = 1_500 * NS_PER_MS


class Do(StrEnum):
    """What the telephone does."""

    SAY = "say"
    PRESS = "press"
    HANG_UP = "hang_up"


@dataclass(frozen=True, slots=True)
class Act:
    do: Do
    what: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known at a tick."""

    now_ns: int
    talking: bool
    """The caller's own mouth is busy."""
    loud_ns: int
    """When the farm was last heard, 0 never."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Something the caller said."""

    name: str
    text: str
    at_ns: int
    interrupting: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    ok: bool
    text: str


class Conversation:
    """A script being played."""

    def __init__(self, script: Script, began_ns: int) -> None:
        self._script = script
        self._at = 0
        self._since_ns = began_ns
        self._heard_from_ns = 0
        self._said_ns = 0
        self.spoken: list[Spoken] = []
        self.findings: list[Finding] = []
        self.over = not script.steps

    @property
    def failed(self) -> bool:
        return any(not finding.ok for finding in self.findings)

    def ended(self, now_ns: int) -> None:
        """The farm hung up."""
        if self.over:
            return
        step = self._script.steps[self._at]
        if step.ended is not None or (step.listen is not None and self._last_of_its_kind()):
            self._found(ok=True, text=f"the farm hung up after {self._passed_ms(now_ns)} ms")
        else:
            self._found(ok=False, text=f"the farm hung up during step {self._at + 1} ({step.kind})")
        self.over = True

    def tick(self, moment: Moment) -> list[Act]:
        """What to do now; several steps may pass in one tick."""
        acts: list[Act] = []
        while not self.over:
            step = self._script.steps[self._at]
            done, new = self._step(step, moment)
            acts += new
            if not done:
                break
            self._at += 1
            self._since_ns, self._heard_from_ns, self._said_ns = moment.now_ns, 0, 0
            self.over = self.over or self._at >= len(self._script.steps)
        return acts

    # --- steps: (done, acts)

    def _step(self, step: Step, moment: Moment) -> tuple[bool, list[Act]]:
        match step:
            case Step(say=str(name)):
                return self._say(name, moment)
            case Step(listen=Listen() as listen):
                return self._listen(listen, moment)
            case Step(interrupt=Interrupt() as interrupt):
                return self._interrupt(interrupt, moment)
            case Step(press=str(digits)):
                return self._once(Act(Do.PRESS, digits), moment)
            case _:
                return self._quiet_step(step, moment)

    def _quiet_step(self, step: Step, moment: Moment) -> tuple[bool, list[Act]]:
        if step.ended is not None:
            return self._late(moment, step.ended.within_ms, "the farm did not hang up"), []
        if step.wait_ms is not None:
            return self._passed_ms(moment.now_ns) >= step.wait_ms, []
        self.over = True
        return True, [Act(Do.HANG_UP)]

    def _once(self, act: Act, moment: Moment) -> tuple[bool, list[Act]]:
        """Begins an act and is done when the mouth is free again."""
        if not self._said_ns:
            self._said_ns = moment.now_ns
            return False, [act]
        return not moment.talking, []

    def _say(self, name: str, moment: Moment) -> tuple[bool, list[Act]]:
        if not self._said_ns:
            self.spoken.append(Spoken(name, self._script.recordings[name].text, moment.now_ns))
        return self._once(Act(Do.SAY, name), moment)

    def _listen(self, listen: Listen, moment: Moment) -> tuple[bool, list[Act]]:
        if not self._hears(moment):
            return self._late(moment, listen.within_ms, "the farm said nothing"), []
        silent_ms = (moment.now_ns - moment.loud_ns) // NS_PER_MS
        if silent_ms >= listen.silence_ms:
            return True, []
        return self._late(moment, listen.within_ms + listen.at_most_ms, "the farm did not stop talking"), []

    def _interrupt(self, interrupt: Interrupt, moment: Moment) -> tuple[bool, list[Act]]:
        if not self._hears(moment):
            return self._late(moment, interrupt.within_ms, "the farm said nothing to interrupt"), []
        if not self._said_ns:
            return self._begin_interruption(interrupt, moment)
        if moment.talking:
            return False, []
        took_ms = max(0, (moment.loud_ns - self._said_ns) // NS_PER_MS)
        ok = took_ms <= interrupt.stopped_within_ms
        self._found(ok=ok, text=f"interrupted, the farm fell silent after {took_ms} ms")
        self.over = not ok
        return True, []

    def _begin_interruption(self, interrupt: Interrupt, moment: Moment) -> tuple[bool, list[Act]]:
        silent_ns = moment.now_ns - moment.loud_ns
        if silent_ns > _REPLY_OVER_NS:
            return self._fail(f"the farm had nothing more to say after {interrupt.after_ms} ms"), []
        too_early = (moment.now_ns - self._heard_from_ns) // NS_PER_MS < interrupt.after_ms
        if too_early or silent_ns > _BETWEEN_WORDS_NS:
            return False, []
        self._said_ns = moment.now_ns
        text = self._script.recordings[interrupt.say].text
        self.spoken.append(Spoken(interrupt.say, text, moment.now_ns, interrupting=True))
        return False, [Act(Do.SAY, interrupt.say)]

    # --- within

    def _hears(self, moment: Moment) -> bool:
        """Whether the farm spoke since this step began."""
        if not self._heard_from_ns and moment.loud_ns >= self._since_ns:
            self._heard_from_ns = moment.now_ns
        return bool(self._heard_from_ns)

    def _passed_ms(self, now_ns: int) -> int:
        return (now_ns - self._since_ns) // NS_PER_MS

    def _late(self, moment: Moment, within_ms: int, what: str) -> bool:
        if self._passed_ms(moment.now_ns) > within_ms:
            return self._fail(f"{what} within {within_ms} ms (step {self._at + 1})")
        return False

    def _last_of_its_kind(self) -> bool:
        return self._at == len(self._script.steps) - 1

    def _fail(self, text: str) -> bool:
        self._found(ok=False, text=text)
        self.over = True
        return True

    def _found(self, *, ok: bool, text: str) -> None:
        self.findings.append(Finding(ok, text))


def judge(script: Script, spoken: Sequence[Spoken], transcripts: Sequence[str]) -> list[Finding]:
    """Compares what was said with what the farm understood, one transcript after the other."""
    wanted = [words for words in spoken if words.text]
    findings = []
    for number, words in enumerate(wanted):
        got = transcripts[number] if number < len(transcripts) else ""
        share = share_of_words(words.text, got)
        verdict = "as said" if share == 1 else f"{share:.0%} of it"
        findings.append(
            Finding(share >= script.words, f'understood "{got}" ({verdict}), said "{words.text}"')
        )
    more = transcripts[len(wanted) :] if wanted else ()
    return findings + [Finding(ok=False, text=f'understood "{got}" when nothing was said') for got in more]
